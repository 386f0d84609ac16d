"""Sequences as dated stories through the real store: who heard what, when, and what stopped it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from billing.case import State
from billing.events.occurrences import ChargeDisputed, Event
from billing.ledger.sources import RecoveredBy
from billing.notices import address
from sandbox import declines
from tests.channels.told import read_mail
from tests.journeys.sequences import outcomes, policies, readers, said, steps, waiting
from tests.journeys.test_recovery import renewal_fails
from tests.page.conftest import paying_world
from tests.world import DAY, HOUR, SELF, START, World, world
from worker import consent, in_app, suppression
from worker import tables as t
from worker.absorb import absorb
from worker.channels import Channel, Handed, Message, Outcome
from worker.consent import Grant

BROKE = declines("insufficient_funds")
MINE: Any = {"policy": "mine"}
SECRET: Any = {"suppression_secret": SecretStr("a secret of these tests, long enough")}


class Box:
    """A channel with a memory, which refuses some and lets some wait."""

    def __init__(self, *, refuses: tuple[str, ...] = (), hangs: tuple[str, ...] = ()) -> None:
        self.refuses, self.hangs = refuses, hangs
        self.sent: list[Message] = []
        self.tried: list[str] = []

    def send(self, message: Message) -> Handed:
        self.tried.append(message.to)
        if message.to in self.hangs:
            return Handed(Outcome.LATER, "no answer")
        if message.to in self.refuses:
            return Handed(Outcome.REJECTED, "no such mailbox")
        self.sent.append(message)
        return Handed(Outcome.ACCEPTED, "taken")


def with_channels(w: World, **channels: Channel) -> None:
    w.app = replace(w.app, channels={**w.app.channels, **channels})


def dispute(charge: str, customer: str, opened: bool) -> ChargeDisputed:
    status = "needs_response" if opened else "won"
    return ChargeDisputed(charge, None, customer, status, opened)


def tell(w: World, what: Any, name: str, customer: str) -> None:
    happened = Event(name, "test", w.app.now(), "self", False, what, customer=customer)
    with w.app.db.begin() as db:
        absorb(w.app, db, SELF, [happened])


def contacts(folder: Path, *lines: str) -> Path:
    file = folder / "contacts.csv"
    file.write_text("\n".join(["customer,email,role,language", *lines]) + "\n", encoding="utf-8")
    return file


def test_the_steps_go_out_on_their_days_and_end_with_the_window(database_url: str, tmp_path: Path) -> None:
    with world(database_url, tmp_path, policy_dir=policies(tmp_path), **MINE) as w:
        _, invoice = renewal_fails(w, BROKE)
        failed = w.case(invoice).failed_at
        assert list(waiting(w, invoice)) == ["first", "second", "last"]
        w.pass_time(START + 60 * DAY)
        assert w.case(invoice).state is State.LOST
        days = [(step, round((at - failed) / DAY)) for at, step, _ in said(w)]
        assert days == [("first", 1), ("second", 4), ("last", 14)]
        # The subscription goes on at Stripe: nobody is told that it ended.
        assert waiting(w, invoice) == {}


def test_a_payment_stops_every_message_but_thanks_to_those_who_were_told(database_url: str, tmp_path: Path) -> None:
    people = ("cus_X,bob@example.com,billing,", "cus_X,cy@example.com,member,")
    with world(database_url, tmp_path, policy_dir=policies(tmp_path, second='audience = "team"\n'), **MINE) as w:
        sub, invoice = renewal_fails(w, BROKE)
        file = contacts(tmp_path, *(line.replace("cus_X", sub.customer) for line in people))
        w.app = replace(w.app, settings=w.app.settings.model_copy(update={"contacts_csv": file}))
        w.pass_time(START + 36 * DAY)
        assert readers(w) == ["ann@example.com"] * 2 + ["bob@example.com"] * 2 + ["cy@example.com"]
        assert len(set(steps(w))) == 5
        w.client.v1.invoices.pay(invoice, {"paid_out_of_band": True})
        w.pass_time(2 * DAY)
        assert w.case(invoice).state is State.RECOVERED
        # Thanks go to the billing audience of that step, and nobody hears of the last day.
        assert sorted(step.partition(":")[0] for step in steps(w)) == ["first"] * 2 + ["second"] * 3 + ["thanks"] * 2
        assert not w.rows(t.action, invoice=invoice, kind="notice", state="waiting")


def test_a_refused_or_hanging_mailbox_delays_only_itself(sqlite_url: str, tmp_path: Path) -> None:
    folder = policies(tmp_path, first='audience = "team"\n')
    with world(sqlite_url, tmp_path, policy_dir=folder, **MINE) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.sb.issuer.set(sub.payment_method, BROKE)
        lines = [f"{sub.customer},{name}@example.com,member," for name in ("bob", "cy", "ann")]
        w.app = replace(w.app, settings=w.app.settings.model_copy(update={"contacts_csv": contacts(tmp_path, *lines)}))
        box = Box(refuses=("bob@example.com",), hangs=("cy@example.com",))
        with_channels(w, email=box)
        w.pass_time(START + 33 * DAY)
        # Ann is the customer and a contact in the file too: she has one message.
        assert [message.to for message in box.sent] == ["ann@example.com"]
        assert sorted(state for _, _, state in said(w)) == ["accepted", "rejected", "waiting"]
        box.hangs = ()
        w.pass_time(HOUR, step=HOUR)
        assert [message.to for message in box.sent] == ["ann@example.com", "cy@example.com"]
        assert box.tried.count("bob@example.com") == 1


def test_a_hold_keeps_everything_back_and_its_end_lets_one_message_go(database_url: str, tmp_path: Path) -> None:
    with world(database_url, tmp_path, policy_dir=policies(tmp_path), **MINE) as w:
        sub, invoice = renewal_fails(w, BROKE)
        tell(w, dispute("ch_1", sub.customer, True), "disputed", sub.customer)
        assert waiting(w, invoice) == {}
        w.pass_time(START + 38 * DAY)
        assert said(w) == []
        tell(w, dispute("ch_1", sub.customer, False), "undisputed", sub.customer)
        w.pass_time(2 * DAY)
        assert steps(w) == ["second"]
        assert w.rows(t.notice)[0].template == "payment_failed"  # nobody had told this customer before


def test_quiet_hours_are_those_of_the_customers_clock(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, policy_dir=policies(tmp_path, "quiet_hours = [20, 9]\n"), **MINE) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.client.v1.customers.update(sub.customer, {"address": {"country": "JP"}})
        w.sb.issuer.set(sub.payment_method, BROKE)
        w.pass_time(START + 60 * DAY, step=3 * HOUR)
        assert steps(w) == ["first", "second", "last"]
        for at, _, _ in said(w):
            assert 9 <= (at + 9 * HOUR).hour < 20


def test_no_address_gets_more_than_the_cap(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, policy_dir=policies(tmp_path, "at_most = 1\nper_days = 5\n"), **MINE) as w:
        sub, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 36 * DAY)
        assert steps(w) == ["first"]
        assert waiting(w, invoice)["second"] == said(w)[0][0] + 5 * DAY
        # Bells ring and plans are made anew: it waits all the same.
        tell(w, dispute("ch_9", "cus_other", True), "of somebody else", sub.customer)
        w.pass_time(START + 60 * DAY)
        times = [at for at, _, _ in said(w)]
        assert steps(w) == ["first", "second", "last"]
        assert all(later - earlier >= 5 * DAY for earlier, later in pairwise(times))


def test_a_message_that_the_cap_would_bring_too_late_is_left_out(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, policy_dir=policies(tmp_path, "at_most = 1\nper_days = 11\n"), **MINE) as w:
        _, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 60 * DAY)
        assert steps(w) == ["first", "second"]
        assert "the recovery window ends before the next may go out" in outcomes(w, invoice)["last"]


# ---------------------------------------------------------------- several open invoices


def two_fail(w: World, **second: Any) -> tuple[Any, list[str]]:
    """One customer with two subscriptions, both unpaid on 1 February."""
    sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com", name="Ann Lee")
    asked: Any = {"customer": sub.customer, "items": [{"price": sub.price, **second}]}
    w.client.v1.subscriptions.create(asked)
    w.sb.issuer.set(sub.payment_method, BROKE)
    w.pass_time(START + 32 * DAY, step=DAY)
    return sub, sorted(w.cases())


def test_several_open_invoices_are_one_message_that_names_them_all(database_url: str, tmp_path: Path) -> None:
    folder = policies(tmp_path, "merge = true\n")
    with paying_world(database_url, tmp_path, policy_dir=folder, **MINE) as w:
        sub, invoices = two_fail(w)
        assert len(invoices) == 2
        w.pass_time(START + 36 * DAY)
        mails = [read_mail(mail) for mail in w.mails()]
        assert len(mails) == 2
        text = mails[0].get_body(("plain",))
        assert text is not None
        numbers = [w.case(invoice).number for invoice in invoices]
        assert "$40.00" in str(mails[0]["Subject"])
        assert all(str(number) in text.get_content() for number in numbers)
        merged = [invoice for invoice in invoices if w.case(invoice).notice("first") == "merged"]
        assert len(merged) == 1
        assert outcomes(w, merged[0])["first"].startswith("merged into notice:")
        # Both are paid at once: one message of thanks.
        for invoice in invoices:
            w.client.v1.invoices.pay(invoice, {"paid_out_of_band": True})
        w.pass_time(DAY)
        assert set(w.cases().values()) == {"recovered"}
        assert [step for step in steps(w) if step == "thanks"] == ["thanks"]
        assert sub.customer


def test_without_a_page_that_shows_them_all_each_invoice_has_its_message(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, policy_dir=policies(tmp_path, "merge = true\n"), **MINE) as w:
        two_fail(w)
        w.pass_time(START + 33 * DAY)
        assert steps(w) == ["first", "first"]


class Dying:
    """A process that ends while the server has the message."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, message: Message) -> Handed:
        self.sent.append(message)
        raise RuntimeError("killed here")


def test_a_crash_while_one_message_stands_for_two_sends_neither_again(database_url: str, tmp_path: Path) -> None:
    folder = policies(tmp_path, "merge = true\n")
    with paying_world(database_url, tmp_path, policy_dir=folder, **MINE) as w:
        _, invoices = two_fail(w)
        dying, box = Dying(), Box()
        with_channels(w, email=dying)
        w.sb.advance(START + 33 * DAY)
        while not dying.sent:
            w.settle()
        with_channels(w, email=box)
        with w.app.db.begin() as db:  # the lease of the dead owner ends
            db.execute(update(t.action).where(t.action.c.state == "sending").values(lease_until=START))
        w.settle()
        assert [row.state for row in w.rows(t.notice)] == ["unknown"]
        assert box.sent == []
        assert sorted(str(w.case(invoice).notice("first")) for invoice in invoices) == ["unknown", "unknown"]


def test_of_two_messages_that_fall_together_the_more_urgent_is_said(sqlite_url: str, tmp_path: Path) -> None:
    folder = policies(tmp_path, "merge = true\n")
    with paying_world(sqlite_url, tmp_path, policy_dir=folder, **MINE) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.pass_time(START + 12 * DAY + 14 * HOUR, step=DAY)
        w.client.v1.subscriptions.create({"customer": sub.customer, "items": [{"price": sub.price}]})
        w.sb.issuer.set(sub.payment_method, BROKE)
        w.pass_time(START + 44 * DAY + 12 * HOUR)
        old, new = sorted(w.cases(), key=lambda invoice: w.case(invoice).failed_at)
        assert (list(waiting(w, old)), steps(w, new)) == (["last"], [])
        # The worker was away for half a day: the first message of one and the last of the other are due at once.
        w.pass_time(START + 45 * DAY + HOUR / 2, step=DAY)
        assert steps(w, old)[-1] == "last"
        assert steps(w, new) == []
        assert w.case(new).notice("first") == "merged"


# ---------------------------------------------------------------- other ways


def with_sms(folder: Path) -> Path:
    return policies(folder, first='channel = ["email", "sms", "chat"]\n')


def test_an_sms_goes_to_who_agreed_and_ends_with_stop(database_url: str, tmp_path: Path) -> None:
    with world(database_url, tmp_path, policy_dir=with_sms(tmp_path), **MINE, **SECRET) as w:
        sub, invoice = renewal_fails(w, BROKE)
        sms, chat = Box(), Box()
        with_channels(w, sms=sms, chat=chat)
        with w.app.db.begin() as db:
            agreed = Grant(sub.customer, "+4915112345678", START, "form")
            assert consent.grant(db, w.app.settings, SELF, [agreed], "ops", w.app.now()) == [""]
        w.pass_time(START + 33 * DAY)
        [message] = sms.sent
        assert message.to == "+4915112345678"
        assert "$20.00" in message.text
        [told] = chat.sent
        assert sub.customer in told.text
        assert "ann" not in told.text.lower()
        case = w.case(invoice)
        assert dict(case.notices) == {"first": "accepted", "first:chat": "told_team", "first:sms": "accepted"}


def test_without_consent_no_sms_is_sent_and_the_mail_is(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, policy_dir=with_sms(tmp_path), **MINE, **SECRET) as w:
        _, invoice = renewal_fails(w, BROKE)
        sms = Box()
        with_channels(w, sms=sms)
        w.pass_time(START + 33 * DAY)
        assert sms.sent == []
        assert outcomes(w, invoice)["first:sms"] == "skipped: the customer did not agree to sms"
        assert outcomes(w, invoice)["first:chat"] == "skipped: no chat address is configured"
        assert steps(w) == ["first"]


def test_a_word_to_the_team_alone_recovers_nothing(sqlite_url: str, tmp_path: Path) -> None:
    folder = policies(tmp_path, first='channel = "chat"\n')
    with world(sqlite_url, tmp_path, policy_dir=folder, **MINE) as w:
        _, invoice = renewal_fails(w, BROKE)
        with_channels(w, chat=Box())
        w.pass_time(START + 34 * DAY)
        w.client.v1.invoices.pay(invoice, {"payment_method": w.sb.new_card(w.case(invoice).customer or "")})
        w.pass_time(DAY)
        case = w.case(invoice)
        assert (case.state, case.recovered_by) == (State.RECOVERED, RecoveredBy.CUSTOMER)
        assert "thanks" not in steps(w)


# ---------------------------------------------------------------- the end


def test_who_lost_the_subscription_is_told_and_a_late_card_is_answered(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, policy_dir=policies(tmp_path), **MINE) as w:
        sub, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 46 * DAY)
        assert w.case(invoice).state is State.LOST
        w.client.v1.subscriptions.cancel(sub.subscription)
        w.pass_time(HOUR, step=HOUR)
        assert steps(w)[-1] == "ended"
        w.pass_time(DAY)
        w.sb.new_card(sub.customer)
        w.pass_time(HOUR, step=HOUR)
        assert steps(w)[-1] == "rescue"
        assert steps(w).count("rescue") == 1
        assert w.sb.bank.charged(invoice) == []


def test_who_cancels_himself_hears_nothing_more(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, policy_dir=policies(tmp_path), **MINE) as w:
        sub, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 34 * DAY)
        asked: Any = {"cancellation_details": {"feedback": "too_expensive"}}
        w.client.v1.subscriptions.cancel(sub.subscription, asked)
        w.pass_time(START + 60 * DAY)
        assert w.case(invoice).state is State.CANCELLED
        assert steps(w) == ["first"]


@pytest.mark.parametrize("reason", ["bounce", "unsubscribed"])
def test_a_suppressed_address_ends_its_own_messages_only(sqlite_url: str, tmp_path: Path, reason: str) -> None:
    folder = policies(tmp_path, first='audience = "team"\n', second='audience = "team"\n')
    with world(sqlite_url, tmp_path, policy_dir=folder, **MINE, **SECRET) as w:
        sub, invoice = renewal_fails(w, BROKE)
        file = contacts(tmp_path, f"{sub.customer},bob@example.com,owner,")
        w.app = replace(w.app, settings=w.app.settings.model_copy(update={"contacts_csv": file}))
        w.pass_time(START + 33 * DAY)
        with w.app.db.begin() as db:
            mailbox = suppression.mailbox_of(w.app.settings, address.parse("ann@example.com"))
            suppression.suppress(db, mailbox, reason, "test", w.app.now())
        w.pass_time(START + 36 * DAY)
        assert readers(w) == ["ann@example.com", "bob@example.com", "bob@example.com"]
        assert outcomes(w, invoice)["second"] == f"skipped: the address is suppressed: {reason}"


def test_a_step_is_for_the_cases_that_meet_its_conditions(sqlite_url: str, tmp_path: Path) -> None:
    folder = policies(
        tmp_path,
        first="conditions = { min_amount = { usd = 2001 } }\n",
        second='conditions = { countries = ["US"], products = ["{price}"], min_tenure_days = 30 }\n',
    )
    with world(sqlite_url, tmp_path, policy_dir=folder, **MINE) as w:
        _, invoice = renewal_fails(w, BROKE)
        assert list(waiting(w, invoice)) == ["last"]
        assert w.case(invoice).sold


def test_the_wall_begins_where_the_sequence_says(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, policy="weekly") as w:
        sub, _ = renewal_fails(w, declines("expired_card"))
        walls = []
        for day in (33, 36, 40):
            w.pass_time(START + day * DAY)
            walls.append(in_app.answer(w.app, sub.customer, None)["state"])
        assert walls == ["banner", "soft_wall", "hard_wall"]


def test_time_is_not_moved_by_asking_again(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, policy="standard") as w:
        sub, invoice = renewal_fails(w, declines("expired_card"))
        before = waiting(w, invoice)
        assert len(before) >= 5
        for n in range(5):
            tell(w, dispute(f"ch_{n}", sub.customer, False), f"asked again {n}", sub.customer)
            w.settle()
        assert waiting(w, invoice) == before
        assert min(before.values()) - w.case(invoice).failed_at < timedelta(days=2)
