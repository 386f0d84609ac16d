"""Products and prices: licensed, metered, tiered, in packages."""

from __future__ import annotations

from fractions import Fraction

from sandbox import errors
from sandbox.params import Params
from sandbox.resources.customers import merged
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World

PRICE = """product product_data currency unit_amount unit_amount_decimal recurring billing_scheme tiers tiers_mode
    transform_quantity nickname lookup_key metadata active tax_behavior"""


def new_product(world: World, name: str, id: str | None = None) -> Obj:
    now = world.clock.stamp()
    product: Obj = {
        "id": id or world.store.new_id("prod", 14),
        "object": "product",
        "active": True,
        "created": now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": world.settings.livemode,
        "marketing_features": [],
        "metadata": {},
        "name": name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": now,
        "url": None,
    }
    return world.store.add(product)


def create_product(world: World, params: Params) -> Obj:
    product = new_product(world, params.need("name"), params.text("id"))
    _set_product(product, params)
    world.events.emit("product.created", product)
    return product


def update_product(world: World, params: Params, id: str) -> Obj:
    product = world.store.get("product", id)
    with world.changing(product, "product.updated"):
        _set_product(product, params)
    return product


def _set_product(product: Obj, params: Params) -> None:
    for name in ("name", "description", "unit_label", "statement_descriptor", "url"):
        if params.has(name):
            product[name] = params.text(name)
    product["active"] = params.flag("active", product["active"])
    product["metadata"] = merged(product["metadata"], params)


def new_price(
    world: World, product: str, currency: str, unit_amount: str | None, interval: str | None, count: int = 1
) -> Obj:
    """A per-unit price; `unit_amount` in minor units, possibly with decimals; no interval means one time."""
    recurring = None
    if interval:
        recurring = {
            "interval": interval,
            "interval_count": count,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        }
    whole = int(unit_amount) if unit_amount is not None and Fraction(unit_amount).denominator == 1 else None
    price: Obj = {
        "id": world.store.new_id("price"),
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": world.clock.stamp(),
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": world.settings.livemode,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": product,
        "recurring": recurring,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if interval else "one_time",
        "unit_amount": whole,
        "unit_amount_decimal": unit_amount,
        "_tiers": None,
    }
    return world.store.add(price)


def create_price(world: World, params: Params) -> Obj:
    currency = params.need("currency").lower()
    tiered = params.text("billing_scheme") == "tiered"
    amount = params.decimal("unit_amount_decimal") or params.decimal("unit_amount")
    if amount is None and not tiered:
        raise errors.missing("unit_amount")
    recurring = params.part("recurring")
    if params.has("product_data"):
        product = new_product(world, params.part("product_data").need("name"))
        world.events.emit("product.created", product)
    else:
        product = world.store.get("product", params.need("product"), "product")
    interval = recurring.need("interval") if params.has("recurring") else None
    if interval not in (None, "day", "week", "month", "year"):
        raise errors.invalid("recurring[interval]", "must be one of day, month, week, or year")
    count = recurring.integer("interval_count", 1) or 1
    price = new_price(world, product["id"], currency, None if tiered else amount, interval, count)
    if price["recurring"]:
        price["recurring"]["usage_type"] = recurring.text("usage_type") or "licensed"
        price["recurring"]["meter"] = recurring.text("meter")
    if tiered:
        price |= {"billing_scheme": "tiered", "tiers_mode": params.need("tiers_mode"), "_tiers": _tiers(params)}
    if params.has("transform_quantity"):
        package = params.part("transform_quantity")
        price["transform_quantity"] = {"divide_by": package.integer("divide_by"), "round": package.need("round")}
    _set_price(price, params)
    world.events.emit("price.created", price)
    return price


def _tiers(params: Params) -> list[Obj]:
    tiers = []
    for row in params.rows("tiers"):
        top = None if row.need("up_to") == "inf" else row.integer("up_to")
        unit = row.decimal("unit_amount_decimal") or row.decimal("unit_amount")
        tiers.append(
            {
                "flat_amount": row.integer("flat_amount"),
                "flat_amount_decimal": row.text("flat_amount"),
                "unit_amount": int(unit) if unit and unit.isdigit() else None,
                "unit_amount_decimal": unit,
                "up_to": top,
            }
        )
    return tiers


def update_price(world: World, params: Params, id: str) -> Obj:
    price = world.store.get("price", id)
    with world.changing(price, "price.updated"):
        _set_price(price, params)
    return price


def _set_price(price: Obj, params: Params) -> None:
    for name in ("nickname", "lookup_key"):
        if params.has(name):
            price[name] = params.text(name)
    if params.has("tax_behavior"):
        price["tax_behavior"] = params.need("tax_behavior")
    price["active"] = params.flag("active", price["active"])
    price["metadata"] = merged(price["metadata"], params)


def list_products(world: World, params: Params) -> Page:
    return world.store.page("product", params, "/v1/products")


def list_prices(world: World, params: Params) -> Page:
    product, keys = params.text("product"), params.words("lookup_keys")
    active = params.flag("active") if params.has("active") else None

    def keep(obj: Obj) -> bool:
        named = not keys or obj["lookup_key"] in keys
        return named and product in (None, obj["product"]) and active in (None, obj["active"])

    return world.store.page("price", params, "/v1/prices", keep)


FIELDS = "name description active metadata unit_label statement_descriptor url"
ROUTES = [
    Route("POST", "/v1/products", create_product, f"id type {FIELDS}"),
    Route("GET", "/v1/products", list_products, PAGING),
    Route("GET", "/v1/products/{}", retrieving("product")),
    Route("POST", "/v1/products/{}", update_product, FIELDS),
    Route("POST", "/v1/prices", create_price, PRICE),
    Route("GET", "/v1/prices", list_prices, f"{PAGING} product active lookup_keys"),
    Route("GET", "/v1/prices/{}", retrieving("price")),
    Route("POST", "/v1/prices/{}", update_price, "nickname lookup_key metadata active tax_behavior"),
]
