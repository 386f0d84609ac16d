"""The two pages a customer sees: the hosted invoice with its Pay button, and the portal to change the card.

Plain forms, so that a person can use them in a browser and a test with one POST. `number` is a test card number.
"""

from __future__ import annotations

from html import escape

from sandbox import collection, errors, payments
from sandbox.cards import TestCard, by_number
from sandbox.idempotency import Answer
from sandbox.params import Params
from sandbox.resources.payment_methods import attach, new_method
from sandbox.store import Obj
from sandbox.world import Cause, World

FORM = """<form method="post"><label>Card number <input name="number" value="4242424242424242"></label>
<button>{button}</button></form>"""

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>
body {{ max-width: 28rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }}
input, button {{ box-sizing: border-box; width: 100%; margin: .5rem 0; padding: .75rem; font: inherit; }}
</style>
<p><small>Sandbox: Stripe's page would be here. No card is charged.</small></p><h1>{title}</h1>{body}</html>"""


def handle(world: World, method: str, path: str, params: Params) -> Answer:
    """GET shows a page, POST does what its button says."""
    parts = path.strip("/").split("/")
    source = "portal" if parts[0] == "p" else "hosted"
    with world.because(Cause(source)):
        try:
            if parts[0] == "i" and len(parts) == 3:
                return _invoice(world, method, world.store.get("invoice", parts[2]), params)
            if parts[:2] == ["p", "session"] and len(parts) == 3:
                return _portal(world, method, world.store.get("billing_portal.session", parts[2]), params)
        except errors.StripeError as refused:
            return _page(refused.status, "Not possible", f"<p>{escape(str(refused))}</p>")
    return _page(404, "Not found", "<p>There is nothing here.</p>")


def _invoice(world: World, method: str, invoice: Obj, params: Params) -> Answer:
    if method == "POST":
        card = _card(params)
        paid_with = new_method(world, card)
        outcome = collection.pay(world, invoice, paid_with, on_session=True)
        if outcome is payments.Outcome.ACTION:
            intent = world.store.get("payment_intent", invoice["_payment_intent"])
            outcome = payments.authenticate(world, intent, success=params.text("authenticate") != "fail")
        if outcome is payments.Outcome.DECLINED:
            return _page(402, "Declined", "<p>Your card was declined.</p>" + FORM.format(button="Pay"))
    amount = f"{invoice['amount_due'] / 100:.2f} {invoice['currency'].upper()}"
    text = f"<p>{escape(invoice['number'] or '')}: {amount}, {invoice['status']}</p>"
    return _page(200, "Invoice", text + (FORM.format(button="Pay") if invoice["status"] == "open" else ""))


def _portal(world: World, method: str, session: Obj, params: Params) -> Answer:
    customer = world.store.get("customer", session["customer"])
    if method == "POST":
        card = _card(params)
        fresh = new_method(world, card)
        attach(world, fresh, customer)
        with world.changing(customer, "customer.updated"):
            customer["invoice_settings"]["default_payment_method"] = fresh["id"]
    current = world.store.find(customer["invoice_settings"]["default_payment_method"] or "")
    text = f"<p>Card on file: {_shown(current)}</p>" + FORM.format(button="Save card")
    if back := session["return_url"]:
        text += f'<p><a href="{escape(back)}">Back</a></p>'
    return _page(200, "Billing", text)


def _card(params: Params) -> TestCard:
    card = by_number(params.need("number"))
    if card is None:
        raise errors.refused("Your card number is incorrect.", "incorrect_number")
    return card


def _shown(method: Obj | None) -> str:
    return f"{method['card']['brand']} •••• {method['card']['last4']}" if method and "card" in method else "none"


def _page(status: int, title: str, body: str) -> Answer:
    return Answer(status, PAGE.format(title=title, body=body).encode())
