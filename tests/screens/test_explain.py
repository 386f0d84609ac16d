"""`reprieve explain in_...`: the whole story of an invoice, and nothing personal in it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.screens.conftest import Played
from tests.world import SELF
from worker import explain, switch
from worker import tables as t


def printed(played: Played, invoice: str) -> str:
    out = io.StringIO()
    explain.run(played.world.app, invoice, False, out)
    return out.getvalue()


def as_json(played: Played, invoice: str) -> Any:
    out = io.StringIO()
    explain.run(played.world.app, invoice, True, out)
    (story,) = json.loads(out.getvalue())
    return story


def test_a_recovered_invoice_tells_every_attempt_message_and_booking(played: Played) -> None:
    story = as_json(played, played.recovered)
    assert story["case"]["state"] == "recovered"
    assert story["case"]["recovered_by"] == "our_retry"
    attempts = story["rows"]["attempts"]
    assert [(a["amount"], a["answer"]) for a in attempts] == [
        *[(2000, "declined")] * (len(attempts) - 1),
        (2000, "paid"),
    ]
    assert [a["n"] for a in attempts] == list(range(1, len(attempts) + 1))
    assert len(attempts) > 1
    assert all(a["idem_key"].startswith("dn1_") and a["because"] for a in attempts)
    assert [m["step"] for m in story["rows"]["messages"]] == ["payment_failed", "recovered"]
    postings = [line for entry in story["rows"]["entries"] for line in entry["postings"]]
    assert "at_risk +20.00 USD/mo" in postings
    assert any(line.startswith("recovered") for line in postings)
    assert story["waiting"] == []


def test_every_fact_has_its_event_and_its_reason(played: Played) -> None:
    facts = as_json(played, played.recovered)["rows"]["facts"]
    assert {"invoice.payment_failed", "invoice.paid"} <= {fact["type"] for fact in facts}
    assert all(fact["because"] for fact in facts if fact["id"].startswith("evt_"))


def test_the_story_is_in_order_of_time(played: Played) -> None:
    for invoice in (played.recovered, played.lost, played.open, played.fine):
        times = [moment["at"] for moment in as_json(played, invoice)["moments"]]
        assert times == sorted(times)
        assert times


def test_what_waits_is_named_and_so_is_why_nothing_else_does(played: Played) -> None:
    story = as_json(played, played.open)
    assert story["case"]["state"] == "needs_customer"
    assert "deadline" in {waiting["kind"] for waiting in story["waiting"]}
    assert any("no silent retry" in sentence for sentence in story["otherwise"])


def test_a_lost_invoice_says_why_it_was_lost(played: Played) -> None:
    text = printed(played, played.lost)
    assert "lost: the recovery window passed without payment" in text
    assert text.count("asked the bank for 30.00 USD") == len(played.world.rows(t.attempt, invoice=played.lost))


def test_an_invoice_that_never_failed_has_no_case(played: Played) -> None:
    story = as_json(played, played.fine)
    assert story["case"] is None
    assert story["otherwise"] == ["No payment of this invoice is known to have failed: there is no case."]


def test_the_kill_switch_is_part_of_the_story(played: Played) -> None:
    app = played.world.app
    for stopped in (True, False):
        with app.db.begin() as db:
            switch.turn(db, SELF, stopped, "ann", "a test", app.now())
        assert ("Stopped by ann" in printed(played, played.open)) is stopped


def test_nothing_personal_is_told(played: Played) -> None:
    for invoice in (played.recovered, played.open):
        told = printed(played, invoice) + json.dumps(as_json(played, invoice))
        assert "example.com" not in told
        assert "Ann Miller" not in told


def test_paper_has_no_terminal_codes(played: Played) -> None:
    assert "\x1b" not in printed(played, played.recovered)


def test_an_unknown_invoice_is_refused(played: Played) -> None:
    with pytest.raises(LookupError, match="in_nobody"):
        printed(played, "in_nobody")
