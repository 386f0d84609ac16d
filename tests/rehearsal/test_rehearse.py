from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select
from typer.testing import CliRunner

from billing.money import Amount
from config import policy_file
from config.policies import BadPolicy
from config.settings import OnlyWritten
from sandbox import until
from sandbox.delivery import CALM, Chaos
from tests.rehearsal.conftest import LADDER
from tests.world import DAY, HOUR, SELF, START, world
from worker import cli
from worker import tables as t
from worker.app import App
from worker.rehearsal import paper, real, story
from worker.rehearsal.play import Played, play
from worker.rehearsal.rehearse import LATE, PASSES, Rehearsal, differences, rehearse
from worker.rehearsal.stage import Floor
from worker.rehearsal.story import EXAMPLES, Story
from worker.schema import metadata

PAY_DAY = EXAMPLES["pay_day"]


def played(told: Story, policy: Path, folder: Path, chaos: Chaos = CALM) -> Played:
    folder = folder / f"{chaos.duplicate} {told.answers}"
    folder.mkdir(parents=True)
    return play(told, policy, Floor(folder), 1, chaos)


# Story: (state, who brought the money, our attempts, messages)
ENDS = {
    "soft_decline": ("recovered", "our_retry", 2, 2),
    "pay_day": ("recovered", "our_retry", 5, 2),
    "outage": ("recovered", "our_retry", 1, 2),
    "hard_decline": ("lost", "", 0, 1),
    "expired_card": ("recovered", "our_retry", 1, 2),
    "updated_card": ("recovered", "our_retry", 1, 2),
    "authentication": ("recovered", None, 0, 2),
    "cancelled": ("cancelled", "", 2, 1),
    "never_again": ("lost", "", 0, 1),
    "never_pays": ("lost", "", 7, 1),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_ready_story_ends_as_its_title_says_in_all_three_passes(name: str, fixed: Path) -> None:
    state, by, attempts, messages = ENDS[name]
    found = rehearse(EXAMPLES[name], fixed, seed=1)
    assert found.straight.state[0] == state
    assert by is None or found.straight.state[1] == by
    assert (found.straight.retries, len(found.straight.messages)) == (attempts, messages)
    assert found.straight.paid == (state == "recovered")
    assert found.differences == {"duplicates": [], "shuffled": []}


def test_a_case_that_pays_on_pay_day_is_told_step_by_step(fixed: Path) -> None:
    found = rehearse(PAY_DAY, fixed, seed=1)
    told = [(f"{step.at:%m-%d}", step.who, step.what) for step in paper.steps(found)]
    # Day 0: Stripe's attempt is declined, and the ladder plans the first retry
    assert (
        "03-02",
        "stripe",
        "invoice.payment_failed: the payment failed, 49.00 USD owed after 1 of Stripe's attempts",
    ) in told
    # Day 1: the first message; its subject stands in the story
    (message,) = [what for day, who, what in told if (day, who) == ("03-03", "message")]
    assert message == "payment failed by email: “Your payment of $49.00 to Acme did not go through”"
    # Days 2, 4, 7, 10: no funds; day 14: the money has come
    asked = [day for day, who, what in told if who == "we"]
    assert asked == ["03-04", "03-06", "03-09", "03-12", "03-16"]
    assert [what for _, who, what in told if who == "bank"][-1] == "answer to attempt 5: paid"


def test_why_there_is_no_retry_stands_in_the_story(fixed: Path) -> None:
    found = rehearse(EXAMPLES["never_again"], fixed, seed=1)
    (silence,) = [step for step in paper.steps(found) if step.what == "no retry is planned"]
    assert "network advice mastercard 03" in silence.because


def test_the_passes_are_what_they_are_called(fixed: Path, tmp_path: Path) -> None:
    straight = played(PAY_DAY, fixed, tmp_path)
    twice = played(PAY_DAY, fixed, tmp_path, PASSES["duplicates"])
    assert twice.webhooks == 2 * straight.webhooks
    assert PASSES["shuffled"].reorder == 1.0


def test_a_pass_that_came_to_something_else_is_told_and_is_an_error(fixed: Path, tmp_path: Path) -> None:
    straight = played(PAY_DAY, fixed, tmp_path)
    twice = replace(straight, attempts=(*straight.attempts, straight.attempts[-1]), messages=straight.messages[1:])
    (gone, new) = sorted(differences(straight, twice), reverse=True)
    assert gone.startswith("message is missing: 2026-03-03 ")
    assert new.startswith("attempt at the bank is new: 2026-03-16 09:00")
    found = Rehearsal(PAY_DAY, "fixed@1", straight, {"duplicates": [gone, new], "shuffled": []}, {"straight": 0.1})
    assert not found.same
    lines = list(paper.comparison(found, 1))
    assert lines[0].startswith("the same shuffled (seed 1): 6 attempts, 2 messages, ")
    assert lines[1] == f"DIFFERENT with every webhook twice (seed 1): {gone}"


def test_a_shuffled_pass_may_be_some_minutes_later_and_no_more(fixed: Path, tmp_path: Path) -> None:
    straight = played(PAY_DAY, fixed, tmp_path)
    at, *rest = straight.attempts[-1]
    for minutes, same in ((0, True), (10, True), (11, False)):
        later = datetime.fromisoformat(at) + timedelta(minutes=minutes)
        other = replace(straight, attempts=(*straight.attempts[:-1], (f"{later:%Y-%m-%d %H:%M}", *rest)))
        assert (not list(differences(straight, other, LATE))) == same
        assert (not list(differences(straight, other))) == (minutes == 0)


def test_the_same_seed_tells_the_same_story(fixed: Path) -> None:
    first, again = (rehearse(PAY_DAY, fixed, seed=7).straight for _ in range(2))
    assert (first.attempts, first.messages, first.entries) == (again.attempts, again.messages, again.entries)
    assert first.told.moments == again.told.moments


# ---------------------------------------------------------------- what the bank is told to say


def test_answers_are_given_one_by_one_and_the_last_is_repeated(fixed: Path, tmp_path: Path) -> None:
    told = story.with_answers(PAY_DAY, "declined,do_not_honor,paid")
    codes = [row[3] for row in played(told, fixed, tmp_path).attempts]
    assert codes == ["insufficient_funds", "insufficient_funds", "do_not_honor", "charged"]
    never = replace(story.with_answers(PAY_DAY, "declined"), title="never")
    assert not played(never, fixed, tmp_path).paid


def test_a_bank_is_told_in_spells(fixed: Path, tmp_path: Path) -> None:
    told = story.with_bank(PAY_DAY, ["do_not_honor until 2026-03-05", "insufficient_funds until 2026-03-08T12:00"])
    rows = [(row[0][:10], row[3]) for row in played(told, fixed, tmp_path).attempts]
    assert rows[0] == ("2026-03-02", "insufficient_funds")
    assert ("2026-03-04", "do_not_honor") in rows
    assert rows[-1][1] == "charged"
    assert rows[-1][0] > "2026-03-08"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["no such code"], "no such code"),
        (["insufficient_funds until soon"], "'soon' is no date"),
        (["insufficient_funds", "do_not_honor until 2026-03-09"], "needs an end"),
        (["a_code until 2026-03-09", "b_code until 2026-03-08"], "must rise"),
    ],
)
def test_a_bank_that_makes_no_sense_is_refused(lines: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        story.with_bank(PAY_DAY, lines)


def test_answers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="'Maybe!' is neither paid, declined nor a decline code"):
        story.with_answers(PAY_DAY, "declined,Maybe!")


# ---------------------------------------------------------------- a real case


@pytest.mark.parametrize(
    ("failed", "interval"),
    [
        ("2026-01-31T10:15:03", "month"),
        ("2024-02-29T23:59:59", "month"),
        ("2026-03-30T00:00:00", "month"),
        ("2026-03-30T00:30:00", "year"),
        ("2026-03-31T12:00:00", "week"),
        ("2026-03-31T12:00:00", "day"),
    ],
)
def test_a_renewal_fails_at_the_minute_it_failed_whatever_the_day_of_the_month(
    failed: str, interval: str, fixed: Path, tmp_path: Path
) -> None:
    at = datetime.fromisoformat(failed).replace(tzinfo=UTC)
    first, *_ = played(replace(PAY_DAY, failed_at=at, interval=interval, spells=()), fixed, tmp_path).attempts
    assert first[:2] == (f"{at:%Y-%m-%d %H:%M}", "automatic")


def test_a_real_case_is_rehearsed_with_its_own_ids_and_dates_and_nothing_is_written(
    database_url: str, tmp_path: Path, fixed: Path
) -> None:
    with world(database_url, tmp_path) as w:
        # A Mastercard without money until the twelfth; the renewal of 1 February fails
        pays = datetime(2026, 2, 12, tzinfo=UTC)
        sub = w.sb.subscribe("pm_card_mastercard_debit", 3_500, "usd", email="a@example.com", behaviour=until(pays))
        w.pass_time(20 * DAY, step=20 * DAY)
        w.pass_time(datetime(2026, 3, 3, tzinfo=UTC), step=timedelta(hours=12))
        invoice = next(name for name, state in w.cases().items())
        case = w.case(invoice)
        before = counted(w.app)
        settings = w.app.settings
        told = real.case_story(settings, invoice)
        assert (told.failed_at, told.amount, told.customer) == (case.failed_at, Amount(3_500, "usd"), sub.customer)
        assert (told.card.brand, told.card.funding, told.decline.decline_code) == (
            "mastercard",
            "debit",
            "insufficient_funds",
        )
        found = rehearse(told, fixed, seed=1)
        assert counted(w.app) == before
    assert found.same
    assert found.straight.told.invoice == invoice
    assert found.straight.told.customer == sub.customer
    assert found.straight.told.subscription == sub.subscription
    assert found.straight.state == ("recovered", "our_retry")
    rows = found.straight.attempts
    assert rows[0][0] == f"{case.failed_at:%Y-%m-%d %H:%M}"
    # Until the money came in reality the bank declines; the first attempt of this policy after it is paid
    assert [row[3] for row in rows] == ["insufficient_funds"] * (len(rows) - 1) + ["charged"]


def test_what_was_declined_elsewhere_on_the_card_uses_up_its_budget_as_in_reality(
    sqlite_url: str, tmp_path: Path, fixed: Path
) -> None:
    with world(sqlite_url, tmp_path) as w:
        # A Visa without money; another invoice of the same card was declined fourteen times on the day before
        sub = w.sb.subscribe("pm_card_visa", 3_500, "usd", email="a@example.com", behaviour=until(START + 300 * DAY))
        w.pass_time(32 * DAY, step=DAY)
        invoice = next(name for name, state in w.cases().items())
        card = f"card:{w.sb.get(sub.payment_method)['card']['fingerprint']}"
        failed_at = w.case(invoice).failed_at
        row = {**SELF.key, "card": card, "invoice": "in_other", "amount": 3_500, "currency": "usd"}
        row["decline"] = {"code": "card_declined", "decline_code": "insufficient_funds"}
        times = [failed_at - DAY + n * HOUR for n in range(14)]
        rows = [{**row, "charge": f"ch_other_{n}", "at": at} for n, at in enumerate(times)]
        with w.app.db.begin() as db:
            db.execute(insert(t.declined_charge), rows)
        told = real.case_story(w.app.settings, invoice)
    assert [each.at for each in told.elsewhere.declined] == times
    found = rehearse(told, fixed, seed=1)
    assert found.same
    refused = found.straight.told.rows["refusals"]
    assert {row["rule"] for row in refused} == {"visa-15-in-30-days"}
    # Nothing is asked before the first of the fourteen is thirty days old, which is after the window
    assert found.straight.retries == 0
    free = played(replace(told, elsewhere=story.Elsewhere()), fixed, tmp_path / "free")
    assert free.retries == 7


def counted(app: App) -> dict[str, int]:
    """Rows by table."""
    with app.db.read() as db:
        return {name: db.scalar(select(func.count()).select_from(each)) or 0 for name, each in metadata.tables.items()}


def test_an_unknown_invoice_is_said(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path) as w, pytest.raises(LookupError, match="no case of an invoice in_nothing"):
        real.case_story(w.app.settings, "in_nothing")


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    settings = OnlyWritten(database_url=f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(LookupError, match="no database yet"):
        real.case_story(settings, "in_nothing")
    assert not (tmp_path / "none.db").exists()


# ---------------------------------------------------------------- the command


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("max_attempts = 8", "max_attempts = 99"), ":4: max_attempts: Input should be less than or equal to 15"),
        (("temporary = [1, 3", "temporary = [3, 1"), ":12: policy: Value error, ladders.temporary: the days must rise"),
        (("version = 1", "version = "), "(at line 2, column 11)"),
        (("window_days = 28\n", ""), "window_days: Field required"),
        (("unknown = [2, 7]", "colour = [2]"), ":13: ladders.colour"),
    ],
)
def test_a_policy_with_an_error_names_line_and_key_and_ends_with_two(
    changed: tuple[str, str], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    assert changed[0] in LADDER
    file.write_text(LADDER.replace(*changed))
    code, output = command("rehearse", "--example", "outage", "--policy", str(file))
    assert code == 2
    assert str(file) in output
    assert said in output


def test_a_file_that_is_no_policy_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match=r"ends in \.toml"):
        policy_file.check(tmp_path / "policy.txt")
    with pytest.raises(BadPolicy, match="No such file"):
        policy_file.check(tmp_path / "policy.toml")


def test_the_command_prints_the_story_what_it_cost_and_that_the_passes_agree(fixed: Path) -> None:
    code, output = command("rehearse", "--example", "soft_decline", "--policy", str(fixed))
    assert code == 0
    assert "nothing real is charged, sent or written" in output
    assert "How it went: recovered by our retry after 3.0 days" in output
    assert "What it cost: 2 attempts of ours after 1 of Stripe's, 2 messages" in output
    assert "visa-15-in-30-days: 13 of 15 declined charges" in output
    assert "the same with duplicates; the same shuffled (seed 1): 3 attempts, 2 messages" in output


def test_the_command_writes_json(fixed: Path) -> None:
    code, output = command("rehearse", "--example", "hard_decline", "--policy", str(fixed), "--json")
    found = json.loads(output)
    assert (code, found["state"], found["same"], found["policy"]) == (0, "lost", True, "fixed@1")
    assert [row[3] for row in found["attempts"]] == ["stolen_card"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name an invoice, or a ready story"),
        (("in_1", "--example", "outage"), "name an invoice, or a ready story"),
        (("--example", "nonsense"), "no ready story nonsense"),
        (("--example", "outage", "--answers", "paid", "--bank", "lost_card"), "choose one"),
    ],
)
def test_what_cannot_be_rehearsed_is_said(arguments: tuple[str, ...], said: str, fixed: Path) -> None:
    code, output = command("rehearse", *arguments, "--policy", str(fixed))
    assert code == 2
    assert said in output


def test_a_policy_is_found_by_its_name_and_writes_by_the_customers_clock() -> None:
    code, output = command("rehearse", "--example", "soft_decline", "--policy", "weekly")
    assert code == 0
    assert "under weekly@1" in output
    hours = [int(line[11:13]) for line in output.splitlines() if re.match(r"2026-.* message  ", line)]
    assert hours
    assert all(hour >= 13 or hour < 1 for hour in hours)  # eight to twenty o'clock in New York, in winter


def test_a_policy_that_is_not_there_is_said() -> None:
    code, output = command("rehearse", "--example", "soft_decline", "--policy", "nothing")
    assert (code, "there is no policy 'nothing'" in output) == (2, True)


def test_the_ready_stories_are_listed() -> None:
    code, output = command("rehearse", "--example", "list")
    assert code == 0
    assert [line.split()[0] for line in output.splitlines()] == list(EXAMPLES)
