"""Where the parts meet: messages that fall together, stops of messages, the team's rooms and the customer's mailbox."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from billing.case import State
from billing.ledger.sources import RecoveredBy
from tests.ahead.conftest import looking_ahead
from tests.channels.told import read_mail
from tests.journeys.sequences import outcomes, policies, readers, said, steps, waiting
from tests.journeys.test_recovery import renewal_fails
from tests.journeys.test_sequences import BROKE, MINE, Box, contacts, dispute, tell, two_fail, with_channels
from tests.page.conftest import browser, link_in, paying_world, told
from tests.world import DAY, HOUR, SELF, START, World, world
from worker import flow, queue_acts, switch
from worker import tables as t
from worker.assist_tables import task_reason
from worker.channels import Handed, Message, Outcome
from worker.policies import Policies


class Colleague(Box):
    """While the first message is handed over, another worker performs whatever is due."""

    def __init__(self, w: World) -> None:
        super().__init__()
        self.w = w

    def send(self, message: Message) -> Handed:
        handed = super().send(message)
        if len(self.sent) == 1:
            flow.perform_due(self.w.app)
        return handed


def merging(folder: Path) -> Path:
    return policies(folder, "merge = true\n")


@pytest.mark.parametrize("what", ["asking", "thanks", "ended"])
def test_two_workers_with_two_invoices_of_one_customer_send_one_message(
    database_url: str, tmp_path: Path, what: str
) -> None:
    with paying_world(database_url, tmp_path, policy_dir=merging(tmp_path), **MINE) as w:
        sub, invoices = two_fail(w)
        box = Colleague(w)
        if what != "asking":
            w.pass_time(START + (34 if what == "thanks" else 47) * DAY)
        with_channels(w, email=box)
        if what == "thanks":
            for invoice in invoices:
                w.client.v1.invoices.pay(invoice, {"paid_out_of_band": True})
        if what == "ended":
            for one in w.client.v1.subscriptions.list({"customer": sub.customer}).data:
                w.client.v1.subscriptions.cancel(one.id)
        w.pass_time(DAY, step=DAY if what == "asking" else HOUR)
        assert len(box.sent) == 1
        step = {"asking": "first", "thanks": "thanks", "ended": "ended"}[what]
        assert sorted(str(w.case(invoice).notice(step)) for invoice in invoices) == ["accepted", "merged"]


def test_the_invoice_that_another_message_named_is_brought_by_that_message(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path, policy_dir=merging(tmp_path), **MINE) as w:
        sub, invoices = two_fail(w)
        w.pass_time(START + 34 * DAY)
        card = w.sb.new_card(sub.customer)
        for invoice in invoices:
            w.client.v1.invoices.pay(invoice, {"payment_method": card})
        w.pass_time(DAY)
        assert sorted(str(w.case(invoice).notice("first")) for invoice in invoices) == ["accepted", "merged"]
        assert {w.case(invoice).recovered_by for invoice in invoices} == {RecoveredBy.OUR_MESSAGE}


def test_nobody_is_told_that_all_is_settled_while_another_invoice_is_open(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path, policy_dir=merging(tmp_path), **MINE) as w:
        _, (paid, left) = two_fail(w)
        w.pass_time(START + 34 * DAY)
        w.client.v1.invoices.pay(paid, {"paid_out_of_band": True})
        w.pass_time(START + 36 * DAY)
        first, second = (str(read_mail(mail)["Subject"]) for mail in w.mails())
        assert "$40.00" in first
        assert "$20.00" in second
        w.client.v1.invoices.pay(left, {"paid_out_of_band": True})
        w.pass_time(DAY)
        assert steps(w) == ["first", "second", "thanks"]
        assert sorted(str(w.case(invoice).notice("thanks")) for invoice in (paid, left)) == ["accepted", "merged"]


def test_who_leaves_the_other_invoice_open_is_not_thanked_weeks_later(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path, policy_dir=merging(tmp_path), **MINE) as w:
        _, (paid, _) = two_fail(w)
        w.pass_time(START + 34 * DAY)
        w.client.v1.invoices.pay(paid, {"paid_out_of_band": True})
        w.pass_time(START + 55 * DAY)
        assert steps(w) == ["first", "second", "last"]
        assert waiting(w, paid) == {}


def test_a_stop_of_messages_holds_back_warnings_too(sqlite_url: str, tmp_path: Path) -> None:
    with looking_ahead(sqlite_url, tmp_path) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.card(sub.payment_method, 2026, 1)
        with w.app.db.begin() as db:
            switch.turn(db, SELF, True, "ann", "looking", w.app.now(), switch.MESSAGES)
        w.live(START + 30 * DAY)
        assert w.rows(t.action, kind="ahead", state="waiting")
        assert w.mails() == []
        with w.app.db.begin() as db:
            switch.turn(db, SELF, False, "ann", "looked", w.app.now(), switch.MESSAGES)
        w.live(DAY)
        assert len(w.mails()) == 1


class Silent(Box):
    """A chat service that does not say whether it took anything."""

    def send(self, message: Message) -> Handed:
        super().send(message)
        return Handed(Outcome.UNKNOWN, "no answer")


def test_a_room_of_the_team_that_does_not_answer_told_the_customer_nothing(sqlite_url: str, tmp_path: Path) -> None:
    folder = policies(tmp_path, first='channel = "chat"\n')
    with world(sqlite_url, tmp_path, policy_dir=folder, **MINE) as w:
        _, invoice = renewal_fails(w, BROKE)
        with_channels(w, chat=Silent())
        w.pass_time(START + 34 * DAY)
        w.client.v1.invoices.pay(invoice, {"payment_method": w.sb.new_card(w.case(invoice).customer or "")})
        w.pass_time(DAY)
        assert w.case(invoice).state is State.RECOVERED
        assert outcomes(w, invoice)["first:chat"].startswith("unknown")
        assert w.mails() == []  # who was told of nothing is thanked for nothing


def test_what_the_team_was_told_does_not_find_a_lost_customer(sqlite_url: str, tmp_path: Path) -> None:
    folder = policies(tmp_path, second='channel = ["chat"]\n')
    with world(sqlite_url, tmp_path, policy_dir=folder, **MINE) as w:
        renewal_fails(w, BROKE)
        with_channels(w, email=Box(refuses=("ann@example.com",)), chat=Box())
        w.pass_time(START + 37 * DAY)
        assert [state for _, _, state in said(w)] == ["rejected", "accepted"]
        assert "contact_lost" in reasons(w)


def reasons(w: World) -> list[str]:
    return [row.reason for row in w.rows(task_reason) if row.ended_at is None]


def test_a_refusing_room_of_the_team_is_no_lost_customer(sqlite_url: str, tmp_path: Path) -> None:
    folder = policies(tmp_path, first='channel = ["chat"]\n')
    with world(sqlite_url, tmp_path, policy_dir=folder, **MINE) as w:
        renewal_fails(w, BROKE)
        with_channels(w, chat=Box(refuses=("team",)))
        w.pass_time(START + 34 * DAY)
        assert steps(w) == ["first:chat"]
        assert "contact_lost" not in reasons(w)


# ---------------------------------------------------------------- after the end


def with_end(folder: Path, end: str) -> Path:
    own = policies(folder)
    with (own / "mine.toml").open("a", encoding="utf-8") as file:
        file.write(f"[end]\n{end}\n")
    return own


def test_nobody_is_asked_to_settle_what_was_voided(sqlite_url: str, tmp_path: Path) -> None:
    folder = with_end(tmp_path, 'subscription = "cancel"\ninvoice = "void"')
    with world(sqlite_url, tmp_path, policy_dir=folder, **MINE) as w:
        sub, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 47 * DAY)
        assert w.client.v1.invoices.retrieve(invoice).status == "void"
        w.sb.new_card(sub.customer)
        w.pass_time(DAY)
        assert w.case(invoice).state is State.LOST
        assert steps(w) == ["first", "second", "last"]


def test_what_was_written_off_can_still_be_paid_through_the_page(sqlite_url: str, tmp_path: Path) -> None:
    folder = with_end(tmp_path, 'subscription = "cancel"\ninvoice = "uncollectible"')
    with paying_world(sqlite_url, tmp_path, policy_dir=folder, **MINE) as w:
        _, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 47 * DAY)
        assert w.client.v1.invoices.retrieve(invoice).status == "uncollectible"
        assert steps(w)[-1] == "ended"
        with browser(link_in(w.mails()[-1])) as guest:
            answer = guest.press("pay", invoice=invoice)
        assert "said=settled" not in answer.headers["location"]


@pytest.mark.parametrize("stop", ["held", "disputed"])
def test_who_is_held_hears_nothing_of_the_end_either(sqlite_url: str, tmp_path: Path, stop: str) -> None:
    with world(sqlite_url, tmp_path, policy_dir=policies(tmp_path), **MINE) as w:
        sub, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 44 * DAY)
        if stop == "held":
            queue_acts.act(w.app, SELF, "hold", invoice, "ann", {})
        else:
            tell(w, dispute("ch_1", sub.customer, True), "disputed", sub.customer)
        w.pass_time(START + 47 * DAY)
        w.client.v1.subscriptions.cancel(sub.subscription)
        w.pass_time(DAY)
        w.sb.new_card(sub.customer)
        w.pass_time(DAY)
        assert w.case(invoice).state is State.LOST
        assert steps(w) == ["first", "second"]


def test_what_is_being_marked_as_paid_outside_is_not_asked_for_after_the_end(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path, policy_dir=policies(tmp_path), **MINE) as w:
        _, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 47 * DAY)
        with browser(link_in(w.mails()[0])) as guest:
            assert "pay" in guest.buttons()
            queue_acts.act(w.app, SELF, "paid-outside", invoice, "ann", {})
            assert "pay" not in guest.buttons()


# ---------------------------------------------------------------- the address


def test_who_got_a_new_address_at_stripe_is_written_to_there(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, policy_dir=policies(tmp_path), **MINE) as w:
        sub, _ = renewal_fails(w, BROKE)
        w.pass_time(START + 34 * DAY)
        w.client.v1.customers.update(sub.customer, {"email": "new@example.com"})
        w.pass_time(START + 37 * DAY)
        assert readers(w) == ["ann@example.com", "new@example.com"]


# ---------------------------------------------------------------- the mode


def restarted(w: World, mode: str) -> None:
    settings = w.app.settings.model_copy(update={"mode": mode})
    w.app = replace(w.app, settings=settings, policies=Policies(settings, w.app.db, w.app.now))
    w.app.policies.load()


def test_who_only_observes_for_some_days_goes_on_where_the_sequence_is_then(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, policy_dir=policies(tmp_path), **MINE) as w:
        _, invoice = renewal_fails(w, BROKE)
        restarted(w, "observe")
        w.pass_time(START + 37 * DAY)
        assert w.mails() == []
        restarted(w, "own")
        w.pass_time(2 * DAY)
        assert steps(w) == ["second"]  # one message, not all that were missed
        assert "last" in waiting(w, invoice)


def test_what_stripe_mails_to_its_own_address_the_other_contacts_hear_from_us(sqlite_url: str, tmp_path: Path) -> None:
    folder = policies(tmp_path, first='audience = "team"\n')
    with world(sqlite_url, tmp_path, policy_dir=folder, stripe_sends=("failed_payment",), **MINE) as w:
        sub, invoice = renewal_fails(w, BROKE)
        file = contacts(tmp_path, f"{sub.customer},bob@example.com,owner,")
        w.app = replace(w.app, settings=w.app.settings.model_copy(update={"contacts_csv": file}))
        w.pass_time(START + 34 * DAY)
        assert readers(w) == ["bob@example.com"]
        assert outcomes(w, invoice)["first"] == "skipped: Stripe mails this itself (failed_payment)"


def test_a_window_that_ends_at_midnight_ends_with_the_day_before(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path, policy_dir=policies(tmp_path), **MINE) as w:
        _, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 44 * DAY)
        # An operator gives a day, which is good until its end: 20 February, in UTC.
        queue_acts.act(w.app, SELF, "extend", invoice, "ann", {"until": "2026-02-20"})
        w.pass_time(START + 55 * DAY, step=3 * HOUR)
        (*_, last) = w.rows(t.notice)
        assert (last.step, last.template, f"{last.at:%m-%d}") == ("last", "last_day", "02-20")
        assert "today, February 20, 2026" in told(w.mails()[-1])
