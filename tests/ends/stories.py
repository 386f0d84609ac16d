"""A renewal that nobody pays, under a policy with an end."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from config.channels import Endpoint
from sandbox import Subscribed, declines
from tests.world import DAY, START, World, world
from worker import tables as t

POLICY = """
name = "ends"
version = 1
window_days = 21
max_attempts = 8
min_gap_hours = 24
stripe_distance_hours = 24
notice_delay_hours = 24
after_card_change_minutes = 5
{tables}
[ladders]
insufficient_funds = [2, 7]
"""
FAILS = START + 31 * DAY  # the renewal, on 1 February; the next one is on 1 March
DEADLINE = FAILS + 21 * DAY
BROKE = declines("insufficient_funds")
KEY = SecretStr("whsec_" + base64.b64encode(b"k" * 32).decode())
NOWHERE = SecretStr("http://127.0.0.1:9/hook")
EVERYTHING = (Endpoint(name="product", url=NOWHERE, secrets=(KEY,), allow_private=True),)  # told of, never reached


def policy_file(folder: Path, tables: str) -> Path:
    """A folder with the policy `ends`, which has these tables."""
    own = folder / "policies"
    own.mkdir(exist_ok=True)
    (own / "ends.toml").write_text(POLICY.format(tables=tables))
    return own


@contextmanager
def ending(url: str, folder: Path, tables: str, **settings: Any) -> Iterator[World]:
    with world(url, folder, policy="ends", policy_dir=policy_file(folder, tables), **settings) as w:
        yield w


def nobody_pays(w: World, email: str = "ann@example.com", **more: Any) -> tuple[Subscribed, str]:
    """Ann subscribes for 20.00 a month on 1 January; her renewal on 1 February is declined, and so is every retry."""
    ann = w.sb.subscribe(amount=2000, email=email, name="Ann Lee", **more)
    w.sb.issuer.set(ann.payment_method, BROKE)
    w.pass_time(FAILS + timedelta(days=1), step=DAY)
    return ann, str(w.sb.latest_invoice(ann.subscription)["id"])


def ends(w: World, invoice: str) -> dict[str, tuple[str, str]]:
    """(state, outcome) of the actions of kind `end`, by part."""
    rows = w.rows(t.action, kind="end", invoice=invoice)
    return {row.detail["part"]: (row.state, row.outcome or "") for row in rows}


def basic_price(w: World, **more: Any) -> str:
    """A price of 5.00 a month, as the company made it at Stripe."""
    usual: Any = {"currency": "usd", "unit_amount": 500, "recurring": {"interval": "month"}}
    asked: Any = usual | {"product_data": {"name": "Basic"}} | more
    return w.client.v1.prices.create(asked).id
