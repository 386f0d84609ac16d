"""Stripe's objects of every API version, read into the values of `snapshots.py`.

Each list of paths is "first that is not null wins", newest shape first, because old and new fields stand side by side
in real payloads and the version cannot be told from either. One function per object. What would replace it: reading
every object anew with a pinned version, at the price of losing what the payload alone knows, the state at that moment.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from billing.events.reading import MAX_MINOR, NOTHING, Reader, entries
from billing.events.snapshots import (
    Card,
    Charge,
    Customer,
    Decline,
    Discount,
    Invoice,
    Item,
    PaymentIntent,
    PaymentMethod,
    Subscription,
)
from billing.money import Amount

DEBITS = ("us_bank_account", "sepa_debit", "bacs_debit", "au_becs_debit", "acss_debit", "nz_bank_account")
OLD_BRANDS = {"american express": "amex", "diners club": "diners", "china unionpay": "unionpay"}


def customer_id(it: Reader) -> str | None:
    """Whom an object belongs to; `customer_account` names customers that are accounts (since clover)."""
    return it.ref("customer", "customer_account")


# ---------------------------------------------------------------- invoice


def invoice(it: Reader) -> Invoice:
    """Needs `id`, `currency` and `amount_due`."""
    unit, due, paid = it.unit(), it.need_minor("amount_due"), it.minor("amount_paid") or 0
    remaining = it.minor("amount_remaining")
    payment, moments = _main_payment(it), it.inside("status_transitions")
    return Invoice(
        id=it.need("id"),
        customer=customer_id(it),
        status=it.text("status"),
        due=Amount(due, unit),
        paid=Amount(paid, unit),
        remaining=Amount(max(0, due - paid) if remaining is None else remaining, unit),
        subscription=it.ref(
            "parent.subscription_details.subscription",
            "subscription",
            "lines[].parent.subscription_item_details.subscription",
            "lines[].parent.invoice_item_details.subscription",
            "lines[].subscription",
        ),
        billing_reason=it.text("billing_reason"),
        collection_method=it.text("collection_method", "billing"),
        auto_advance=it.flag("auto_advance"),
        attempt_count=it.count("attempt_count") or 0,
        next_payment_attempt=it.time("next_payment_attempt"),
        created=it.time("created", "date"),
        due_at=it.time("due_date"),
        finalized_at=moments.time("finalized_at") or it.time("finalized_at"),
        paid_at=moments.time("paid_at"),
        voided_at=moments.time("voided_at"),
        uncollectible_at=moments.time("marked_uncollectible_at"),
        paid_out_of_band=bool(it.flag("paid_out_of_band") or it.minor("amount_paid_off_stripe")),
        payment_intent=payment.ref("payment.payment_intent") or it.ref("payment_intent"),
        charge=payment.ref("payment.charge", "payment.payment_intent.latest_charge")
        or it.ref("charge", "payment_intent.latest_charge"),
        number=it.text("number"),
        hosted_invoice_url=it.text("hosted_invoice_url"),
        customer_email=it.text("customer.email", "customer_email"),
        customer_name=it.text("customer_name", "customer.name"),
        charged=_charged(it),
    )


def _charged(it: Reader) -> tuple[tuple[str, int], ...]:
    """By subscription item, of the first page of lines: what was charged, unless the line says that it is no usage.

    Since basil a line does not tell usage from a licence; the subscription's item does.
    """
    sums: dict[str, int] = {}
    for line in it.each("lines"):
        item = line.ref("parent.subscription_item_details.subscription_item", "subscription_item")
        prorated = line.flag("parent.subscription_item_details.proration", "proration")
        usage = line.text("price.recurring.usage_type", "plan.usage_type") in (None, "metered")
        amount = line.get("amount")
        if item and usage and not prorated and type(amount) is int and 0 <= amount <= MAX_MINOR:
            sums[item] = sums.get(item, 0) + amount
    return tuple(sorted(sums.items()))


def invoice_intent(it: Reader) -> Reader:
    """The invoice's payment intent where the payload carries it expanded, else empty."""
    expanded = _main_payment(it).inside("payment.payment_intent")
    return expanded if expanded.node else it.inside("payment_intent")


def invoice_decline(it: Reader) -> Decline | None:
    """Only payloads with an expanded intent or charge know it."""
    intent, payment = invoice_intent(it), _main_payment(it)
    charge = next((c for c in (payment.inside("payment.charge"), it.inside("charge")) if c.node), _last_charge(intent))
    return decline(charge, intent.inside("last_payment_error"))


def _main_payment(it: Reader) -> Reader:
    """Of several payments of one invoice: the one that paid, else the default one, else the first."""
    rows = it.each("payments")
    return min(rows, key=lambda p: (p.get("status") != "paid", p.get("is_default") is not True), default=NOTHING)


# ---------------------------------------------------------------- subscription


def subscription(it: Reader) -> Subscription:
    """Needs `id` and `status`; a subscription whose state is unknown would be booked as lost."""
    rows = item_rows(it)
    items = tuple(item(row, it) for row in rows)
    discounts, discounts_complete = _discounts(it, rows)
    ends = [i.period_end for i in items if i.period_end]
    return Subscription(
        id=it.need("id"),
        customer=customer_id(it),
        status=it.need_text("status"),
        currency=it.currency("currency", "items[].price.currency", "items[].plan.currency", "plan.currency"),
        items=items,
        items_complete=bool(rows) and not it.flag("items.has_more"),
        discounts=discounts,
        discounts_complete=discounts_complete,
        collection_method=it.text("collection_method", "billing"),
        created=it.time("created"),
        started_at=it.time("start_date", "start"),
        trial_end=it.time("trial_end"),
        cancel_at_period_end=it.flag("cancel_at_period_end") or False,
        cancel_at=it.time("cancel_at"),
        canceled_at=it.time("canceled_at"),
        ended_at=it.time("ended_at"),
        cancel_reason=it.text("cancellation_details.reason"),
        cancel_feedback=it.text("cancellation_details.feedback"),
        pause_behavior=it.text("pause_collection.behavior"),
        pause_resumes_at=it.time("pause_collection.resumes_at"),
        pause_reason=it.text("status_details.paused.subscription.type"),
        period_end=min(ends) if ends else it.time("current_period_end"),
        default_payment_method=it.ref("default_payment_method", "default_source"),
        latest_invoice=it.ref("latest_invoice"),
    )


def item_rows(it: Reader) -> tuple[Reader, ...]:
    """The items; of subscriptions from before items existed, the one that their plan and quantity amount to."""
    if it.get("items") is None and it.get("plan") is not None:
        return (Reader({"id": it.get("id"), "plan": it.get("plan"), "quantity": it.get("quantity")}),)
    return tuple(row for row in it.each("items") if not row.flag("deleted"))


def previous_items(it: Reader, before: Reader) -> tuple[Item, ...] | None:
    """The items before this change, from `previous_attributes`; None when they did not change."""
    if before.get("items") is not None:
        holder = before if before.get("default_tax_rates") is not None else it
        return tuple(item(row, holder) for row in item_rows(before))
    rows = item_rows(it)
    if len(rows) != 1 or (before.get("plan") is None and before.get("quantity") is None):
        return None
    row: dict[str, Any] = dict(rows[0].node)
    if before.get("plan") is not None:  # a changed plan may come as its changed fields only
        row.pop("price", None)
        now = it.inside("items[].plan", "plan").node
        row["plan"] = {**now, **before.inside("plan").node} or before.get("plan")
    if before.get("quantity") is not None:
        row["quantity"] = before.get("quantity")
    return (item(Reader(row), it),)


def item(it: Reader, holder: Reader = NOTHING) -> Item:
    """One item of a subscription (`holder`), priced by a price or by the older plan; `price` wins of the two."""
    terms = it.inside("price", "plan")
    usage = terms.text("recurring.usage_type", "usage_type") or "licensed"
    quantity = it.count("quantity")
    return Item(
        id=it.need("id"),
        price=it.ref("price", "plan"),
        product=terms.ref("product"),
        unit_amount=terms.decimal("unit_amount_decimal", "unit_amount", "amount_decimal", "amount"),
        quantity=quantity if quantity is not None else int(usage == "licensed"),
        interval=terms.text("recurring.interval", "interval"),
        interval_count=terms.count("recurring.interval_count", "interval_count", least=1) or 1,
        usage_type=usage,
        tiers_mode=terms.text("tiers_mode"),
        tiers=tuple(_tier(tier) for tier in terms.each("tiers")),
        transform=_transform(terms.inside("transform_quantity", "transform_usage")),
        tax_behavior=terms.text("tax_behavior"),
        tax_inclusive_pct=_inclusive_tax(it, holder),
        period_end=it.time("current_period_end"),
    )


def _inclusive_tax(it: Reader, holder: Reader) -> str | None:
    """The item's own rates, else the subscription's, as far as the price contains them; their percentages add up."""
    rates = it.each("tax_rates") or holder.each("default_tax_rates")
    within = [rate.percent("effective_percentage", "percentage") for rate in rates if rate.flag("inclusive")]
    total = sum((Decimal(each) for each in within if each), Decimal(0))
    return f"{total.normalize():f}" if total else None


def _tier(it: Reader) -> tuple[int | None, str | None, str | None]:
    return (
        it.minor("up_to"),
        it.decimal("unit_amount_decimal", "unit_amount", "amount"),
        it.decimal("flat_amount_decimal", "flat_amount"),
    )


def _transform(it: Reader) -> tuple[int, str] | None:
    divide_by, rounding = it.count("divide_by", least=1), it.text("round")
    return (divide_by, rounding) if divide_by and rounding else None


def discount(it: Reader, item_id: str | None = None) -> Discount | None:
    """None when the coupon's terms are not in the payload."""
    coupon = it.inside("source.coupon", "coupon")
    percent_off, amount_off = coupon.percent("percent_off"), coupon.minor("amount_off")
    duration = coupon.text("duration")
    if duration is None or (percent_off is None and amount_off is None):
        return None
    return Discount(
        coupon=coupon.need("id"),
        duration=duration,
        percent_off=percent_off,
        amount_off=amount_off,
        currency=coupon.currency("currency"),
        starts=it.time("start"),
        ends=it.time("end"),
        item=it.ref("subscription_item") or item_id,
        products=coupon.texts("applies_to.products"),
    )


def _discounts(it: Reader, rows: tuple[Reader, ...]) -> tuple[tuple[Discount, ...], bool]:
    """All discounts by their id: between 2024-04-10 and basil the same one is told twice, once with its terms."""
    told: list[tuple[str | None, Any]] = [(None, it.get("discount"))]
    told += [(None, d) for d in entries(it.get("discounts"))]
    told += [(row.ref("id"), d) for row in rows for d in entries(row.get("discounts"))]
    known: dict[str, Discount | None] = {}
    for item_id, value in told:
        if value is None:
            continue
        holder = Reader({"discount": value})
        terms = discount(holder.inside("discount"), item_id)
        id = holder.ref("discount") if isinstance(value, str) else holder.inside("discount").ref("id")
        key = id or f"unnamed {len(known)}"
        known[key] = terms or known.get(key)
    return tuple(d for d in known.values() if d), all(known.values())


# ---------------------------------------------------------------- money asked for


def charge(it: Reader) -> Charge:
    """Needs `id`, `currency` and `amount`."""
    paid = it.flag("paid")
    return Charge(
        id=it.need("id"),
        customer=customer_id(it),
        amount=Amount(it.need_minor("amount"), it.unit()),
        paid=it.text("status") == "succeeded" if paid is None else paid,
        invoice=it.ref("invoice", "payment_intent.invoice"),
        payment_intent=it.ref("payment_intent"),
        payment_method=it.ref("payment_method", "source", "card"),
        card=charge_card(it),
        decline=decline(it),
        refunded=it.amount("amount_refunded"),
        disputed=bool(it.flag("disputed") or it.ref("dispute")),
        created=it.time("created"),
    )


def payment_intent(it: Reader) -> PaymentIntent:
    """Needs `id`, `currency` and `amount`."""
    last, error, status = _last_charge(it), it.inside("last_payment_error"), it.text("status")
    return PaymentIntent(
        id=it.need("id"),
        customer=customer_id(it),
        status=status,
        amount=Amount(it.need_minor("amount"), it.unit()),
        invoice=it.ref("invoice", "latest_charge.invoice", "charges[].invoice"),
        latest_charge=it.ref("latest_charge", "charges[]", "last_payment_error.charge"),
        decline=None if status == "succeeded" else decline(last, error),
        card=charge_card(last)
        or card(error.inside("payment_method.card"), error.inside("source"), it.inside("payment_method.card")),
    )


def _last_charge(intent: Reader) -> Reader:
    return intent.inside("latest_charge", "charges[]", "last_payment_error.charge")


def decline(charge: Reader, error: Reader = NOTHING) -> Decline | None:
    """The no in a charge, in an intent's last error, or in both; None when neither says no."""
    outcome = charge.inside("outcome")
    kind, failure = outcome.text("type"), charge.text("failure_code")
    refused = failure or charge.get("status") == "failed" or kind in ("issuer_declined", "blocked", "invalid")
    if not refused and not error.node:
        return None
    reason = outcome.text("reason")
    return Decline(
        code=error.text("code") or failure,
        # A charge has no decline code of its own: the bank's stands in the outcome's reason.
        decline_code=error.text("decline_code") or (reason if kind in (None, "issuer_declined") else None),
        advice_code=outcome.text("advice_code") or error.text("advice_code"),
        network_decline_code=outcome.text("network_decline_code") or error.text("network_decline_code"),
        network_advice_code=outcome.text("network_advice_code") or error.text("network_advice_code"),
        outcome_type=kind,
        reason=reason,
    )


# ---------------------------------------------------------------- cards and customers


def charge_card(it: Reader) -> Card | None:
    """What was charged; of a bank debit the type stands for the brand."""
    details = it.inside("payment_method_details")
    return card(details.inside("card"), it.inside("source"), it.inside("source.card", "card")) or debit(details)


def debit(it: Reader) -> Card | None:
    """A bank account that is debited, as far as it is like a card; `it` holds `type` and a part of that name."""
    kind = it.text("type")
    if kind not in DEBITS:
        return None
    bank = it.inside(kind)
    return Card(bank.text("fingerprint"), kind, bank.text("last4"), country=bank.text("country"))


def card(*places: Reader) -> Card | None:
    """The first of the places that holds a card; a bank account or another kind of source is none."""
    for it in places:
        if it.get("object") in (None, "card") and it.get("fingerprint", "last4", "exp_year", "brand") is not None:
            brand = it.text("brand")
            return Card(
                fingerprint=it.text("fingerprint"),
                brand=brand and OLD_BRANDS.get(brand.lower(), brand.lower()),
                last4=it.text("last4"),
                exp_month=it.count("exp_month"),
                exp_year=it.count("exp_year"),
                country=it.text("country"),
                funding=it.text("funding"),
            )
    return None


def payment_method(it: Reader) -> PaymentMethod:
    """A payment method, or the legacy card, bank account or source of a customer. Needs `id`."""
    kind = it.text("type") if it.get("object") in (None, "payment_method", "source") else it.text("object")
    return PaymentMethod(it.need("id"), customer_id(it), kind, card(it.inside("card"), it) or debit(it))


def customer(it: Reader, deleted: bool = False) -> Customer:
    """Needs `id`."""
    return Customer(
        id=it.need("id"),
        email=it.text("email"),
        name=it.text("name"),
        locales=it.texts("preferred_locales"),
        country=it.text("address.country", "shipping.address.country"),
        currency=it.currency("currency"),
        default_payment_method=it.ref("invoice_settings.default_payment_method", "default_source"),
        deleted=deleted or it.flag("deleted") or False,
    )
