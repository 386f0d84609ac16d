"""How long it takes to say what a customer may use: 50,000 cases in SQLite, next to a bare read of the same rows.

    python -m benchmarks.entitlement [--cases 50000] [--asked 2000] [--json]

Every fifth case was lost, which costs a second read: whether the customer has a subscription in order. Each question
is asked through `worker.entitlement`, in a transaction of its own, as the address does; a question for 100 customers
is one of these. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Connection, select, text

from benchmarks.intake import Found, Target, report
from billing.case import RecoveryCase, State
from billing.events.occurrences import Event, SubscriptionSeen
from billing.events.snapshots import Subscription
from billing.money import Amount
from config.settings import Settings
from worker import entitlement, migrate, store
from worker import tables as t
from worker.app import App, build
from worker.broker import NoBell
from worker.db import Database
from worker.store import Owner

OWNER = Owner("self", True)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
ONE, BARE, LOST, HUNDRED = "one customer, p95 ms", "bare read, p95 ms", "lost customer, p95 ms", "100 customers, p95 ms"
TARGETS = (
    Target(f"{ONE} / {BARE}", 10.0, at_least=False),
    Target(f"{LOST} / {BARE}", 30.0, at_least=False),
    Target(f"{HUNDRED} / {BARE}", 300.0, at_least=False),
)
POLICY = """
name = "bench"
version = 1
window_days = 28
max_attempts = 8
min_gap_hours = 24
stripe_distance_hours = 24
notice_delay_hours = 24
after_card_change_minutes = 5
[access]
restricted_after_days = 7
[ladders]
unknown = [2, 7]
"""


def lost(n: int) -> bool:
    return n % 5 == 0


def fill(db: Connection, number: int) -> None:
    cases, facts = [], []
    for n in range(number):
        failed = NOW - timedelta(days=n % 27, seconds=n)
        case = RecoveryCase(
            "self", True, f"in_{n}", f"cus_{n}", f"sub_{n}", Amount(2000, "usd"), "bench@1", failed, failed,
            failed + timedelta(days=28),
        )  # fmt: skip
        if lost(n):
            case = replace(case, state=State.LOST, unpaid_at=failed + timedelta(hours=1))
        cases.append(case)
        if lost(n):
            seen = SubscriptionSeen(Subscription(f"sub_{n}", f"cus_{n}", "unpaid", "usd"), "updated")
            facts += [
                Event(f"evt_{n}_{i}", "stripe", failed, "self", True, seen, customer=f"cus_{n}") for i in range(6)
            ]
        if len(cases) == 5_000:
            store.save_cases(db, cases, NOW)
            store.keep(db, OWNER, facts, NOW)
            cases, facts = [], []
    store.save_cases(db, cases, NOW)
    store.keep(db, OWNER, facts, NOW)
    db.execute(text("ANALYZE"))


def p95(ask: Callable[[list[str]], object], questions: Sequence[list[str]]) -> float:
    taken = []
    for customers in questions:
        began = time.perf_counter()
        ask(customers)
        taken.append(time.perf_counter() - began)
    return 1000 * sorted(taken)[int(0.95 * len(taken))]


def measure(app: App, number: int, asked: int, found: Found) -> None:
    rng = random.Random(1)  # noqa: S311  # which customers are asked for is no secret
    live = [n for n in range(number) if not lost(n)]
    table = t.recovery_case

    def bare(customers: list[str]) -> object:
        with app.db.read() as db:
            wanted = select(table.c.customer, table.c.evidence).where(OWNER.of(table), table.c.customer.in_(customers))
            return db.execute(wanted).all()

    def product(customers: list[str]) -> object:
        with app.db.read() as db:
            return entitlement.of_customers(app, db, OWNER, customers)

    ones = [[f"cus_{rng.choice(live)}"] for _ in range(asked)]
    losts = [[f"cus_{5 * rng.randrange(number // 5)}"] for _ in range(asked)]
    hundreds = [[f"cus_{n}" for n in rng.sample(range(number), 100)] for _ in range(max(20, asked // 20))]
    for ask in (bare, product):
        p95(ask, ones[:100])  # warm
    for _ in range(3):
        found.add(BARE, p95(bare, ones))
        found.add(ONE, p95(product, ones))
        found.add(LOST, p95(product, losts))
        found.add(HUNDRED, p95(product, hundreds))
    for name in (ONE, LOST, HUNDRED):
        found.ratio(f"{name} / {BARE}", name, BARE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--asked", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench.toml").write_text(POLICY)
        url = f"sqlite:///{folder}/bench.db"
        database = Database(url)
        migrate.upgrade(database)
        database.close()
        settings = Settings(
            database_url=url,
            stripe_api_key=SecretStr("rk_live_bench"),
            stripe_livemode=True,
            mode="notify",
            policy="bench",
            policy_dir=Path(folder),
        )
        app = build(settings, NoBell(), now=lambda: NOW)
        try:
            app.policies.load()
            with app.db.begin() as db:
                fill(db, chosen.cases)
            measure(app, chosen.cases, chosen.asked, found)
        finally:
            app.close()
    if chosen.json:
        sys.stdout.write(json.dumps({"figures": found.figures, "left_out": found.left_out}) + "\n")
    else:
        sys.stdout.write("\n".join(report(found, TARGETS)) + "\n")
    return 0 if all(target.met(found.median(target.name)) for target in TARGETS) else 1


if __name__ == "__main__":
    sys.exit(main())
