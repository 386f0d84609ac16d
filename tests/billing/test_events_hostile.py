"""Whatever stands in a payload: an event, nothing, or `Unreadable` that names the field; never another error."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.events import Event, Unreadable, from_stripe, to_fetch
from billing.money import Amount
from tests.billing import payloads as p

BODIES = [body for version in (p.OLD, p.ACACIA, p.ENDIVE) for body in p.one_of_each(version)]
IDS = {
    "customer",
    "subscription",
    "payment_intent",
    "charge",
    "latest_charge",
    "invoice",
    "payment_method",
    "default_payment_method",
    "latest_invoice",
    "product",
}

# Without these the object is of no use. Everything else may be missing.
REQUIRED = {
    "event": {"id", "type", "created", "livemode", "data"},
    "invoice": {"id", "currency", "amount_due"},
    "invoice_payment": {"invoice", "currency"},
    "charge": {"id", "currency", "amount"},
    "payment_intent": {"id", "currency", "amount"},
    "payment_method": {"id"},
    "card": {"id"},
    "customer": {"id"},
    "subscription": {"id", "status"},
    "subscription_item": {"id"},
    "refund": {"id", "currency", "amount"},
    "dispute": {"charge"},
}


def read(body: Any) -> Event:
    event = from_stripe(body)
    assert event is not None
    return event


def name(body: dict[str, Any]) -> str:
    return f"{body['type']} {body['api_version']}"


def required(body: dict[str, Any], path: p.Path) -> bool:
    """Whether the field is one that its object cannot do without."""
    if path == ("data", "object"):
        return True
    holder = p.at(body, path[:-1])
    kind = holder.get("object") if isinstance(holder, dict) else None
    if path[:2] == ("data", "object") and len(path) > 3 and kind not in ("subscription_item", "invoice"):
        return False  # inside an expanded object, of which only the id is asked for
    if path[:2] == ("data", "object") and body["type"] == "charge.refunded" and path[-1] == "amount_refunded":
        return True
    return isinstance(kind, str) and path[-1] in REQUIRED.get(kind, ())


def changes(before: Any, after: Any, path: str = "") -> list[str]:
    """Fields that now hold another value that is not their empty one."""
    if before == after:
        return []
    if is_dataclass(before) and type(before) is type(after) and not isinstance(before, Amount):
        found = []
        for field in fields(before):
            now = getattr(after, field.name)
            if now != field.default:
                found += changes(getattr(before, field.name), now, f"{path}.{field.name}")
        return found
    if isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        return [c for i, pair in enumerate(zip(before, after, strict=True)) for c in changes(*pair, f"{path}[{i}]")]
    return [path] if after else []


@pytest.mark.parametrize("body", BODIES, ids=name)
def test_a_missing_field_costs_only_itself_or_is_named(body: dict[str, Any]) -> None:
    whole = read(body)
    for path in p.paths(body):
        if not isinstance(path[-1], str) or path == ("type",) or (whole.type, path[-1]) == ("refund.created", "charge"):
            continue  # without its type it is no event, and a refund without a charge is only noted
        less = p.put(body, path, p.GONE)
        if required(body, path):
            with pytest.raises(Unreadable) as refusal:
                from_stripe(less)
            assert ("data.object" if path[0] == "data" and len(path) < 3 else path[-1]) in str(refusal.value)
        elif path[-1] == "id" and len(path) > 3:
            try_without_inner_id(less, whole)
        else:
            told = read(less)
            # A missing quantity counts as one: Stripe leaves out what is one or metered.
            assert [c for c in changes(whole, told) if not c.endswith(".quantity")] == [], path
            assert told == read(p.put(body, path, None)), f"null and missing differ at {path}"


def try_without_inner_id(less: dict[str, Any], whole: Event) -> None:
    """An expanded object without an id stands for nothing; where nobody asks for the id, nothing changes."""
    try:
        assert changes(whole, read(less)) == []
    except Unreadable as no:
        assert re.search(r"(without an id|id is missing)$", str(no))  # noqa: PT017 - either end is right


def expandable(body: dict[str, Any]) -> list[p.Path]:
    inside = [path for path in p.paths(body) if path[0] == "data" and path[-1] in IDS]
    return [path for path in inside if isinstance(p.at(body, path), str)]


@pytest.mark.parametrize("body", BODIES, ids=name)
def test_an_id_and_its_expanded_object_mean_the_same(body: dict[str, Any]) -> None:
    whole, everything = read(body), body
    for path in expandable(body):
        expanded = {"id": p.at(body, path), "object": path[-1], "metadata": {}}
        assert read(p.put(body, path, expanded)) == whole, path
        everything = p.put(everything, path, expanded)
    assert read(everything) == whole


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**12, 10**40)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\x00", "\ud800", "x" * 5000, "2026-03-01", "9999-12-31T23:59:59-23:59", "1e400", "", " "]),
    lambda child: (
        st.lists(child, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "object", "data", "source", "coupon", "type"]), child, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=60)
@given(st.data())
def test_anything_anywhere_is_an_event_or_nothing_or_unreadable(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(BODIES))
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(p.paths(body)) if isinstance(body, dict) else []
        path = data.draw(st.sampled_from([(), *places]))
        body = p.put(body, path, data.draw(JSON))
    fetched: Any = data.draw(st.none() | st.just(p.invoice()) | JSON)
    to_fetch(body)
    try:
        event = from_stripe(body, fetched)
    except Unreadable as no:
        assert str(no).isprintable()  # noqa: PT017 - either end is right
    else:
        assert event is None or isinstance(event, Event)


NOT_A_TIME = [
    -1,
    True,
    1.5,
    253_402_300_800,
    10**30,
    "yesterday",
    "9999-12-31T23:59:59-23:59",
    "2026-03-01T09:00:00",
    "1969-12-31T23:59:59Z",
    [],
    {},
]
NOT_MONEY = [-1, True, 19.99, 10**16, "2000", [], {}]


@pytest.mark.parametrize("value", NOT_A_TIME, ids=repr)
@pytest.mark.parametrize("field", ["created", "next_payment_attempt"])
def test_an_absurd_time_is_unreadable(field: str, value: object) -> None:
    with pytest.raises(Unreadable, match=f"invoice.paid evt_1: {field} is not a time"):
        from_stripe(p.event("invoice.paid", p.put(p.invoice(), (field,), value)))
    with pytest.raises(Unreadable, match="created is not a time"):
        from_stripe(p.event("invoice.paid", p.invoice(), created=value))


@pytest.mark.parametrize("value", NOT_MONEY, ids=repr)
@pytest.mark.parametrize("field", ["amount_due", "amount_paid", "amount_remaining"])
def test_an_absurd_amount_is_unreadable(field: str, value: object) -> None:
    with pytest.raises(Unreadable, match=f"invoice.paid evt_1: {field} is not a whole number"):
        from_stripe(p.event("invoice.paid", p.put(p.invoice(), (field,), value)))


@pytest.mark.parametrize("value", ["", None, 7, ["invoice"]])
def test_a_body_without_a_type_is_unreadable(value: object) -> None:
    with pytest.raises(Unreadable, match="type is missing"):
        from_stripe({"type": value})


def test_a_status_of_next_year_passes_through() -> None:
    event = read(p.event("customer.subscription.updated", p.subscription(status="hibernating", collection_method="x")))
    assert event.what.subscription.status == "hibernating"  # type: ignore[union-attr]


def test_text_that_a_database_refuses_is_cleaned() -> None:
    event = read(p.event("invoice.paid", p.invoice(customer_name="A\x00d\ud800a\x1b[31m")))
    assert event.what.invoice.customer_name == "Ada[31m"  # type: ignore[union-attr]


def test_every_time_is_aware_utc() -> None:
    def times(value: Any) -> list[datetime]:
        if isinstance(value, datetime):
            return [value]
        if isinstance(value, tuple):
            return [t for v in value for t in times(v)]
        return [t for f in fields(value) for t in times(getattr(value, f.name))] if is_dataclass(value) else []

    offsets = {t.utcoffset() for body in BODIES for t in times(read(body))}
    assert [str(offset) for offset in offsets] == ["0:00:00"]
