"""An installation whose policy warns ahead, with the page that its messages lead to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from config.policies import HERE
from sandbox import Sandbox
from tests.page.conftest import LINK_SECRET, free_port
from tests.world import DAY, SECRET, START, World, settings_for
from worker.ahead import plan
from worker.ahead_tables import ahead_warning
from worker.app import build
from worker.broker import NoBell
from worker.web import method, pay
from worker.web.server import start_in_thread

LADDER = (HERE / "ladder.toml").read_text(encoding="utf-8")
ALL_TOLD = """
[ahead.card_expiring]
on = true
control = 0.0
[ahead.renewal_coming]
on = true
control = 0.0
min_amount = { usd = 50000 }
[ahead.method_missing]
on = true
control = 0.0
"""


@dataclass
class Ahead(World):
    """A world in which somebody also looks ahead, once a day."""

    def live(self, until: datetime | timedelta) -> None:
        """Day by day: Stripe bills and tells, the worker sweeps, and looks ahead."""
        end = until if isinstance(until, datetime) else self.sb.clock() + until
        self.settle()
        while (now := self.sb.clock()) < end:
            self.sb.advance(min(now + DAY / 2, end))
            self.settle()
            plan.run_due(self.app)
            self.settle()

    def warnings(self, **where: Any) -> list[Any]:
        return self.rows(ahead_warning, **where)

    def card(self, customer_card: str, year: int, month: int) -> None:
        """The card on file gets this expiry, as if it had been given so."""
        given = {"card": {"exp_year": year, "exp_month": month}}
        self.client.v1.payment_methods.update(customer_card, given)  # type: ignore[arg-type]


def policy_with(folder: Path, ahead: str) -> dict[str, Any]:
    """Settings for the policy `ladder` with these tables added, under a name of its own."""
    folder.mkdir(exist_ok=True)
    body = LADDER.replace('name = "ladder"', 'name = "ahead"')
    head, ladders, rest = body.partition("[ladders]")
    (folder / "ahead.toml").write_text(f"{head}{ahead}\n{ladders}{rest}", encoding="utf-8")
    return {"policy_dir": folder, "policy": "ahead"}


@contextmanager
def looking_ahead(database_url: str, folder: Path, ahead: str = ALL_TOLD, **settings: Any) -> Iterator[Ahead]:
    """`tests.world.world` with a policy that warns, and the page of the warnings."""
    with Sandbox(start=START, seed=1) as sb:
        port = free_port()
        asked = {
            "link_secret": SecretStr(LINK_SECRET),
            "public_url": f"http://127.0.0.1:{port}",
            **policy_with(folder / "policies", ahead),
            **settings,
        }
        chosen = settings_for(database_url, sb, folder / "mailbox", **asked).model_copy(update={"web_port": port})
        app = build(chosen, NoBell(), now=sb.clock, sleep=lambda _: None)
        app.policies.load()
        url, stop = start_in_thread(app, [*pay.routes(app), *method.routes(app)])
        sb.add_endpoint(f"{url}/webhooks/stripe", SECRET)
        try:
            yield Ahead(sb, app, folder / "mailbox")
        finally:
            stop()
            app.close()
        assert not sb.crashes, sb.crashes
