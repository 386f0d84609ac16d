"""What was asked of Stripe at the end of a case, written down before it was asked; what the product was last told."""

from __future__ import annotations

from sqlalchemy import Column, Text, UniqueConstraint
from sqlalchemy.types import Integer

from worker.columns import Instant, Json
from worker.schema import objects, one_of, required, rows

ending = rows(
    "ending",
    required("invoice", Text),
    required("part", Text),
    required("wanted", Text),  # billing.ending.End
    required("object", Text),  # the subscription or invoice that is changed
    required("state", Text),
    required("token", Integer),
    required("idem_key", Text),
    required("request", Json),  # the body as sent, so that a repeat is the same request
    required("first_sent_at", Instant),  # by the database's clock: the age of the key
    required("at", Instant),
    Column("because", Text),
    Column("finished_at", Instant),
    UniqueConstraint("account", "livemode", "invoice", "part"),
    UniqueConstraint("idem_key"),
    one_of("part", "subscription", "invoice"),
    one_of("state", "sending", "made", "not_made", "stuck"),
)

entitlement_told = objects(
    "entitlement_told",
    "customer",
    required("number", Integer),  # of the times it changed
    required("level", Text),
    Column("until", Instant),
    required("at", Instant),
)
