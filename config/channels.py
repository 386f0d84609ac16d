"""The settings of the ways to and from people besides plain SMTP: what comes back, walls, chat, other systems."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

SHORTEST_SECRET = 24  # characters
SHORTEST_KEY = 24  # bytes, as Standard Webhooks says
EVENTS = frozenset(
    {
        "case.opened",
        "attempt.made",
        "message.sent",
        "case.recovered",
        "case.lost",
        "case.late_rescue",
        "contact.bounced",
        "entitlement.changed",
    }
)


class Endpoint(BaseModel):
    """One of your own systems that is told what happens; a table [[outgoing_webhooks]] in reprieve.toml."""

    model_config = {"frozen": True, "extra": "forbid"}

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$", description="Your name for it; deliveries are kept under it."
    )
    url: SecretStr = Field(description="https address; its path may hold a secret, so it is never logged.")
    secrets: tuple[SecretStr, ...] = Field(
        min_length=1, description="Signing secrets as whsec_ and base64; several while one is rolled."
    )
    events: tuple[str, ...] = Field((), description="Kinds of events that it wants; none means all.")
    allow_private: bool = Field(False, description="Allow http and addresses inside your network.")

    @field_validator("url")
    @classmethod
    def _http(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("not an http or https address without a login in it")
        return value

    @field_validator("secrets")
    @classmethod
    def _readable(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, secret in enumerate(value, start=1):
            text = secret.get_secret_value()
            try:
                key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
            except ValueError:
                key = b""
            if not text.startswith("whsec_") or len(key) < SHORTEST_KEY:
                raise ValueError(f"secret {number} is not whsec_ and the base64 of {SHORTEST_KEY} bytes or more")
        return value

    @field_validator("events")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(value) - EVENTS:
            raise ValueError(f"no such event: {', '.join(sorted(unknown))}")
        return value


class ChannelSettings(BaseSettings):
    """A part of `config.settings.Settings`."""

    suppression_secret: SecretStr | None = Field(
        None,
        description="At least 24 characters; signs unsubscribe links and hides addresses on the list of those who get "
        "nothing. Never change it: that list would be forgotten.",
    )
    unsubscribe_covers: Literal["reminders", "everything"] = Field(
        "reminders",
        description="What unsubscribing ends: reminders, while the notice of a failed payment, its last day and its "
        "end still go out; or everything.",
    )
    ses_topics: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="ARNs of the SNS topics that report bounces of Amazon SES, separated by commas; none: off."
    )
    postmark_secret: SecretStr | None = Field(
        None, description="Password of Postmark's webhook to /hooks/mail/postmark (basic authentication); none: off."
    )
    bounce_imap_host: str | None = Field(
        None, description="IMAP server (TLS) whose mailbox collects returned mail; read by `reprieve mail bounces`."
    )
    bounce_imap_user: str | None = Field(None, description="Name to log in to that mailbox with.")
    bounce_imap_password: SecretStr | None = Field(None, description="Password to log in to that mailbox with.")
    mail_provider: Literal["none", "resend"] = Field(
        "none", description="resend: pass its idempotency key with each message by SMTP, so a repeat is one message."
    )

    most_messages_per_hour: int | None = Field(
        None,
        ge=0,
        description="More messages in an hour stop an account's messages until `reprieve mail resume`; 0 for no bound. "
        "Without it three times the busiest hour of five weeks, 500 at least.",
    )

    in_app_secret: SecretStr | None = Field(
        None,
        description="At least 24 characters; shared with your server, which signs a token per customer. None: off.",
    )
    in_app_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins of your product (https://app.example.com) that may ask, separated by commas."
    )
    in_app_url: str | None = Field(
        None, description="Where the button of banner and wall leads, as your billing page; {customer} is filled in."
    )
    in_app_soft_wall_days: int = Field(7, ge=0, description="Days after the failure from which a wall is shown.")
    in_app_hard_wall_days: int = Field(
        14, ge=0, description="Days after the failure from which the wall stays; 0 means never."
    )

    entitlement_unknown: Literal["full", "blocked"] = Field(
        "full", description="What GET /v1/entitlement answers for a customer of whom Stripe never told anything."
    )

    chat_urls: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Apprise addresses of your team's chat (slack://...), separated by blanks. Need reprieve[chat]."
    )
    sms_url: SecretStr | None = Field(
        None, description="Apprise address of an SMS service with {to} for the number. Needs reprieve[chat]."
    )
    twilio_auth_token: SecretStr | None = Field(
        None, description="Auth token of Twilio, which signs answers to /hooks/sms/twilio; none: off."
    )
    sms_hook_secret: SecretStr | None = Field(
        None, description="At least 24 characters; what another SMS service shows to /hooks/sms/generic; none: off."
    )
    sms_start_counts: bool = Field(
        False, description="Whether START gives back the consent that STOP from the same number had ended."
    )

    outgoing_webhooks: tuple[Endpoint, ...] = Field(
        (), description="Your own systems that are told what happens, as [[outgoing_webhooks]] in reprieve.toml."
    )

    @field_validator("ses_topics", "in_app_origins", "chat_urls", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("suppression_secret", "in_app_secret", "postmark_secret", "twilio_auth_token", "sms_hook_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().strip()) < SHORTEST_SECRET:
            raise ValueError(f"shorter than {SHORTEST_SECRET} characters")
        return value

    @field_validator("in_app_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, origin in enumerate(value, start=1):
            parts = urlsplit(origin)
            if f"{parts.scheme}://{parts.netloc}" != origin or parts.scheme not in ("http", "https"):
                raise ValueError(f"origin {number} is not of the form https://app.example.com")
        return value

    @field_validator("in_app_url")
    @classmethod
    def _page(cls, value: str | None) -> str | None:
        if value and not value.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ValueError("not an https address")
        return value

    @field_validator("outgoing_webhooks")
    @classmethod
    def _names(cls, value: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        if len({endpoint.name for endpoint in value}) != len(value):
            raise ValueError("two of them have the same name")
        return value
