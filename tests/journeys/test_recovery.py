"""The whole path as dated stories: over real HTTP, on both engines."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from billing.case import RecoveredBy, State
from sandbox import until
from tests.world import DAY, START, world
from worker import tables as t


def test_a_declined_renewal_is_retried_and_recovered(database_url: str, tmp_path: Path) -> None:
    with world(database_url, tmp_path) as w:
        # 1 January: a customer subscribes. On 6 February his account will have money again.
        sub = w.sb.subscribe(amount=2000, behaviour=until(datetime(2026, 2, 6, tzinfo=UTC)), email="ann@example.com")
        w.pass_time(START + 30 * DAY)
        assert w.cases() == {}
        # 1 February: the renewal fails.
        w.pass_time(START + 32 * DAY)
        invoice = w.sb.latest_invoice(sub.subscription)["id"]
        case = w.case(invoice)
        assert case.state in (State.OPEN, State.RECOVERING)
        # The ladder: two days later in vain, four days later in vain, on the seventh the money comes.
        w.pass_time(START + 45 * DAY)
        case = w.case(invoice)
        assert case.state is State.RECOVERED
        assert case.recovered_by is RecoveredBy.OUR_RETRY
        assert len(w.sb.bank.charged(invoice)) == 1
        assert [a.state for a in w.rows(t.attempt)] == ["failed", "failed", "succeeded"]
        w.keep_books()
        assert len(w.mails()) == 2
