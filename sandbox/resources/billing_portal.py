"""Billing portal sessions; the page itself is served by `sandbox/pages.py`."""

from __future__ import annotations

from sandbox.params import Params
from sandbox.routes import Route
from sandbox.store import Obj
from sandbox.world import World


def create(world: World, params: Params) -> Obj:
    customer = world.store.get("customer", params.need("customer"), "customer")
    id = world.store.new_id("bps")
    flow: Obj | None = None
    if kind := params.part("flow_data").text("type"):
        redirect = params.part("flow_data").part("after_completion").part("redirect").text("return_url")
        after: Obj = {"hosted_confirmation": None, "redirect": None, "type": "portal_homepage"}
        if redirect:
            after |= {"type": "redirect", "redirect": {"return_url": redirect}}
        flow = dict.fromkeys(("subscription_cancel", "subscription_update", "subscription_update_confirm"))
        flow |= {"type": kind, "after_completion": after}
    session = {
        "id": id,
        "object": "billing_portal.session",
        "after_expiration": None,
        "configuration": params.text("configuration") or "bpc_1Sandbox",
        "created": world.clock.stamp(),
        "customer": customer["id"],
        "customer_account": None,
        "flow": flow,
        "livemode": world.settings.livemode,
        "locale": params.text("locale"),
        "on_behalf_of": None,
        "return_url": params.text("return_url"),
        "url": f"{world.url}/p/session/{id}",
    }
    return world.store.add(session)


ROUTES = [
    Route(
        "POST",
        "/v1/billing_portal/sessions",
        create,
        "customer flow_data return_url configuration locale after_expiration",
    )
]
