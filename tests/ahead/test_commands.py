"""`reprieve ahead ...` as an operator types it, what the doctor says, and the table of the policy file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from billing.ahead.warnings import NONE, SENTENCES, Updater
from billing.notices.sequence import AHEAD, Step
from config.policies import BadPolicy, parse, read
from sandbox import declines
from tests.ahead.conftest import ALL_TOLD, looking_ahead, policy_with
from tests.ahead.test_stories import expiring, on
from tests.screens.test_doctor import Examine, examine, stripe
from tests.world import SELF
from worker.ahead import report
from worker.app import App
from worker.cli import main
from worker.doctor.finding import Level

HALF = ALL_TOLD.replace("control = 0.0", "control = 0.5")


def say(*arguments: str, code: int = 0) -> str:
    ran = CliRunner().invoke(main, ["ahead", *arguments])
    assert ran.exit_code == code, ran.output
    return ran.output


def environment(monkeypatch: pytest.MonkeyPatch, app: App) -> None:
    """The command line finds the installation of the test."""
    for name in ("database_url", "policy", "policy_dir", "mode", "public_url", "mailbox_dir", "stripe_api_base"):
        monkeypatch.setenv(f"REPRIEVE_{name.upper()}", str(getattr(app.settings, name)))
    for name in ("link_secret", "stripe_api_key"):
        value: SecretStr = getattr(app.settings, name)
        monkeypatch.setenv(f"REPRIEVE_{name.upper()}", value.get_secret_value())


def test_the_operator_sees_the_arms_their_renewals_and_what_cannot_be_said_yet(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with looking_ahead(sqlite_url, tmp_path, HALF) as w:
        environment(monkeypatch, w.app)
        assert "Nobody was to be warned yet." in say("results")
        subs = [expiring(w, f"payer{n}@example.com") for n in range(8)]
        w.live(on(2, 26))
        assert "last look: 0 warnings planned" in say("status")
        for sub in subs[:4]:
            w.sb.issuer.set(sub.payment_method, declines("expired_card"))
        w.sb.new_card(subs[5].customer)
        w.live(on(3, 10))
        shown = say("results")
        assert "Nothing can be concluded yet" in shown
        (found, *_) = json.loads(say("results", "--json"))
        assert found["step"] == "card_expiring"
        assert found["told"]["ended"] + found["control"]["ended"] == 8
        assert found["told"]["failed"][0] + found["control"]["failed"][0] == 4
        assert found["told"]["mended"][0] + found["control"]["mended"][0] == 1
        assert found["told"]["sent"] == found["told"]["ended"] == len({m for m in w.mails() if _expiry(m)})
        (status,) = json.loads(say("status", "--json"))
        assert status["on"] == ["method_missing", "card_expiring", "renewal_coming"]
        assert sum(status["warnings"]["card_expiring"].values()) == 8
        story = say("show", subs[5].customer)
        assert "another way to pay, by the customer" in story
        assert "for good (control 0.5, ahead@1)" in story
        assert "no warning is known for the customer cus_9" in say("show", "cus_9", code=2)
        assert "warnings planned" in say("look")


def _expiry(mail: Path) -> bool:
    return "X-Reprieve-Step: card_expiring" in mail.read_text()


def test_nothing_personal_is_in_what_is_printed(sqlite_url: str, tmp_path: Path, capsys: Any) -> None:
    with looking_ahead(sqlite_url, tmp_path) as w:
        sub = expiring(w)
        w.live(on(2, 26))
        capsys.readouterr()
        import sys

        report.tell_customer(w.app, [SELF], sub.customer, sys.stdout)
        assert "ann" not in capsys.readouterr().out.lower()


@dataclass
class Account:
    stripe_sends: tuple[str, ...]


# ---------------------------------------------------------------- the doctor

__all__ = ["examine", "stripe"]


@pytest.mark.parametrize(
    ("ahead", "changes", "level", "said"),
    [
        (HALF, {"MODE": "notify", "LINK_SECRET": None}, Level.WARN, "there is no page to lead to"),
        (HALF, {"MODE": "notify"}, Level.OK, "warns of method_missing, card_expiring, renewal_coming"),
        (HALF, {"MODE": "notify"}, Level.WARN, "Stripe can mail about expiring cards"),
        (ALL_TOLD, {"MODE": "notify"}, Level.WARN, "no control group for"),
    ],
)
def test_the_doctor_looks_at_the_warnings(
    examine: Examine, tmp_path: Path, ahead: str, changes: dict[str, str | None], level: Level, said: str
) -> None:
    where = policy_with(tmp_path / "policies", ahead)
    secret = {"LINK_SECRET": "a secret of thirty-two characters"}
    findings = examine(**{**secret, "POLICY": where["policy"], "POLICY_DIR": str(where["policy_dir"]), **changes})
    assert (level, True) in [(each.level, said in each.said) for each in findings if each.name == "warnings ahead"]


def test_the_doctor_has_nothing_to_say_where_nobody_is_warned(examine: Examine) -> None:
    (found,) = (each for each in examine(MODE="notify", POLICY="ladder") if each.name == "warnings ahead")
    assert (found.level, found.said) == (Level.OK, "self (test): nobody is warned before a payment fails")


# ---------------------------------------------------------------- the policy file


def test_a_policy_without_the_table_warns_of_nothing() -> None:
    assert parse(read("ladder"), "ladder").ahead == NONE
    assert NONE.steps == ()


def test_the_table_arrives_in_the_policy() -> None:
    table = {
        "hour": 9,
        "card_expiring": {"on": True, "days_before": 20, "updater": "trust", "updater_brands": ["visa"]},
        "renewal_coming": {"on": True, "months": 6, "min_amount": {"eur": 90_000}, "control": 0.2},
    }
    ahead = parse({**read("ladder"), "ahead": table}, "mine").ahead
    assert ahead.steps == (Step.CARD_EXPIRING, Step.RENEWAL_COMING)
    assert (ahead.hour, ahead.horizon, ahead.card_expiring.updater) == (9, 20, Updater.TRUST)
    assert (ahead.renewal_coming.months, dict(ahead.renewal_coming.min_amount)) == (6, {"eur": 90_000})
    assert ahead.of(Step.RENEWAL_COMING).control == 0.2


@pytest.mark.parametrize(
    ("table", "mistake"),
    [
        ({"card_expiring": {"days_before": 0}}, "mine: ahead.card_expiring.days_before: "),
        ({"card_expiring": {"updater": "hope"}}, "mine: ahead.card_expiring.updater: "),
        ({"card_expirng": {}}, "mine: ahead.card_expirng: "),
        ({"renewal_coming": {"min_amount": {"USD": 5}}}, "'USD' is no currency"),
        ({"method_missing": {"control": 1.0}}, "mine: ahead.method_missing.control: "),
        ({"hour": 3}, "mine: ahead.hour: "),
    ],
)
def test_a_mistake_is_named_with_file_and_key(table: dict[str, Any], mistake: str) -> None:
    with pytest.raises(BadPolicy, match=mistake.replace(".", r"\.")):
        parse({**read("ladder"), "ahead": table}, "mine")


def test_every_way_with_the_updater_has_its_sentence() -> None:
    assert set(SENTENCES) == set(Updater)
    assert {step.value for step in AHEAD} == set(type(NONE).__dataclass_fields__) - {"hour", "gap_days"}
