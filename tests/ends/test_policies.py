"""The tables [end] and [access] of a policy file: sound ones become values, mistakes are named with file and key."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from billing.ending import LEAVE_ALL, End, Ending, Others
from billing.entitlement import Access, Blocked
from config.policies import BadPolicy, parse, read, shipped
from config.policy_file import check
from tests.ends.stories import basic_price, ending, policy_file
from tests.world import World
from worker.doctor.ends import ends
from worker.doctor.finding import Level, Patient

DAY = timedelta(days=1)


def policy_of(folder: Path, tables: str) -> Any:
    return check(policy_file(folder, tables) / "ends.toml")


def test_a_policy_without_the_tables_ends_nothing_and_takes_nothing_away(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, "")
    assert (policy.end, policy.access) == (LEAVE_ALL, None)


@pytest.mark.parametrize(("name", "version"), [("ladder", 1), ("standard", 2)])
def test_what_is_shipped_already_means_what_it_meant(name: str, version: int) -> None:
    assert name in shipped()
    policy = parse(read(name), name)
    if policy.version == version:
        assert (policy.end, policy.access) == (LEAVE_ALL, None)


def test_the_values_arrive_in_their_units(tmp_path: Path) -> None:
    end = """[end]
subscription = "downgrade"
invoice = "void"
downgrade_to = ["price_1", "basic-eur"]
wait_days = 1.5
other_cases = "act"
rescue_days = 10
[access]
restricted_after_days = 7
blocked = "after_days"
blocked_after_days = 21
"""
    policy = policy_of(tmp_path, end)
    names = ("price_1", "basic-eur")
    assert policy.end == Ending(End.DOWNGRADE, End.VOID, names, 1.5 * DAY, Others.ACT, 10 * DAY)
    assert policy.access == Access(7 * DAY, Blocked.AFTER_DAYS, 21 * DAY)


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        ('[end]\nsubscription = "delete"', "end.subscription"),
        ('[end]\ninvoice = "write_off"', "end.invoice"),
        ('[end]\nsubscription = "downgrade"', "downgrade_to: name at least one"),
        ('[end]\nsubscription = "cancel"\ndowngrade_to = ["price_1"]', "downgrade_to: is of no use"),
        ('[end]\nsubscription = "downgrade"\ndowngrade_to = ["two words"]', "end.downgrade_to"),
        ("[end]\nwait_days = -1", "end.wait_days"),
        ("[end]\nsubscripton = 1", "end.subscripton"),
        ('[access]\nblocked = "sometimes"', "access.blocked"),
        ("[access]\nblocked_after_days = 3", "blocked_after_days: stands with"),
        ('[access]\nblocked = "after_days"', "blocked_after_days: stands with"),
        (
            '[access]\nrestricted_after_days = 9\nblocked = "after_days"\nblocked_after_days = 9',
            "blocked_after_days: must be more",
        ),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path: Path, tables: str, named: str) -> None:
    with pytest.raises(BadPolicy) as refused:
        policy_of(tmp_path, tables)
    assert "ends.toml" in str(refused.value)
    assert named in str(refused.value)


def findings(w: World) -> list[tuple[Level, str]]:
    return [(level, said) for level, said, _ in ends(Patient(w.app.settings, w.app.db, w.app.stripe, w.app.now))]


def test_doctor_looks_whether_the_prices_of_a_downgrade_exist(sqlite_url: str, tmp_path: Path) -> None:
    tables = '[end]\nsubscription = "downgrade"\ndowngrade_to = ["basic", "gone", "price_none", "once"]'
    with ending(sqlite_url, tmp_path, tables) as w:
        basic_price(w, lookup_key="basic")
        gone = basic_price(w, lookup_key="gone")
        w.client.v1.prices.update(gone, {"active": False})
        once: Any = {"currency": "usd", "unit_amount": 500, "lookup_key": "once", "product_data": {"name": "Once"}}
        w.client.v1.prices.create(once)
        found = findings(w)
        assert found[0] == (
            Level.OK,
            "self (test): after 21 days without payment: subscription downgrade, invoice leave",
        )
        assert [level for level, _ in found[1:]] == [Level.OK, Level.FAIL, Level.FAIL, Level.FAIL]
        assert "downgrade_to basic: usd per 1 month" in found[1][1]


def test_doctor_says_what_will_be_ended_and_that_nothing_is_where_nobody_drives(
    sqlite_url: str, tmp_path: Path
) -> None:
    with ending(sqlite_url, tmp_path, '[end]\nsubscription = "cancel"', mode="notify") as w:
        assert findings(w) == [(Level.OK, "no account drives, so nothing is ended")]
