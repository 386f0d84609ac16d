"""A throw-away world for one story: the sandbox as Stripe and the whole product, in this thread, without HTTP.

Stripe is asked through the official client, whose requests end in the sandbox's application; webhooks are signed and
given to our own endpoint, signature check and all. The database is an SQLite file in a temporary folder that is gone
afterwards. Only sockets are left out: they would take most of the time.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from sqlalchemy import Engine, event

from billing.events import known_types
from billing.retry.model import Model, table_of
from config.priors import priors
from config.settings import OnlyWritten
from sandbox import Sandbox
from sandbox.delivery import CALM, Chaos
from sandbox.issuer import Issuer, Request, Verdict, verdict
from worker import retry_models
from worker.app import App, build
from worker.broker import NoBell
from worker.channels import Channel, Handed, Message
from worker.db import Database
from worker.intake import Writer
from worker.rehearsal.story import Story
from worker.schema import metadata
from worker.store import Owner
from worker.stripe_gateway import Gateways
from worker.web import webhook

SIGNING = "whsec_of_the_rehearsal"
SELF = Owner("self", False)


class StoryBank(Issuer):
    """The issuer of the story's card says what the story says; other cards are fine."""

    def __init__(self, story: Story) -> None:
        super().__init__()
        self._story = story
        self.card: str | None = None  # the fingerprint; None: the story has not begun, and every payment goes through
        self.attempts = 0

    def ask(self, payment_method: str, fingerprint: str, request: Request) -> Verdict:
        ours = self.card == fingerprint or (self.card and self._story.answers)
        if not ours or request.on_session:
            return Verdict(None, because="another card")
        decline = self._story.said(self.attempts, request.at)
        self.attempts += 1
        if decline is None:
            return Verdict(None, because="as the story says")
        code = decline.decline_code or decline.code or "generic_decline"
        usual = verdict(code, request.brand, "as the story says")
        return replace(
            usual,
            error_code=decline.code or usual.error_code,
            advice_code=decline.advice_code or usual.advice_code,
            network_decline_code=decline.network_decline_code or usual.network_decline_code,
            network_advice_code=decline.network_advice_code or usual.network_advice_code,
        )


class ToSandbox(BaseAdapter):
    """Carries a request of the official client to the sandbox, and its answer back."""

    def __init__(self, sb: Sandbox) -> None:
        super().__init__()
        self._sb = sb

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        body = request.body
        sent = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else b""
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        found = self._sb.ask(
            request.method or "GET", str(target), sent, {k: str(v) for k, v in request.headers.items()}
        )
        answer = requests.Response()
        answer.status_code, answer._content, answer.request = found.status, found.body, request
        answer.headers = CaseInsensitiveDict(found.headers)
        answer.url = request.url or ""
        return answer

    def close(self) -> None:
        """Nothing was opened."""


class Doorstep:
    """Where webhooks arrive: our own endpoint, with an event loop that runs only while it answers."""

    def __init__(self, app: App) -> None:
        self._loop = asyncio.new_event_loop()
        self._writer = Writer(app.db, app.bell)
        self._endpoint = webhook.Webhook(app, self._writer)
        self.posts = 0

    def open(self) -> None:
        self._writer.start()

    def close(self) -> None:
        self._writer.stop()
        self._loop.close()

    def carry(self, url: str, body: bytes, signature: str) -> int:
        """The HTTP status that a delivery is answered with."""
        self.posts += 1
        return self._loop.run_until_complete(self._post(body, signature))

    async def _post(self, body: bytes, signature: str) -> int:
        headers = [(b"content-type", b"application/json; charset=utf-8"), (b"stripe-signature", signature.encode())]
        scope = {"type": "http", "method": "POST", "path": webhook.PATH, "headers": headers}
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)

        await self._endpoint(scope, receive, send)
        return status


class Letters:
    """A channel that keeps what was sent in front of the one that takes it."""

    def __init__(self, behind: Channel) -> None:
        self._behind = behind
        self.sent: dict[str, Message] = {}  # by Message-ID

    def send(self, message: Message) -> Handed:
        self.sent[message.id] = message
        return self._behind.send(message)


@dataclass(frozen=True, slots=True)
class Stage:
    """`sb` is Stripe, `app` is us, `bank` is the issuer, `letters` is what the customer gets."""

    sb: Sandbox
    app: App
    bank: StoryBank
    door: Doorstep
    letters: Letters


class Floor:
    """The folder that all passes play in, one after the other, each on an empty database of its own.

    They share one engine, since what it learnt of our statements is a quarter of the time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._empty = folder / "empty.db"
        self._engine: Engine | None = None
        made = Database(f"sqlite:///{self._empty}")
        metadata.create_all(made.engine)
        made.close()

    @property
    def database(self) -> Path:
        return self.folder / "reprieve.db"

    @property
    def mailbox(self) -> Path:
        return self.folder / "mailbox"

    def clear(self) -> None:
        """Put an empty database in the place of the one that was played on, and empty the mailbox."""
        for leftover in self.folder.glob("reprieve.db*"):
            leftover.unlink()
        shutil.rmtree(self.mailbox, ignore_errors=True)
        shutil.copy(self._empty, self.database)

    def lay(self, db: Database) -> None:
        """Let this database use the engine of the passes before."""
        if self._engine is None:
            self._engine = db.engine
            _hurry(db)
        else:
            db.close()
            db.engine = self._engine


@contextmanager
def stage(
    story: Story, policy: Path | None, floor: Floor, start: datetime, seed: int, chaos: Chaos = CALM
) -> Iterator[Stage]:
    """The world of one pass, its clock at `start`. `policy`: a file, None the shipped one. Raises BadPolicy."""
    bank = StoryBank(story)
    floor.clear()
    with Sandbox(start, seed, chaos=chaos, issuer=bank, listen=False) as sb:
        settings = OnlyWritten(
            database_url=f"sqlite:///{floor.database}",
            stripe_api_key=SecretStr("rk_test_of_the_rehearsal"),
            stripe_api_base=sb.url,
            stripe_webhook_secrets=(SecretStr(SIGNING),),
            stripe_requests_per_second=1_000_000,
            mode="own",
            network_rules_path=story.rules,
            stripe_country=story.home,
            mailbox_dir=floor.mailbox,
            mail_from="billing@acme.example",
            mail_from_name="Acme",
            policy=policy.stem if policy else "standard",
            policy_dir=policy.parent if policy else None,
        )
        app = build(settings, NoBell(), now=sb.clock)
        letters = Letters(app.channels["email"])
        gateways = Gateways(settings, app.db.outside_transaction, transport=ToSandbox(sb))
        app = replace(app, stripe=gateways, channels={"email": letters})
        floor.lay(app.db)
        door = Doorstep(app)
        try:
            if story.model and story.model.version != priors().version:
                _lend(app, story.model)
            app.policies.load()
            door.open()
            sb.delivery.carry = door.carry
            sb.add_endpoint(f"http://reprieve.invalid{webhook.PATH}", SIGNING, events=tuple(sorted(known_types())))
            yield Stage(sb, app, bank, door, letters)
        finally:
            door.close()
            app.close()
        if sb.crashes:
            raise RuntimeError(f"the stand-in Stripe failed: {sb.crashes[0]}")


def _lend(app: App, model: Model) -> None:
    """Let the played installation use the model that the real one uses."""
    with app.db.begin() as db:
        retry_models.add(db, SELF, model.version, model.learnt_from, {}, table_of(model), app.now())
        retry_models.use(db, SELF, model.version, "rehearsal", "it is in use in reality", app.now())


def _hurry(db: Database) -> None:
    """Do not wait for the disk: what is lost was thrown away anyway."""

    @event.listens_for(db.engine, "connect")
    def _configure(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    db.engine.dispose()


BEFORE = timedelta(hours=1)  # Stripe finalises an invoice so long after making it, and charges then
