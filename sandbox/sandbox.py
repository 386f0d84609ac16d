"""The sandbox as one value: a Stripe to start, steer and stop. See the package's docstring for its use."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

from sandbox import disputing, payments, subscribing
from sandbox.bank import Bank
from sandbox.cards import BY_TOKEN, TestCard, by_number
from sandbox.clock import Clock
from sandbox.control import Control
from sandbox.delivery import CALM, Chaos, Delivery
from sandbox.faults import Faults
from sandbox.idempotency import Answer, Keys
from sandbox.inside import ask
from sandbox.issuer import Behaviour, Issuer
from sandbox.listener import Listener
from sandbox.resources.customers import new_customer
from sandbox.resources.payment_methods import attach, new_method, replace_card
from sandbox.resources.products import new_price, new_product
from sandbox.resources.subscriptions import new_subscription
from sandbox.resources.webhook_endpoints import new_endpoint
from sandbox.server import App
from sandbox.store import Obj, Store
from sandbox.world import NO_RETRIES, Cause, Dunning, Settings, World

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A registered webhook endpoint: its id and the secret that signs."""

    id: str
    secret: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The ids of what `Sandbox.subscribe` made."""

    customer: str
    subscription: str
    payment_method: str
    price: str
    invoice: str


class Sandbox:
    """A stand-in Stripe on loopback HTTP; use as a context manager."""

    def __init__(
        self,
        start: datetime = START,
        seed: int = 1,
        *,
        hostile: bool = False,
        money_log: Path | str | None = None,
        fsync: bool = False,
        port: int = 0,
        automatic: bool = False,
        speed: float = 0.0,
        dunning: Dunning = NO_RETRIES,
        chaos: Chaos = CALM,
        key_ttl: timedelta = timedelta(hours=24),
        concurrency: int = 1,
        issuer: Issuer | None = None,
        listen: bool = True,
    ) -> None:
        self.seed = seed
        self.clock = Clock(start, speed)
        self.bank = Bank(Path(money_log) if money_log else None, fsync)
        self.issuer = issuer or Issuer()
        self.faults = Faults()
        settings = Settings(hostile=hostile, dunning=dunning)
        self.world = World(self.clock, Store(seed), self.issuer, self.bank, settings)
        self.keys = Keys(key_ttl)
        self.delivery = Delivery(self.world, seed, chaos, concurrency)
        self._app = App(self.world, self.faults, self.keys, Control(self))
        self._listener = Listener(self._app, port) if listen else None
        self.port = self._listener.port if self._listener else 0
        place = f"127.0.0.1:{self.port}" if self._listener else "sandbox.invalid"
        self.url = self.world.url = f"http://{place}"
        self._stopped = threading.Event()
        loops = [threading.Thread(target=self.delivery.run, args=(self._stopped,))] if automatic else []
        self._threads = [*loops, *([threading.Thread(target=self._tick)] if speed else [])]

    def start(self) -> Sandbox:
        if self._listener:
            self._listener.start()
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stopped.set()
        self.delivery.wake.set()
        for thread in self._threads:
            thread.join()
        if self._listener:
            self._listener.stop()
        self.delivery.close()
        self.bank.close()

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    # ---------------------------------------------------------------- time and delivery

    def advance(self, to: datetime | timedelta, deliver: bool = False) -> None:
        """Move the clock and play everything that falls due on the way, in order.

        With `deliver` webhooks are posted at their own moments on the way, retries included.
        """
        end = self.clock() + to if isinstance(to, timedelta) else to
        while True:
            if deliver:
                self.delivery.deliver()
            due = [at for at in (self.world.agenda.next_due(), self.delivery.next_due() if deliver else None) if at]
            if not due or min(due) > end:
                break
            self._play(min(due))
        with self.world.lock:
            self.clock.move(end)
        self.delivery.wake.set()
        if deliver:
            self.delivery.deliver()

    @property
    def next_due(self) -> datetime | None:
        """When something next happens by itself: on the agenda, or a webhook that waits to be posted."""
        return min(filter(None, (self.world.agenda.next_due(), self.delivery.next_due())), default=None)

    def ask(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """What a request over HTTP would be answered, without HTTP: `target` is path and query."""
        return ask(self._app, method, target, body, headers or {})

    def _play(self, until: datetime) -> None:
        """Everything on the agenda up to `until`."""
        while True:
            with self.world.lock:
                entry = self.world.agenda.pop(until)
                self.clock.move(entry[0] if entry else until)
                if entry is None:
                    return
                entry[1]()

    def _tick(self) -> None:
        while not self._stopped.wait(0.02):
            self._play(self.clock())
            self.delivery.wake.set()

    def deliver(self) -> int:
        """Post every webhook that is due now, and those that this causes; the number of posts."""
        return self.delivery.deliver()

    def add_endpoint(
        self,
        url: str,
        secret: str | None = None,
        *,
        api_version: str | None = None,
        thin: bool = False,
        events: tuple[str, ...] = ("*",),
    ) -> Endpoint:
        """Register a webhook endpoint; events that happen from now on are sent to it."""
        with self.world.lock:
            made = new_endpoint(self.world, url, list(events), api_version, secret, thin)
        return Endpoint(made["id"], made["_secret"])

    # ---------------------------------------------------------------- what people and banks do

    def subscribe(
        self,
        card: str | TestCard = "pm_card_visa",
        amount: int = 2000,
        currency: str = "usd",
        interval: str = "month",
        *,
        quantity: int = 1,
        email: str | None = None,
        name: str | None = None,
        country: str | None = None,
        trial_days: int | None = None,
        behaviour: Behaviour | None = None,
    ) -> Subscribed:
        """A new customer with a card and a running subscription, whose first invoice is paid.

        `card` is a test token or a card; it is good for the first payment whatever it stands for, and behaves as
        itself (or as `behaviour`, when given) from then on.
        """
        world = self.world
        with world.because(Cause("control")):
            address = {"country": country} if country else None
            customer = new_customer(world, email=email, name=name, address=address, currency=currency)
            method = new_method(world, BY_TOKEN[card] if isinstance(card, str) else card)
            later = behaviour or world.issuer.of(method["id"])
            world.issuer.set(method["id"], Behaviour())
            method["_attach_code"] = None
            attach(world, method, customer)
            customer["invoice_settings"]["default_payment_method"] = method["id"]
            world.events.emit("customer.created", customer)
            price = new_price(world, new_product(world, "Plan")["id"], currency, str(amount), interval)
            subscription = new_subscription(world, customer, [(price, quantity)])
            if trial_days:
                subscription["trial_start"] = world.clock.stamp()
                subscription["trial_end"] = world.later(timedelta(days=trial_days))
                subscription["billing_cycle_anchor"] = subscription["trial_end"]
            subscribing.begin(world, subscription, "allow_incomplete", method)
            world.issuer.set(method["id"], later)
        ids = customer["id"], subscription["id"], method["id"], price["id"], subscription["latest_invoice"]
        return Subscribed(*ids)

    def get(self, id: str) -> Obj:
        """The sandbox's own object of an id, in the newest shape with private keys: for assertions, not to change."""
        found = self.world.store.find(id)
        if found is None:
            raise KeyError(id)
        return found

    def latest_invoice(self, subscription: str) -> Obj:
        return self.get(self.get(subscription)["latest_invoice"])

    def new_card(self, customer: str, card: str = "pm_card_visa", default: bool = True) -> str:
        """The customer gives a new card, as in the portal; its id."""
        world = self.world
        with world.because(Cause("portal")):
            owner = self.get(customer)
            method = new_method(world, BY_TOKEN[card])
            attach(world, method, owner)
            if default:
                with world.changing(owner, "customer.updated"):
                    owner["invoice_settings"]["default_payment_method"] = method["id"]
            return str(method["id"])

    def update_card(self, payment_method: str, number: str = "4242424242424242") -> None:
        """The network's updater replaces the card on file: payment_method.automatically_updated."""
        card = by_number(number)
        if card is None:
            raise ValueError(f"no card number: {number}")
        with self.world.because(Cause()):
            replace_card(self.world, self.get(payment_method), card, self.clock().year + 3)

    def use(self, subscription: str, quantity: int) -> None:
        """Record usage on the metered items of a subscription, billed at the next renewal."""
        with self.world.lock:
            for item in self.get(subscription)["items"]:
                if item["price"]["recurring"]["usage_type"] == "metered":
                    item["_usage"] = item.get("_usage", 0) + quantity

    def authenticate(self, payment_intent: str, success: bool = True) -> str:
        """The customer answers a 3D Secure challenge; the outcome of the attempt."""
        with self.world.because(Cause("hosted")):
            return str(payments.authenticate(self.world, self.get(payment_intent), success))

    def dispute(self, charge: str, reason: str = "fraudulent") -> Obj:
        return disputing.open_dispute(self.world, self.get(charge), reason)

    def close_dispute(self, dispute: str, status: str = "won") -> Obj:
        return disputing.close_dispute(self.world, self.get(dispute), status)

    def fraud_warning(self, charge: str) -> Obj:
        return disputing.warn(self.world, self.get(charge))

    @property
    def dunning(self) -> Dunning:
        return self.world.settings.dunning

    @dunning.setter
    def dunning(self, value: Dunning) -> None:
        self.world.settings.dunning = value

    @property
    def crashes(self) -> list[str]:
        """Errors of the sandbox itself; empty in a sound run."""
        return self._app.crashes
