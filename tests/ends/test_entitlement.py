"""What the merchant's product is told that a customer may use: over real HTTP, from a real failure, by dates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox import FINE
from tests.channels.told import ask
from tests.ends.stories import DEADLINE, EVERYTHING, FAILS, basic_price, ending, ends, nobody_pays
from tests.web.test_in_app import told as wall
from tests.world import DAY, HOUR, SELF, World
from worker import tables as t
from worker import tokens
from worker.channel_tables import outgoing_event
from worker.store import Owner
from worker.web.server import start_in_thread

ACCESS = '[access]\nrestricted_after_days = 7\nblocked = "at_end"\n'
CANCEL = '[end]\nsubscription = "cancel"\nwait_days = 1\n'


@dataclass
class Product:
    """The merchant's server: it holds a token."""

    world: World
    base: str
    secret: str

    def get(self, path: str, **headers: str) -> tuple[int, Mapping[str, str], str]:
        return ask(f"{self.base}{path}", None, **{"authorization": f"Bearer {self.secret}", **headers})

    def of(self, customer: str) -> dict[str, Any]:
        status, _, text = self.get(f"/v1/entitlement/{customer}")
        assert status == 200, text
        found: dict[str, Any] = json.loads(text)
        return found

    def level(self, customer: str) -> str:
        return str(self.of(customer)["entitlement"])


@contextmanager
def product(url: str, folder: Path, tables: str = ACCESS + CANCEL, **settings: Any) -> Iterator[Product]:
    with ending(url, folder, tables, **{"in_app_secret": "the in-app secret of these tests", **settings}) as w:
        base, stop = start_in_thread(w.app)
        try:
            yield Product(w, base, token(w, SELF))
        finally:
            stop()


def token(w: World, owner: Owner, *scopes: str) -> str:
    with w.app.db.begin() as db:
        name = f"product {owner.livemode} {len(scopes)}"
        return tokens.create(db, owner, name, scopes or ("read:entitlement",), 365, "ann", w.app.now())


def changes(w: World) -> list[tuple[str, str, str]]:
    """(day and hour, before, now) of every `entitlement.changed`."""
    rows = [row for row in w.rows(outgoing_event) if row.type == "entitlement.changed"]
    bodies = [(row.at, row.body["data"]) for row in rows]
    return [(f"{at:%m-%d %H}", data["before"], data["entitlement"]) for at, data in bodies]


def test_grace_then_restricted_then_blocked_and_full_again_when_the_money_comes(
    database_url: str, tmp_path: Path
) -> None:
    origin = {"in_app_origins": "https://app.acme.example", "in_app_url": "https://app.acme.example/billing"}
    with product(database_url, tmp_path, outgoing_webhooks=EVERYTHING, **origin) as shop:
        w = shop.world
        ann, invoice = nobody_pays(w)
        grace = shop.of(ann.customer)
        assert grace.pop("because") == f"{invoice} is open since 2026-02-01"
        restricted = datetime.fromisoformat(grace.pop("until"))
        assert FAILS + 7 * DAY <= restricted <= FAILS + 7 * DAY + 2 * HOUR
        assert grace == {
            "customer": ann.customer,
            "livemode": False,
            "entitlement": "grace",
            "reason": "payment_open",
            "cases": [invoice],
        }
        assert wall(w, shop.base, ann.customer)["state"] == "banner"
        w.pass_time(restricted, step=DAY)
        assert (shop.level(ann.customer), wall(w, shop.base, ann.customer)["state"]) == ("restricted", "soft_wall")
        w.pass_time(DEADLINE + 2 * HOUR, step=HOUR)
        blocked = shop.of(ann.customer)
        assert (blocked["entitlement"], blocked["reason"], blocked["until"]) == ("blocked", "not_paid", None)
        assert wall(w, shop.base, ann.customer)["state"] == "hard_wall"
        # On the next day the subscription would be cancelled; the customer pays before.
        w.sb.new_card(ann.customer)
        w.client.v1.invoices.pay(invoice)
        w.settle()
        assert (shop.level(ann.customer), wall(w, shop.base, ann.customer)["state"]) == ("full", "none")
        told = changes(w)
        assert [(before, after) for _, before, after in told] == [
            ("full", "grace"),
            ("grace", "restricted"),
            ("restricted", "blocked"),
            ("blocked", "full"),
        ]
        assert [day[:5] for day, _, _ in told] == ["02-02", "02-08", "02-22", "02-22"]
        w.pass_time(10 * DAY, step=DAY)
        assert len(changes(w)) == 4
        assert not [row for row in w.rows(t.action, kind="access") if row.state not in ("done", "cancelled")]


def test_who_subscribes_again_after_the_end_may_use_everything(database_url: str, tmp_path: Path) -> None:
    with product(database_url, tmp_path, outgoing_webhooks=EVERYTHING) as shop:
        w = shop.world
        ann, _ = nobody_pays(w)
        w.pass_time(DEADLINE + 3 * DAY, step=DAY)
        assert (w.sb.get(ann.subscription)["status"], shop.level(ann.customer)) == ("canceled", "blocked")
        w.sb.issuer.set(ann.payment_method, FINE)
        again = w.client.v1.subscriptions.create({"customer": ann.customer, "items": [{"price": ann.price}]}).id
        w.settle()
        assert shop.of(ann.customer)["reason"] == "nothing_open"
        assert changes(w)[-1][1:] == ("blocked", "full")
        w.client.v1.subscriptions.cancel(again)
        w.settle()
        assert shop.level(ann.customer) == "blocked"


def test_who_was_moved_to_a_lower_price_may_use_what_it_gives(sqlite_url: str, tmp_path: Path) -> None:
    tables = ACCESS + '[end]\nsubscription = "downgrade"\ndowngrade_to = ["basic"]\n'
    with product(sqlite_url, tmp_path, tables) as shop:
        w = shop.world
        basic_price(w, lookup_key="basic")
        ann, invoice = nobody_pays(w)
        w.pass_time(DEADLINE + DAY, step=DAY)
        assert ends(w, invoice)["subscription"][0] == "done"
        found = shop.of(ann.customer)
        assert (found["entitlement"], found["reason"], found["cases"]) == ("full", "downgraded", [invoice])


@pytest.mark.parametrize(("mode", "level"), [("observe", "full"), ("notify", "restricted"), ("weave", "restricted")])
def test_who_is_only_observed_loses_nothing(sqlite_url: str, tmp_path: Path, mode: str, level: str) -> None:
    with product(sqlite_url, tmp_path, mode=mode) as shop:
        ann, _ = nobody_pays(shop.world)
        shop.world.pass_time(FAILS + 10 * DAY, step=DAY)
        assert shop.level(ann.customer) == level


def test_a_policy_that_says_nothing_of_access_takes_nothing_away(sqlite_url: str, tmp_path: Path) -> None:
    with product(sqlite_url, tmp_path, CANCEL, outgoing_webhooks=EVERYTHING) as shop:
        ann, _ = nobody_pays(shop.world)
        shop.world.pass_time(DEADLINE + 3 * DAY, step=DAY)
        assert shop.level(ann.customer) == "full"
        assert changes(shop.world) == []
        assert not shop.world.rows(t.action, kind="access")


# ---------------------------------------------------------------- asking


def test_many_customers_are_asked_for_at_once(database_url: str, tmp_path: Path) -> None:
    with product(database_url, tmp_path) as shop:
        ann, _ = nobody_pays(shop.world)
        status, headers, text = shop.get(f"/v1/entitlement?customer=cus_none&customer={ann.customer}&customer=cus_none")
        assert (status, headers["content-type"]) == (200, "application/json")
        found = [(row["customer"], row["entitlement"]) for row in json.loads(text)["data"]]
        assert found == [("cus_none", "full"), (ann.customer, "grace")]
        hundred = "&".join(f"customer=cus_{n}" for n in range(100))
        assert shop.get(f"/v1/entitlement?{hundred}")[0] == 200
        for wrong in ("", "?customer=", f"?{hundred}&customer=cus_x", "?customer=%0a", f"?customer={'c' * 256}"):
            status, _, text = shop.get(f"/v1/entitlement{wrong}")
            assert (status, json.loads(text)["code"]) == (400, "bad_customers")


def test_an_answer_that_did_not_change_is_not_sent_again(sqlite_url: str, tmp_path: Path) -> None:
    with product(sqlite_url, tmp_path) as shop:
        ann, _ = nobody_pays(shop.world)
        path = f"/v1/entitlement/{ann.customer}"
        _, headers, _ = shop.get(path)
        assert headers["cache-control"] == "private, max-age=30"
        status, again, text = shop.get(path, if_none_match=headers["etag"])
        assert (status, text, again["etag"]) == (304, "", headers["etag"])
        shop.world.pass_time(FAILS + 8 * DAY, step=DAY)
        assert shop.get(path, if_none_match=headers["etag"])[0] == 200


def test_a_token_sees_its_own_account_and_mode_and_nothing_without_its_scope(sqlite_url: str, tmp_path: Path) -> None:
    with product(sqlite_url, tmp_path) as shop:
        w = shop.world
        ann, _ = nobody_pays(w)
        assert shop.level(ann.customer) == "grace"
        for other in (Owner("self", True), Owner("acct_2", False)):
            assert Product(w, shop.base, token(w, other)).level(ann.customer) == "full"
        wrong = Product(w, shop.base, token(w, SELF, "read:queue"))
        assert wrong.get(f"/v1/entitlement/{ann.customer}")[0] == 403
        assert Product(w, shop.base, "rp_" + "a" * 43).get("/v1/entitlement/cus_1")[0] == 401


def test_a_customer_of_whom_nothing_is_known_is_what_the_setting_says(database_url: str, tmp_path: Path) -> None:
    with product(database_url, tmp_path, entitlement_unknown="blocked") as shop:
        ann, _ = nobody_pays(shop.world)
        ben = shop.world.sb.subscribe(email="ben@example.com")
        shop.world.settle()
        assert shop.level(ann.customer) == "grace"
        assert shop.level(ben.customer) == "full"
        found = shop.of("cus_nobody")
        assert (found["entitlement"], found["reason"]) == ("blocked", "unknown_customer")
