from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from billing.case import State
from billing.events.snapshots import Card, Decline
from billing.money import Amount
from billing.policy import Policy
from config.policy_file import check
from config.priors import priors
from sandbox import declines, until
from sandbox.worlds import WORLDS, failed
from tests.rehearsal.conftest import LADDER
from tests.rehearsal.test_rehearse import command, counted
from tests.world import DAY, SELF, world
from worker.rehearsal import table
from worker.rehearsal.figures import difference, result
from worker.rehearsal.replay import Past, Reply, by_history_and_model, walk
from worker.rehearsal.simulate import CAVEAT, charging, in_world, on_history, other_priors
from worker.tables import attempt

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
NO = Decline("card_declined", "insufficient_funds")
PAST = Past("in_1", "cus_1", AT, Amount(2_000, "usd"), NO, Card(brand="visa", country="US", funding="debit"))


@pytest.fixture
def policy(fixed: Path) -> Policy:
    return charging(check(fixed))


def days(number: float) -> datetime:
    return AT + timedelta(days=number)


# ---------------------------------------------------------------- one case


def test_a_chance_is_spent_attempt_by_attempt(policy: Policy) -> None:
    # Retries on days 2, 4, 7, 10 ...: each succeeds in half of what is left
    walked = walk(PAST, policy, lambda *_: Reply(0.5, NO))
    assert walked.attempts == pytest.approx(sum(0.5**n for n in range(7)))  # Stripe's own counts as the eighth
    assert walked.recovered == pytest.approx(1 - 0.5**7)
    first = 2 * 0.5 + 4 * 0.25 + 7 * 0.125 + 10 * 0.0625 + 14 * 0.5**5 + 18 * 0.5**6 + 22 * 0.5**7
    assert walked.days == pytest.approx(first)


def test_what_the_customer_paid_by_hand_is_left_as_it_was(policy: Policy) -> None:
    by_hand = replace(PAST, pays_at=days(5))
    never = walk(by_hand, replace(policy, mode=policy.mode.NOTIFY), lambda *_: Reply(1.0))
    assert (never.recovered, never.by_hand, never.attempts, never.days) == (1.0, 1.0, 0.0, 5.0)
    # Two retries before he pays take half each; the rest is his
    walked = walk(by_hand, policy, lambda *_: Reply(0.5, NO))
    assert (walked.attempts, walked.recovered, walked.by_hand) == (1.5, 1.0, 0.25)


def test_an_attempt_near_one_that_was_made_is_answered_by_history(policy: Policy) -> None:
    bank = by_history_and_model(priors())
    made = ((days(0), False, NO), (days(2.3), False, NO), (days(4.4), True, None))
    walked = walk(replace(PAST, made=made), policy, bank)
    assert (walked.attempts, walked.seen_attempts) == (2.0, 2.0)
    assert (walked.recovered, walked.seen_recovered, walked.days) == (1.0, 1.0, 4.0)
    # Nothing was seen within half a day: the model answers
    far = walk(replace(PAST, made=((days(2.6), True, None),)), policy, bank)
    assert far.seen_attempts == 0
    assert 0 < far.recovered < 1


def test_a_dead_card_is_never_charged_and_a_new_one_is(policy: Policy) -> None:
    stolen = replace(PAST, decline=Decline("card_declined", "stolen_card"))
    assert walk(stolen, policy, lambda *_: Reply(1.0)).attempts == 0
    walked = walk(replace(stolen, renewed_at=days(3)), policy, lambda *_: Reply(1.0))
    assert (walked.attempts, walked.recovered) == (1.0, 1.0)
    assert walked.days == pytest.approx(3, abs=0.01)


def test_a_policy_without_attempts_recovers_what_never_does(fixed: Path, policy: Policy) -> None:
    fixed.write_text(LADDER.replace("max_attempts = 8", "max_attempts = 0").replace("version = 1", "version = 2"))
    found = in_world("mixed", [charging(check(fixed)), policy], 60, 1)
    nothing, ladder, never = found.results
    assert nothing.figures["recovered"] == never.figures["recovered"]
    assert nothing.figures["attempts"].value == 0
    assert ladder.figures["recovered"].value > never.figures["recovered"].value


# ---------------------------------------------------------------- many cases


def test_an_interval_holds_its_value_and_shrinks_with_the_cases(policy: Policy) -> None:
    few, many = (in_world("paydays", [policy], cases, 1).results[0].figures["recovered"] for cases in (40, 400))
    for figure in (few, many):
        assert figure.low <= figure.value <= figure.high
    assert many.high - many.low < (few.high - few.low) / 2


def test_a_policy_is_not_ahead_of_itself(policy: Policy) -> None:
    walks = [walk(replace(PAST, customer=f"cus_{n}"), policy, lambda *_: Reply(0.3, NO)) for n in range(30)]
    same = difference(result("a", walks, 1), result("b", walks, 1), 1)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(policy: Policy) -> None:
    first, again, other = (in_world("blocks", [policy], 80, seed).results for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", WORLDS)
def test_an_invented_world_has_all_its_causes_and_no_case_outside_a_year(name: str) -> None:
    cases = list(failed(name, 400, 1))
    assert len({case.code for case in cases}) >= 8
    assert {case.currency for case in cases} == {"usd", "gbp", "eur"}
    assert max(case.failed_at for case in cases) - min(case.failed_at for case in cases) < timedelta(days=366)
    assert cases == list(failed(name, 400, 1))


def test_other_priors_differ_from_the_shipped_one_and_repeat_by_seed() -> None:
    shipped = priors()
    others = other_priors(shipped, 1)
    assert all(each.causes != shipped.causes for each in others)
    assert [each.causes for each in others] == [each.causes for each in other_priors(shipped, 1)]


# ---------------------------------------------------------------- the merchant's own history


def test_history_replayed_under_its_own_policy_is_what_happened(database_url: str, tmp_path: Path, fixed: Path) -> None:
    with world(database_url, tmp_path, policy="fixed", policy_dir=fixed.parent) as w:
        # Three renewals fail: one is paid on day 10, one on day 4, one never
        for behaviour in (
            until(datetime(2026, 2, 9, tzinfo=UTC)),
            until(datetime(2026, 2, 3, 12, tzinfo=UTC)),
            declines("insufficient_funds"),
        ):
            w.sb.subscribe(amount=2_000, behaviour=behaviour)
        w.pass_time(datetime(2026, 1, 31, tzinfo=UTC), step=30 * DAY)
        w.pass_time(datetime(2026, 3, 3, tzinfo=UTC), step=timedelta(hours=6))
        closed = [state for state in w.cases().values() if state in (State.RECOVERED, State.LOST)]
        made = len(w.rows(attempt))
        before = counted(w.app)
        with w.app.db.read() as db:
            found = on_history(db, SELF, [charging(check(fixed))], 500, 1)
        assert counted(w.app) == before
    assert sorted(closed) == ["lost", "recovered", "recovered"]
    same, never = found.results
    assert (same.seen_attempts, same.seen_recovered) == (1.0, 1.0)
    assert same.figures["recovered"].value == pytest.approx(100 * 2 / 3)
    assert same.figures["attempts"].value == pytest.approx(made / 3)
    assert same.money["usd"].failed == 6_000
    assert never.figures["recovered"].value == 0
    # Three cases are far too few, and that is said, with what other priors would give
    assert found.thin
    lines = list(table.conclusions(found))
    assert "Only 3 closed cases, 500 are wanted: the prior decides most of this." in lines
    assert any(line.startswith("Under fixed@1 other plausible priors give ") for line in lines)
    assert any("history answers 100 % of its retries" in line for line in lines)
    assert lines[-1] == CAVEAT


# ---------------------------------------------------------------- the command


def test_the_command_shows_policies_side_by_side_and_that_worlds_are_a_model(fixed: Path, tmp_path: Path) -> None:
    other = tmp_path / "slow.toml"
    other.write_text(LADDER.replace('"fixed"', '"slow"').replace("[2, 4, 7, 10, 14, 18, 22, 26]", "[20]"))
    arguments = ("simulate", "--policy", str(fixed), "--against", str(other), "--world", "mixed", "--cases", "80")
    code, output = command(*arguments)
    assert code == 0, output
    assert all(name in output for name in ("fixed@1", "slow@1", "never", "cases recovered, %"))
    assert output.count(CAVEAT) == 2
    code, output = command(*arguments, "--json")
    found = json.loads(output)
    assert found["caveat"] == CAVEAT
    assert [each["policy"] for each in found["results"]] == ["fixed@1", "slow@1", "never"]
    assert found["closed_cases"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--world", "nowhere"), "no world nowhere; there are: mixed, paydays, blocks"),
        (("--world", "mixed", "--history"), "choose one"),
        (("--worlds", "nowhere"), "no world.py in nowhere"),
    ],
)
def test_what_cannot_be_simulated_is_said(arguments: tuple[str, ...], said: str, fixed: Path) -> None:
    code, output = command("simulate", "--policy", str(fixed), "--against", str(fixed), *arguments)
    assert code == 2
    assert said in output


def test_a_wrong_policy_is_named_with_line_and_key(fixed: Path) -> None:
    fixed.write_text(LADDER.replace("window_days = 28", "window_days = 280"))
    code, output = command("simulate", "--policy", str(fixed), "--world", "mixed")
    assert code == 2
    assert f"{fixed}:3: window_days: " in output.replace("\n", "")
