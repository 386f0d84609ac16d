"""A stand-in Stripe to practise on: loopback HTTP for the official SDK, a movable clock, a bank that says no.

    from sandbox import Sandbox, until

    with Sandbox(start=datetime(2026, 1, 1, tzinfo=UTC), seed=1) as sb:
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": sb.url})
        sb.add_endpoint("http://127.0.0.1:8000/webhooks/stripe", "whsec_test")      # api_version=..., thin=True
        sub = sb.subscribe(amount=2000, behaviour=until(datetime(2026, 2, 5, tzinfo=UTC)))
        sb.deliver()                                     # webhooks of the first, paid invoice
        sb.advance(timedelta(days=32))                   # renewal: invoice created, finalised, attempted, declined
        sb.deliver()                                     # signed invoice.payment_failed ... all answered on return
        invoice = sb.latest_invoice(sub.subscription)    # a dict in the newest shape
        with pytest.raises(stripe.CardError):
            client.v1.invoices.pay(invoice["id"], options={"idempotency_key": "a1"})
        sb.advance(timedelta(days=5))                    # pay-day has passed
        client.v1.invoices.pay(invoice["id"], options={"idempotency_key": "a2"})
        assert [m.key for m in sb.bank.charged(invoice["id"])] == ["a2"]

Constructor, all but the first two by keyword: `start`, `seed`, `hostile` (Stripe's protections off: a new key on a
paid invoice charges again), `money_log` (path of a JSON-lines file), `fsync`, `port` (0: free), `automatic` (a
thread delivers at once instead of `deliver()`), `speed` (sandbox seconds per wall second; 0: stands still),
`listen=False` (no HTTP at all: `ask` and `delivery.carry`), `issuer` (one of your own),
`dunning=Dunning(retries=(...), end="cancel", after=..., invoice="open")` or `SMART_RETRIES` (Stripe's own retries;
the default is none), `chaos=Chaos(duplicate=, reorder=, delay=)`, `key_ttl`, `concurrency` (parallel webhook posts).

On `sb`:

- `url`, `port`, `clock()`: where it listens; its present time, aware UTC.
- `advance(datetime | timedelta, deliver=False)` plays all that falls due; `deliver` posts webhooks on the way.
- `next_due`: when something next happens by itself; `ask(method, target, body, headers) -> Answer`: a request without
  HTTP.
- `deliver()` posts every webhook due now and those it causes; returns the number of posts.
- `add_endpoint(url, secret=None, api_version=None, thin=False, events=("*",)) -> Endpoint(id, secret)`.
- `delivery.log` (posts made), `.resend(event, endpoint)`, `.chaos`, `.signature_clock` ("wall" or "sandbox").
- `subscribe(card, amount, currency, interval, quantity=, email=, name=, trial_days=, behaviour=) -> Subscribed`.
- `get(id)`, `latest_invoice(subscription)`: the sandbox's own objects, for assertions.
- `new_card(customer, card)`, `update_card(payment_method, number)`: the customer or the updater brings a new card.
- `authenticate(payment_intent, success=True)`: the customer answers 3D Secure.
- `dispute(charge, reason)`, `close_dispute(id, status)`, `fraud_warning(charge)`: what cardholders and networks do.
- `use(subscription, quantity)`: usage for metered items.
- `issuer.set(payment_method, behaviour)`: `FINE`, `declines(code)`, `until(at, code)`, `authenticates("off_session")`
  or `("always")`, `debit(days, code=None)`, or `Behaviour((Spell(code, since, until, above), ...))`.
- `bank.charges`, `.movements`, `.charged(invoice)`, `.attempts(invoice)`: the truth about money, `Movement` values.
- `faults.add(kind, method="POST", path=regex, nth=1, count=1, seconds=, status=, code=, should_retry=)`; kinds: delay,
  delay_after, drop_before, drop_after, answer, answer_after, truncate, garbage, processing.
- `dunning = Dunning(...)`, `keys.ttl`; `crashes`: the sandbox's own errors, empty in a sound run.

As a process: `python -m sandbox --port P [--hostile --money-log FILE --fsync --speed N --key-ttl S --automatic]`,
steered by `POST /_sandbox/<command>` with JSON (`sandbox/control.py`): clock, deliver, resend, faults, issuer,
dispute, authenticate, money, endpoints, state, settings, company.

For demonstrations `company.build(sb, subscriptions=300)` fills the sandbox with a year-old company. Customers' pages:
POST `number=4242424242424242` to an invoice's hosted_invoice_url or to a portal session's url.
"""

from sandbox.bank import Movement
from sandbox.delivery import Chaos
from sandbox.faults import Fault
from sandbox.issuer import FINE, Behaviour, Spell, authenticates, debit, declines, until
from sandbox.sandbox import Endpoint, Sandbox, Subscribed
from sandbox.world import SMART_RETRIES, Dunning

__all__ = [
    "FINE",
    "SMART_RETRIES",
    "Behaviour",
    "Chaos",
    "Dunning",
    "Endpoint",
    "Fault",
    "Movement",
    "Sandbox",
    "Spell",
    "Subscribed",
    "authenticates",
    "debit",
    "declines",
    "until",
]
