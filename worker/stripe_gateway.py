"""The only module that calls Stripe.

`read` and `fetch` are repeated by tenacity when the transport failed; `pay` never is: a payment request is repeated
through its row, after reading what became of the first one (reliability.md 6.3). Every call has a timeout, waits its
turn in a bucket per endpoint, and is refused while a database transaction is open.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, cast
from urllib.parse import quote, urlencode

import requests
import stripe
import structlog
from pydantic import SecretStr
from requests.adapters import BaseAdapter, HTTPAdapter
from stripe.params import InvoicePayParams
from stripe.params.billing_portal import SessionCreateParams as PortalParams
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from billing.events.occurrences import Answer, InvoiceRead
from billing.events.reading import Reader
from billing.events.snapshots import Card, Decline, PaymentMethod
from billing.events.stripe_objects import payment_method
from billing.events.stripe_read import ORDER, invoice_read, refusal
from config.settings import Settings

log = structlog.get_logger(__name__)

stripe.enable_telemetry = False
API_VERSION = "2026-10-28.endive"
AUTHENTICATE = frozenset(
    {"authentication_required", "invoice_payment_intent_requires_action", "payment_intent_action_required"}
)
OWNER_IN_PAGE = re.compile(r"/i/(acct_[A-Za-z0-9]+)/")
CONNECT_SECONDS = 5.0
POOL = 64


class StripeAway(Exception):
    """Stripe could not be asked, or did not answer; nothing is known about what it did."""


class StripeRefused(Exception):
    """Stripe does not accept this key, or not for this request: an operator has to mend it."""


class StripeNo(Exception):
    """Stripe understood the request and does not do what it asks for."""


class StripeMissing(Exception):
    """Stripe knows no such object in this account and mode."""


@dataclass(frozen=True, slots=True)
class Paid:
    """What one payment request came to. `answer` None: nobody knows, the row stays `sending`.

    `stopped` says that charging must stop for the whole account; `look` that only reading the invoice can tell.
    """

    answer: Answer | None
    because: str
    decline: Decline | None = None
    card: Card | None = None
    charge: str | None = None
    look: bool = False
    stopped: bool = False


class Bucket:
    """Lets `rate` calls a second pass, spread evenly; a caller waits for its turn."""

    def __init__(self, rate: float, sleep: Callable[[float], None]) -> None:
        self._gap, self._sleep = 1 / rate, sleep
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._gap
        if turn > now:
            self._sleep(turn - now)


def dated(now: datetime) -> datetime:
    """`now`, taken before a reading, as Stripe dates its events: news that the reading missed is never older."""
    return now.replace(microsecond=0)


def _transport(error: BaseException) -> bool:
    """Trouble on the way, which asking again may cure: no connection, 409, 429, 5xx."""
    if isinstance(error, (stripe.APIConnectionError, stripe.RateLimitError)):
        return True
    return isinstance(error, stripe.StripeError) and (error.http_status == 409 or (error.http_status or 0) >= 500)


class Gateway:
    """One Stripe account in one mode. `guard` raises when a database transaction is open."""

    def __init__(
        self,
        key: SecretStr,
        *,
        account: str | None = None,
        base: str | None = None,
        timeout: float = 20.0,
        rate: float = 20.0,
        guard: Callable[[str], None] = lambda doing: None,
        sleep: Callable[[float], None] = time.sleep,
        transport: BaseAdapter | None = None,
    ) -> None:
        self._session = requests.Session()  # one pool of connections for all threads, so that it can be closed
        self._session.mount(base or "https://", transport or HTTPAdapter(pool_maxsize=POOL))
        addresses: dict[str, Any] = {"base_addresses": {"api": base}} if base else {}
        self._client = stripe.StripeClient(
            key.get_secret_value(),
            stripe_account=account,
            stripe_version=API_VERSION,
            max_network_retries=0,
            http_client=stripe.RequestsClient(timeout=(min(CONNECT_SECONDS, timeout), timeout), session=self._session),
            **addresses,
        )
        self._guard = guard
        self._buckets: dict[str, Bucket] = defaultdict(lambda: Bucket(rate, sleep))
        self._retrying = Retrying(
            retry=retry_if_exception(_transport),
            stop=stop_after_attempt(3),
            wait=wait_exponential_jitter(multiplier=0.5, max=5),
            sleep=sleep,
            reraise=True,
        )

    def _ask(self, endpoint: str, call: Callable[[], Any]) -> dict[str, Any]:
        """The JSON answer to a request that changes nothing, asked up to three times."""
        self._guard(f"asking Stripe ({endpoint})")

        def once() -> Any:
            self._buckets[endpoint].wait()
            return call()

        try:
            answer = self._retrying(once)
        except (stripe.AuthenticationError, stripe.PermissionError) as error:
            raise StripeRefused(_words(error)) from error
        except stripe.InvalidRequestError as error:
            if (
                error.http_status == 404 or error.code == "resource_missing"
            ):  # a cursor that is gone is answered with 400
                raise StripeMissing(_words(error)) from error
            raise StripeAway(_words(error)) from error
        except (stripe.StripeError, ValueError) as error:
            raise StripeAway(_words(error)) from error
        return cast(dict[str, Any], getattr(answer, "last_response", answer).data)

    def close(self) -> None:
        self._session.close()

    def account(self) -> Mapping[str, Any]:
        """The account that the key belongs to."""
        return self._ask("account", lambda: self._client.v1.accounts.retrieve_current())

    def clock(self) -> tuple[Mapping[str, Any], datetime | None]:
        """The account that the key belongs to, and Stripe's time by the Date of its answer (whole seconds).

        Most restricted keys may not read the account, whatever their permissions (stripe-node#2246): then an invoice
        tells whose it is, by the address of its page, or nothing does and the account is empty.
        """
        dates: list[str] = []

        def dated_by(answer: Any) -> Any:
            dates.append(str(answer.last_response.headers.get("date", "")) if answer.last_response else "")
            return answer

        try:
            found = self._ask("account", lambda: dated_by(self._client.v1.accounts.retrieve_current()))
        except StripeRefused:
            listed = self._ask("invoices", lambda: dated_by(self._client.v1.invoices.list({"limit": 1})))
            pages = [str(invoice.get("hosted_invoice_url") or "") for invoice in listed.get("data", [])]
            owners = [owner[1] for page in pages if (owner := OWNER_IN_PAGE.search(page))]
            found = {"id": owners[0]} if owners else {}
        return found, parsedate_to_datetime(dates[-1]) if dates[-1] else None

    def planned_retries(self, most: int = 100) -> list[str]:
        """Ids, among the newest open invoices, of those that failed and that Stripe itself will try again."""
        found = self._ask("invoices", lambda: self._client.v1.invoices.list({"status": "open", "limit": most}))
        return [
            str(invoice["id"])
            for invoice in found.get("data", [])
            if invoice.get("next_payment_attempt") and invoice.get("attempt_count")
        ]

    def read(self, invoice: str) -> InvoiceRead:
        """The invoice as Stripe has it now, with its subscription, payments and the bank's last answer."""
        # Raw, since only the JSON is used: the client's own objects take longer to make than everything else here.
        path = f"/v1/invoices/{quote(invoice, safe='')}"
        found = self._ask("invoices/id", lambda: self._client.raw_request("get", path, expand=list(ORDER)))
        asked = {"invoice": invoice, "limit": 100, "expand": ["data.payment.payment_intent.latest_charge"]}
        payments = self._ask(
            "invoice_payments", lambda: self._client.raw_request("get", "/v1/invoice_payments", **asked)
        )
        return invoice_read(found, payments.get("data", []))

    def portal(self, customer: str, back: str, locale: str, *, home: bool = False) -> str:
        """A short-lived page of Stripe's on which the customer gives a new payment method, and then comes `back`.

        That method becomes the customer's default. `home` is the portal's first page, with all subscriptions: one that
        has a method of its own is not paid with the default, and its method is changed there.
        """
        flow = {
            "type": "payment_method_update",
            "after_completion": {"type": "redirect", "redirect": {"return_url": back}},
        }
        asked = {"customer": customer, "return_url": back, "locale": locale, **({} if home else {"flow_data": flow})}
        made = self._ask(
            "billing_portal",
            lambda: self._client.v1.billing_portal.sessions.create(cast(PortalParams, asked)),
        )
        return str(made.get("url") or "")

    def preview(self, subscription: str) -> Mapping[str, Any]:
        """The invoice that the next renewal will make, as far as is known today; it makes none."""
        return self._ask(
            "invoices/create_preview",
            lambda: self._client.v1.invoices.create_preview({"subscription": subscription}),
        )

    def saved_cards(self, customer: str) -> list[PaymentMethod]:
        """The cards that Stripe keeps for a customer, newest first."""
        found, _ = self.page("/v1/payment_methods", {"customer": customer, "type": "card"})
        return [payment_method(Reader(each)) for each in found]

    def fetch(self, url: str) -> Mapping[str, Any]:
        """The object at a path of Stripe's API, as a thin event names it (`/v1/...` or `/v2/...` only)."""
        if not url.startswith(("/v1/", "/v2/")):
            raise StripeMissing(f"not an address of Stripe's API: {url[:80]!r}")
        return self._ask("fetch", lambda: self._client.raw_request("get", url))

    def page(self, path: str, params: Mapping[str, Any], after: str | None = None) -> tuple[list[dict[str, Any]], bool]:
        """Up to 100 objects of a list, newest first, those after the named one; and whether more follow."""
        asked = {"limit": 100, **params, **({"starting_after": after} if after else {})}
        query = urlencode(asked, doseq=True)
        found = self._ask(path, lambda: self._client.raw_request("get", f"{path}?{query}"))
        return [dict(thing) for thing in found.get("data", [])], bool(found.get("has_more"))

    def pages(self, path: str, params: Mapping[str, Any], after: str | None = None) -> Iterator[list[dict[str, Any]]]:
        """All pages of a list, each read when it is asked for; pagination goes on from `after`."""
        more = True
        while more:
            things, more = self.page(path, params, after)
            yield things
            after = things[-1]["id"] if things else None
            more = more and bool(things)

    def pay(self, invoice: str, body: Mapping[str, Any], key: str) -> Paid:
        """Ask Stripe once to collect an open invoice; `body` and `key` are those of the attempt's row."""
        self._guard("asking Stripe for money")
        self._buckets["invoices/pay"].wait()
        try:
            answer = self._client.v1.invoices.pay(invoice, cast(InvoicePayParams, dict(body)), {"idempotency_key": key})
        except stripe.StripeError as error:
            return _answer_of(error)
        except ValueError as error:  # an answer that is no JSON
            return Paid(None, f"Stripe's answer could not be read: {type(error).__name__}")
        if answer.status == "paid":
            return Paid(Answer.PAID, "Stripe collected the invoice")
        return Paid(Answer.PROCESSING, "the payment is under way", look=True)

    def change(self, what: Change, id: str, body: Mapping[str, Any], key: str) -> None:
        """Ask Stripe once to change something. Raises StripeNo, StripeMissing, StripeRefused; StripeAway: unknown."""
        self._guard("asking Stripe for a change")
        self._buckets[what].wait()
        ask, options = _CHANGES[what], cast(Any, {"idempotency_key": key})
        try:
            ask(self._client.v1, id, dict(body), options)
        except (stripe.AuthenticationError, stripe.PermissionError) as error:
            raise StripeRefused(_words(error)) from error
        except stripe.StripeError as error:
            if error.http_status == 404:
                raise StripeMissing(_words(error)) from error
            if error.http_status in (400, 402) and not isinstance(error, stripe.IdempotencyError):
                raise StripeNo(_words(error)) from error
            raise StripeAway(_words(error)) from error
        except ValueError as error:  # an answer that is no JSON
            raise StripeAway(f"Stripe's answer could not be read: {type(error).__name__}") from error


class Change(StrEnum):
    """What may be changed at Stripe besides paying."""

    CANCEL = "cancel a subscription"
    UPDATE = "update a subscription"
    VOID = "void an invoice"
    WRITE_OFF = "mark an invoice uncollectible"


_CHANGES: Mapping[Change, Callable[[Any, str, Any, Any], Any]] = {
    Change.CANCEL: lambda v1, id, body, options: v1.subscriptions.cancel(id, body, options),
    Change.UPDATE: lambda v1, id, body, options: v1.subscriptions.update(id, body, options),
    Change.VOID: lambda v1, id, body, options: v1.invoices.void_invoice(id, body, options),
    Change.WRITE_OFF: lambda v1, id, body, options: v1.invoices.mark_uncollectible(id, body, options),
}


def _answer_of(error: stripe.StripeError) -> Paid:
    """The outcome table D10 of reliability.md."""
    words, details = _words(error), _details(error)
    match error.http_status:
        case 402:
            decline, card, charge = refusal(details)
            codes = {decline.code, decline.decline_code}
            answer = Answer.NEEDS_ACTION if codes & AUTHENTICATE else Answer.DECLINED
            return Paid(answer, words, decline, card, charge)
        case 400 if isinstance(error, stripe.IdempotencyError):
            log.error("payment_key_reused", because=words)
            return Paid(
                Answer.UNKNOWN, "another request was made with the same key: read before anything else", look=True
            )
        case 400:
            return Paid(Answer.NOT_PAYABLE, words, Decline(code=details.get("code")), look=True)
        case 404:
            return Paid(Answer.NOT_PAYABLE, words, Decline(code="resource_missing"))
        case 401 | 403:
            return Paid(Answer.NOT_EXECUTED, words, stopped=True)
        case _:
            return Paid(None, words)


def _details(error: stripe.StripeError) -> dict[str, Any]:
    body = error.json_body
    details = body.get("error") if isinstance(body, dict) else None
    return dict(details) if isinstance(details, dict) else {}


def _words(error: Exception) -> str:
    """What went wrong without anything personal: status and codes, never Stripe's sentence."""
    details = _details(error) if isinstance(error, stripe.StripeError) else {}
    codes = [str(details[name]) for name in ("type", "code", "decline_code") if details.get(name)]
    status = getattr(error, "http_status", None) or type(error).__name__
    return " ".join([f"Stripe answered {status}" if isinstance(status, int) else f"no answer ({status})", *codes])


class Gateways:
    """The gateway of each account; made on first use, because a client must not cross a fork."""

    def __init__(
        self,
        settings: Settings,
        guard: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        transport: BaseAdapter | None = None,
    ) -> None:
        self._settings, self._guard, self._sleep, self._transport = settings, guard, sleep, transport
        self._made: dict[tuple[str, bool], Gateway] = {}
        self._lock = threading.Lock()

    def of(self, account: str, livemode: bool) -> Gateway | None:
        """The gateway for events of this account, None when no key is configured for it."""
        with self._lock:
            if (account, livemode) not in self._made:
                owner = self._settings.account(account, livemode)
                if owner is None or owner.api_key is None:
                    return None
                self._made[account, livemode] = Gateway(
                    owner.api_key,
                    account=account if account.startswith("acct_") and account != owner.id else None,
                    base=self._settings.stripe_api_base,
                    timeout=self._settings.stripe_timeout_seconds,
                    rate=self._settings.stripe_requests_per_second,
                    guard=self._guard,
                    sleep=self._sleep,
                    transport=self._transport,
                )
            return self._made[account, livemode]

    def close(self) -> None:
        """Close the connections of every account."""
        with self._lock:
            for gateway in self._made.values():
                gateway.close()
            self._made.clear()
