"""Every setting of Reprieve, as one typed value from the environment and `reprieve.toml`.

The environment wins over the file. A secret may also come from a file: `REPRIEVE_STRIPE_API_KEY_FILE=/run/secrets/key`
sets `REPRIEVE_STRIPE_API_KEY`. `docs/settings.md` is written from the descriptions below; a test holds that.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from billing.ledger.policy import DEFAULT, LedgerPolicy
from billing.notices.address import BadAddress, parse
from billing.report.bands import Bands
from billing.report.bands import parse as parse_bands
from config.channels import ChannelSettings
from config.stripe_sends import KINDS, UNKNOWN, checked

PREFIX = "REPRIEVE_"
Mode = Literal["observe", "notify", "weave", "own"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class Account(BaseModel):
    """One Stripe account in one mode: its secrets, and what Reprieve may do there."""

    model_config = {"frozen": True, "extra": "forbid"}

    id: str = Field("self", description="acct_... of the account; `self` when there is only one.")
    livemode: bool = Field(False, description="True for live events and a live key.")
    mode: Mode = Field("observe", description="What Reprieve may do there: observe, notify, weave or own.")
    policy: str = Field("standard", description="Name of the recovery policy in config/policies.")
    api_key: SecretStr | None = Field(None, description="Restricted key (rk_...).")
    webhook_secrets: tuple[SecretStr, ...] = Field(
        (), description="Signing secrets of the endpoint; several while one is rolled."
    )
    country: str | None = Field(
        None,
        pattern=r"^[A-Z]{2}$",
        description="Country of the account, as DE: which fees of the networks are at stake.",
    )
    stripe_sends: tuple[str, ...] = Field(
        (UNKNOWN,), description="What Stripe mails to customers itself, as stripe_sends above."
    )

    @field_validator("stripe_sends")
    @classmethod
    def _sends(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked(value)


class Settings(ChannelSettings):
    """The whole configuration of one process; frozen, so that nothing changes it after the start."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", toml_file="reprieve.toml")

    database_url: str = Field(
        "sqlite:///var/reprieve.db", description="SQLite file, or postgresql://user:password@host/name.", repr=False
    )
    redis_url: SecretStr | None = Field(
        None, description="redis://... for the bells between processes; without it one process does everything."
    )

    stripe_account: str = Field(
        "self", description="Id of the Stripe account (acct_...); `self` is good for one account."
    )
    stripe_livemode: bool = Field(False, description="True when the key and the events are live.")
    stripe_api_key: SecretStr | None = Field(
        None, description="Restricted Stripe key (rk_...). Without it nothing is read from or sent to Stripe."
    )
    stripe_webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Signing secrets of the webhook endpoint, separated by commas; none switches the endpoint off."
    )
    stripe_api_base: str | None = Field(
        None, description="Address of a stand-in Stripe on loopback, for tests and the sandbox; refused in live mode."
    )
    stripe_timeout_seconds: float = Field(
        20.0, gt=0, le=40, description="Longest wait for one answer of Stripe; must stay below half the lease."
    )
    stripe_requests_per_second: float = Field(
        20.0, gt=0, description="Most requests a second to one Stripe endpoint; Stripe allows 25."
    )
    stripe_sends: Annotated[tuple[str, ...], NoDecode] = Field(
        (UNKNOWN,),
        description="What Stripe mails to customers itself, separated by commas, so that Reprieve does not: "
        f"{', '.join(KINDS)}; or none. `reprieve setup` asks.",
    )
    mode: Mode = Field("observe", description="observe, notify, weave or own; see docs/go-live.md.")
    policy: str = Field("standard", description="Name of the recovery policy in config/policies.")
    policy_dir: Path | None = Field(None, description="A folder of your own policies; used before the shipped ones.")
    stripe_country: str | None = Field(
        None,
        pattern=r"^[A-Z]{2}$",
        description="Country of your Stripe account, as DE: decides which of a network's fees are at stake.",
    )
    network_rules_path: Path | None = Field(
        None,
        description="A file of your own network rules, beside or instead of shipped ones; docs/network-rules.md.",
    )
    accounts: tuple[Account, ...] = Field((), description="Further accounts, as [[accounts]] in reprieve.toml.")

    smtp_host: str | None = Field(
        None, description="Mail server. Without it, messages go to mailbox_dir if that is set."
    )
    smtp_port: int = Field(587, ge=1, le=65535, description="Port of the mail server.")
    smtp_tls: Literal["starttls", "implicit", "none"] = Field(
        "starttls", description="starttls (587), implicit (465), or none for a server on this machine."
    )
    smtp_plaintext: bool = Field(
        False, description="Allow smtp_tls=none to another machine, as to a mail catcher in the same network."
    )
    smtp_user: str | None = Field(None, description="Name to log in with.")
    smtp_password: SecretStr | None = Field(None, description="Password to log in with.")
    smtp_ca_file: Path | None = Field(None, description="Own certificate authority of the mail server, as PEM.")
    smtp_timeout_seconds: float = Field(
        20.0, gt=0, le=60, description="Longest wait for one answer of the mail server."
    )
    mail_from: str = Field("billing@localhost", description="Sender address of the messages.")
    mail_from_name: str = Field("Billing", description="Sender name; also how the merchant is named in messages.")
    support_email: str | None = Field(
        None, description="Where customers may ask; without it they are told to reply to the message."
    )
    brand_colour: str = Field(
        "#1f5eff", pattern=r"^#[0-9A-Fa-f]{6}$", description="Colour of the button in messages, as #rrggbb."
    )
    brand_logo_url: str | None = Field(
        None,
        max_length=500,
        pattern=r"^https://[A-Za-z0-9.-]+/[A-Za-z0-9._~/%-]+$",
        description="Logo in messages, https and 132 pixels wide; without it your name stands there.",
    )
    brand_address: str | None = Field(
        None, max_length=300, description="Postal address at the foot of messages; many countries want one."
    )
    default_language: Literal["de", "en", "es", "fr", "ja", "pt"] = Field(
        "en", description="Language of customers who chose none and whose country says nothing."
    )
    mailbox_dir: Path | None = Field(
        None, description="A folder that messages are written to as .eml files, for trying out."
    )

    web_host: str = Field("127.0.0.1", description="Address the web process listens on.")
    web_port: int = Field(8080, ge=0, le=65535, description="Port the web process listens on; 0 chooses one.")
    public_url: str = Field(
        "http://127.0.0.1:8080", description="Address that customers and operators reach the web process at."
    )
    link_secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="Signs links to the recovery page, which needs public_url in https; without it, Stripe's own page.",
    )
    link_days: int = Field(30, ge=1, le=30, description="Days that a link to the recovery page is good for.")
    trusted_proxies: int = Field(
        0, ge=0, le=5, description="Proxies of yours in front of the web process; only they may say who is asking."
    )
    webhook_limit_bytes: int = Field(524_288, ge=1024, description="Longest webhook body that is read.")

    worker_threads: int = Field(8, ge=1, le=64, description="Threads of one worker process.")
    sweep_seconds: float = Field(15.0, gt=0, description="Time between two looks for work that no bell announced.")
    lease_seconds: float = Field(
        60.0, gt=0, description="Time a worker owns an action; must exceed twice the Stripe timeout."
    )
    reporting_timezone: str = Field("UTC", description="Time zone in which months begin in reports.")

    customers_csv: Path | None = Field(
        None,
        description="A CSV file of what you know of customers: customer, gtm_motion, pricing_model, country, account.",
    )
    contacts_csv: Path | None = Field(
        None,
        description="A CSV file of whom else to write to: customer, email, role (billing, owner, member), language.",
    )
    acv_bands: str = Field(
        "article-001",
        description="Bands of contract value: article-001, article-002, article-003, or your own as name:edge pairs.",
    )

    digest_to: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses of the team that get the weekly NRR digest, separated by commas; none sends none."
    )
    digest_weekday: Weekday = Field("monday", description="Day on which the digest of the last seven days is sent.")
    digest_hour: int = Field(8, ge=0, le=23, description="Hour of that day, in digest_timezone.")
    digest_timezone: str | None = Field(
        None, description="Time zone of the digest and of its week; reporting_timezone without it."
    )

    experiment_seed: str = Field(
        "1", max_length=100, description="Draws who is told and who is the control; who was drawn before keeps his arm."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least important level that is logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="json for machines, console for people, auto by terminal."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("stripe_webhook_secrets", "digest_to", "stripe_sends", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(part.strip() if isinstance(part, str) else part for part in parts if str(part).strip())

    @field_validator("digest_to")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, address in enumerate(value, start=1):
            try:
                parse(address)
            except BadAddress as bad:
                raise ValueError(f"address {number}: {bad}") from None
        return value

    @field_validator("stripe_sends")
    @classmethod
    def _sends(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked(value)

    @field_validator("support_email")
    @classmethod
    def _support(cls, value: str | None) -> str | None:
        try:
            return value and str(parse(value))
        except BadAddress as bad:
            raise ValueError(str(bad)) from None

    @field_validator("acv_bands")
    @classmethod
    def _bands(cls, value: str) -> str:
        parse_bands(value)
        return value

    @field_validator("digest_timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        try:
            return value and ZoneInfo(value).key
        except (OSError, ValueError, ZoneInfoNotFoundError):
            raise ValueError("no such time zone; write one like Europe/Berlin") from None

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        live = self.stripe_livemode or any(account.livemode for account in self.accounts)
        if self.stripe_api_base and live:
            raise ValueError("stripe_api_base may not be set in live mode: live events are never sent to a stand-in")
        if self.lease_seconds <= 2 * self.stripe_timeout_seconds:
            raise ValueError(
                "lease_seconds must exceed twice stripe_timeout_seconds, or a slow answer outlives the lease"
            )
        keys = [(account.id, account.livemode) for account in self.all_accounts]
        if len(set(keys)) != len(keys):
            raise ValueError("two accounts have the same id and mode")
        return self

    @property
    def all_accounts(self) -> tuple[Account, ...]:
        """The account of the flat settings first, then the further ones."""
        first = Account(
            id=self.stripe_account,
            livemode=self.stripe_livemode,
            mode=self.mode,
            policy=self.policy,
            api_key=self.stripe_api_key,
            webhook_secrets=self.stripe_webhook_secrets,
            country=self.stripe_country,
            stripe_sends=self.stripe_sends,
        )
        return (first, *self.accounts)

    def account(self, account: str, livemode: bool) -> Account | None:
        """Who speaks for these events: the account itself, or for a connected account the platform of that mode."""
        exact = [a for a in self.all_accounts if a.id == account and a.livemode == livemode]
        same_mode = [a for a in self.all_accounts if a.livemode == livemode]
        return next(iter(exact or same_mode), None)

    @property
    def ledger_policy(self) -> LedgerPolicy:
        """The switches that the books are kept with; a day is the company's own (D15)."""
        return replace(DEFAULT, zone=self.reporting_timezone)

    @property
    def bands(self) -> Bands:
        """The bands of contract value that reports use."""
        return parse_bands(self.acv_bands)

    @property
    def sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)


class BadSettings(Exception):
    """The configuration cannot be used; the message names each setting and what is wrong with it."""


def _secrets_from_files() -> dict[str, str]:
    """Values of `REPRIEVE_X_FILE`, read from the named files, under the name of the setting."""
    found: dict[str, str] = {}
    for name, path in os.environ.items():
        if name.startswith(PREFIX) and name.endswith("_FILE") and name != PREFIX + "SMTP_CA_FILE":
            try:
                found[name[len(PREFIX) : -len("_FILE")].lower()] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise BadSettings(f"{name}: cannot read {path}: {error}") from error
    return found


def load(**overrides: Any) -> Settings:
    """The settings of this process. Raises BadSettings with one line per mistake, never showing a secret."""
    try:
        return Settings(**{**_secrets_from_files(), **overrides})
    except ValidationError as error:
        lines = [
            f"{PREFIX}{'.'.join(str(part) for part in item['loc']).upper() or 'SETTINGS'}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise BadSettings("\n".join(lines)) from None
    except ValueError as error:  # a broken reprieve.toml
        raise BadSettings(f"reprieve.toml: {error}") from None


class OnlyWritten(Settings):
    """Settings from the code that makes them and nothing else: neither the environment nor reprieve.toml takes part."""

    model_config = SettingsConfigDict(toml_file=None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
