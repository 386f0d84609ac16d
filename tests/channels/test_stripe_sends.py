"""No customer gets two mails for one failure: what Stripe mails already is left out here, and said."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from billing.notices.reasons import Reason
from billing.notices.sequence import Step
from config.settings import Account, OnlyWritten
from config.stripe_sends import KINDS
from sandbox import until
from tests.world import DAY, SELF, START, world
from worker import tables as t
from worker.store import Owner
from worker.stripe_sends import already_sent_by_stripe


def held(*told: str, reason: Reason = Reason.FUNDS) -> set[Step]:
    settings = OnlyWritten(stripe_sends=told)
    return {step for step in Step if already_sent_by_stripe(settings, SELF, step, reason)}


@pytest.mark.parametrize(
    ("told", "reason", "left_out"),
    [
        (["unknown"], Reason.FUNDS, []),
        (["none"], Reason.FUNDS, []),
        (["failed_payment"], Reason.FUNDS, [Step.PAYMENT_FAILED, Step.REMINDER]),
        (["failed_payment"], Reason.AUTHENTICATE, []),  # that mail of Stripe's has a switch of its own
        (["failed_payment"], Reason.OVERDUE, []),
        (["action_required"], Reason.AUTHENTICATE, [Step.PAYMENT_FAILED, Step.REMINDER]),
        (["action_required"], Reason.FUNDS, []),
        (["invoice_reminder"], Reason.OVERDUE, [Step.PAYMENT_FAILED, Step.REMINDER]),
        (["card_expiring"], Reason.FUNDS, [Step.CARD_EXPIRING]),
        (["renewal"], Reason.FUNDS, [Step.RENEWAL_COMING]),
        (["receipt"], Reason.FUNDS, [Step.RECOVERED]),
        (["invoice_finalized"], Reason.FUNDS, []),
    ],
)
def test_each_mail_of_stripes_holds_back_ours_about_the_same(
    told: list[str], reason: Reason, left_out: list[Step]
) -> None:
    assert held(*told, reason=reason) == set(left_out)


def test_several_mails_of_stripes_hold_back_what_each_of_them_does() -> None:
    for reason in Reason:
        for one, other in itertools.combinations(KINDS, 2):
            assert held(one, other, reason=reason) == held(one, reason=reason) | held(other, reason=reason)


@pytest.mark.parametrize("told", [("none", "receipt"), ("unknown", "receipt"), ("letters",), ()])
def test_what_contradicts_itself_is_refused(told: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"no such kind|or none or unknown alone"):
        OnlyWritten(stripe_sends=told)
    with pytest.raises(ValueError, match=r"no such kind|or none or unknown alone"):
        Account(stripe_sends=told)


def test_each_account_has_an_answer_of_its_own() -> None:
    other = Account(id="acct_2", livemode=True, stripe_sends=("none",))
    settings = OnlyWritten(stripe_sends=("failed_payment",), accounts=(other,))
    assert already_sent_by_stripe(settings, SELF, Step.PAYMENT_FAILED) == "Stripe mails this itself (failed_payment)"
    assert already_sent_by_stripe(settings, Owner("acct_2", True), Step.PAYMENT_FAILED) == ""


def test_the_first_message_is_left_out_where_stripe_sends_it(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, stripe_sends=("failed_payment",)) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.sb.issuer.set(sub.payment_method, until(START + 36 * DAY))
        w.pass_time(START + 45 * DAY, step=DAY)
        assert list(w.cases().values()) == ["recovered"]
        assert w.mails() == []  # no thanks either: we had not written
        (invoice,) = w.cases()
        (first,) = w.rows(t.action, key=f"notice:{invoice}:payment_failed")
        assert first.outcome == "skipped: Stripe mails this itself (failed_payment)"
