"""A person decides while a worker is about to ask for money: whoever comes first, nobody pays what he need not."""

from __future__ import annotations

from pathlib import Path

import pytest

from billing.actions import Kind
from billing.case import State
from billing.ledger.sources import RecoveredBy
from sandbox import FINE
from tests.fault.gates import Gates, Hand, Held
from tests.queue.conftest import Story, failing
from worker import flow, look


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> Gates:
    return Gates(monkeypatch)


def about_to_pay(story: Story, gates: Gates, point: str) -> tuple[Hand, Held]:
    """A worker that stands at this point of a payment that would succeed."""
    story.w.sb.issuer.set(story.sub.payment_method, FINE)
    story.act("retry-now")
    held = gates.hold(point)
    hand = Hand(story.w.app)
    assert held.reached.wait(20)
    return hand, held


def let_go(hand: Hand, held: Held) -> None:
    held.go()
    hand.end()


@pytest.mark.parametrize("point", ["C1", "C2", "C4"])
def test_a_hold_that_comes_before_the_request_stops_it(
    point: str, database_url: str, tmp_path: Path, gates: Gates
) -> None:
    with failing(database_url, tmp_path) as story:
        hand, held = about_to_pay(story, gates, point)
        story.act("hold")
        let_go(hand, held)
        story.w.settle()
        assert story.w.sb.bank.charged(story.invoice) == []
        assert story.w.case(story.invoice).state is State.HELD


@pytest.mark.parametrize("point", ["C1", "C2"])
def test_what_is_paid_outside_before_the_intent_is_not_charged(
    point: str, database_url: str, tmp_path: Path, gates: Gates
) -> None:
    with failing(database_url, tmp_path) as story:
        hand, held = about_to_pay(story, gates, point)
        story.act("paid-outside")
        let_go(hand, held)
        story.w.settle()
        assert story.w.sb.bank.charged(story.invoice) == []
        assert story.w.case(story.invoice).recovered_by is RecoveredBy.OUTSIDE_STRIPE


def test_once_a_payment_has_begun_it_is_too_late_to_say_that_it_was_paid_outside(
    database_url: str, tmp_path: Path, gates: Gates
) -> None:
    with failing(database_url, tmp_path) as story:
        hand, held = about_to_pay(story, gates, "C4")
        assert story.refused("paid-outside") == "under_way"
        let_go(hand, held)
        story.w.settle()
        assert len(story.w.sb.bank.charged(story.invoice)) == 1
        assert story.w.case(story.invoice).recovered_by is RecoveredBy.OUR_RETRY


def test_a_window_that_was_extended_while_its_end_was_claimed_goes_on(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline's worker has its claim; the extension is committed before it takes the lock."""
    with failing(database_url, tmp_path) as story:
        perform = look.perform_deadline

        def late(app: object, claim: object) -> str:
            story.act("extend", until="2026-03-12")
            return perform(app, claim)  # type: ignore[arg-type]

        end = story.w.case(story.invoice).deadline
        story.w.sb.advance(end)
        monkeypatch.setitem(flow.PERFORM, Kind.DEADLINE, late)
        while flow.perform_action(story.w.app):
            pass
        assert story.w.case(story.invoice).live
        assert story.w.case(story.invoice).deadline > end
