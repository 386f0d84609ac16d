"""The composition root: everything that acts, put together once. Tests put fakes in the same places."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from config.settings import Settings
from worker.channels import Channel
from worker.channels.chat import Chat, Sms
from worker.channels.email import EmailChannel, mail_sender, smtp_server
from worker.channels.fuse import Fuse
from worker.channels.mailbox import MailboxChannel
from worker.db import Database
from worker.policies import Policies
from worker.rendering import Renderer
from worker.stripe_gateway import Gateways
from worker.templates.brand import brand_of
from worker.templates.versions import Versions


class Bell(Protocol):
    """Tells a sleeping worker that a row may be waiting. Losing a ring costs time, never work."""

    def ring(self, name: str) -> None:
        """`inbox` or `actions` or `books`. Returns within 200 ms and never raises."""


def wall_clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class App:
    settings: Settings
    db: Database
    now: Callable[[], datetime]
    bell: Bell
    stripe: Gateways
    channels: Mapping[str, Channel]
    policies: Policies
    renderer: Renderer
    stopping: threading.Event = field(default_factory=threading.Event)  # finish what is begun, begin nothing

    def close(self) -> None:
        """Give back connections and end the child that writes messages; for the end of a process or a test."""
        self.renderer.close()
        self.stripe.close()
        self.db.close()


def build(
    settings: Settings,
    bell: Bell,
    *,
    now: Callable[[], datetime] = wall_clock,
    sleep: Callable[[float], None] = time.sleep,
) -> App:
    """Everything real, for these settings. Raises BadPolicy, or what a bad mail setting raises."""
    db = Database(settings.database_url, settings.worker_threads)
    return App(
        settings=settings,
        db=db,
        now=now,
        bell=bell,
        stripe=Gateways(settings, db.outside_transaction, sleep),
        channels=_channels(settings, now),
        policies=Policies(settings, db, now),
        renderer=Renderer(brand=brand_of(settings), edits=Versions(db).active),
    )


def _channels(settings: Settings, now: Callable[[], datetime]) -> dict[str, Channel]:
    """E-mail by a mail server if there is one, else into a folder if that is set, else none; chat and SMS if set."""
    found: dict[str, Channel] = {}
    sender = mail_sender(settings)
    if settings.smtp_host:
        server = smtp_server(settings)
        found["email"] = EmailChannel(server, sender, now, plaintext_anywhere=settings.smtp_plaintext)
    elif settings.mailbox_dir:
        found["email"] = MailboxChannel(settings.mailbox_dir, sender, now)
    if settings.chat_urls:
        found["chat"] = Chat(settings.chat_urls)
    if settings.sms_url:
        found["sms"] = Sms(settings.sms_url)
    return {name: Fuse(channel) for name, channel in found.items()}
