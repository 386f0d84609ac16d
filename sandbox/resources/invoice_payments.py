"""Invoice payments: which payment belongs to which invoice, the only link between the two since basil."""

from __future__ import annotations

from sandbox.params import Params
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Page
from sandbox.world import World


def listing(world: World, params: Params) -> Page:
    invoice, status = params.text("invoice"), params.text("status")
    intent = params.part("payment").text("payment_intent")
    return world.store.page(
        "invoice_payment",
        params,
        "/v1/invoice_payments",
        lambda obj: (
            invoice in (None, obj["invoice"])
            and status in (None, obj["status"])
            and intent in (None, obj["payment"]["payment_intent"])
        ),
    )


ROUTES = [
    Route("GET", "/v1/invoice_payments", listing, f"{PAGING} invoice status payment"),
    Route("GET", "/v1/invoice_payments/{}", retrieving("invoice_payment")),
]
