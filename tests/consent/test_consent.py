"""Who agreed gets an SMS, who took it back does not, and the word that came last holds."""

from __future__ import annotations

from datetime import datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import insert

from tests.consent.conftest import DAY, NOW, NUMBER, SELF, Here
from worker import consent, suppression
from worker import tables as t
from worker.consent import BadNumber, NoSecret, Permit, Refused
from worker.consent_tables import consent as table
from worker.store import Owner

OTHER = Owner("acct_2", True)


def test_nobody_gets_an_sms_who_did_not_agree(here: Here) -> None:
    assert here.phone() == Refused("the customer did not agree to sms")


def test_who_agreed_is_written_to_at_the_number_in_one_spelling(here: Here) -> None:
    assert here.grant(number="+49 (151) 123-456.78") == ""
    assert here.phone() == Permit(NUMBER)
    assert here.phone(owner=OTHER) == Refused("the customer did not agree to sms")


@pytest.mark.parametrize(
    "text", ["", "015112345678", "+0151123", "+49151x", "+4912345678901234", "+49/../1", "＋4915112345678"]
)
def test_what_is_no_international_number_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(BadNumber) as told:
        consent.number_in(text)
    assert not text or text not in str(told.value)


def test_the_same_consent_twice_is_one_row(here: Here) -> None:
    assert (here.grant(), here.grant()) == ("", "")
    assert len(here.rows(table)) == 1


def test_a_new_number_takes_the_place_of_the_old_which_is_erased(here: Here) -> None:
    here.grant()
    here.day(1)
    assert here.grant(number="+33612345678") == ""
    assert here.phone() == Permit("+33612345678")
    assert [row.number for row in here.rows(table)] == [None, "+33612345678"]
    here.day(2)
    assert here.grant() == ""  # and back again
    assert here.phone() == Permit(NUMBER)


def test_a_withdrawal_erases_the_number_and_says_who_said_so(here: Here) -> None:
    here.grant()
    here.day(1)
    with here.app.db.begin() as db:
        assert consent.withdraw(db, SELF, "cus_1", "sms", "ann", here.app.now()) == 1
    assert here.phone() == Refused("the customer's consent to sms was withdrawn (ann)")
    (row,) = here.rows(table)
    assert (row.number, row.withdrawn_at, row.withdrawn_by) == (None, NOW + DAY, "ann")
    assert [line.what for line in here.rows(t.audit)] == ["consent withdrawn"]


def test_a_stop_ends_the_consent_of_everybody_with_this_number_in_every_account(here: Here) -> None:
    here.grant("cus_1")
    here.grant("cus_2")
    here.grant("cus_3", owner=OTHER)
    here.grant("cus_4", number="+33612345678")
    assert here.stop() == 3
    assert [row.number for row in here.rows(table)] == [None, None, None, "+33612345678"]
    assert here.phone("cus_1") == Refused("the customer's consent to sms was withdrawn (sms:twilio)")
    assert here.phone("cus_4") == Permit("+33612345678")
    assert here.stop() == 0  # they send it twice


def test_a_stop_is_remembered_when_nobody_had_agreed_yet(here: Here) -> None:
    here.stop()
    here.day(1)
    assert here.grant(at=NOW - DAY) == "it was withdrawn on 2026-03-03, after this consent"
    assert isinstance(here.phone(), Refused)


def test_a_consent_that_is_older_than_the_stop_stays_ended(here: Here) -> None:
    here.grant()
    here.day(5)
    here.stop()
    here.day(6)
    assert here.grant(at=NOW + 4 * DAY) == "it was withdrawn on 2026-03-08, after this consent"
    assert here.grant("cus_2", at=NOW + 4 * DAY) == "it was withdrawn on 2026-03-08, after this consent"


def test_a_consent_that_was_given_after_the_stop_stands_until_the_next_one(here: Here) -> None:
    here.grant()
    here.day(5)
    here.stop()
    here.day(6)
    assert here.grant() == ""
    assert here.phone() == Permit(NUMBER)
    here.day(7)
    assert here.stop() == 1
    assert here.grant(at=NOW + 6.5 * DAY) != ""


def test_a_second_stop_counts_against_what_was_agreed_between_the_two(here: Here) -> None:
    here.stop()
    here.day(4)
    here.stop()
    here.day(5)
    assert here.grant(at=NOW + 2 * DAY) == "it was withdrawn on 2026-03-07, after this consent"


def test_what_an_operator_suppressed_no_consent_brings_back(here: Here) -> None:
    hashed = consent.number_of(here.app.settings, NUMBER)
    here.grant()
    with here.app.db.begin() as db:
        suppression.suppress(db, hashed, "operator", "ann", here.app.now())
    assert here.phone() == Refused("the number is suppressed: operator")
    here.day(1)
    assert here.grant("cus_2") == "the number is suppressed: operator"


@pytest.mark.parametrize("days", [1, 400])
def test_a_consent_in_the_future_is_none(here: Here, days: int) -> None:
    assert here.grant(at=NOW + days * DAY) == "the consent lies in the future"


def test_start_gives_back_what_the_stop_of_this_number_ended_and_nothing_else(here: Here) -> None:
    here.grant("cus_1")
    here.grant("cus_2")
    with here.app.db.begin() as db:
        consent.withdraw(db, SELF, "cus_2", "sms", "ann", NOW)
    here.day(1)
    here.stop()
    here.day(2)
    with here.app.db.begin() as db:
        assert consent.start(db, here.app.settings, NUMBER, "sms:twilio", here.app.now()) == 1
        assert consent.start(db, here.app.settings, NUMBER, "sms:twilio", here.app.now()) == 0
    assert here.phone("cus_1") == Permit(NUMBER)
    assert isinstance(here.phone("cus_2"), Refused)


def planned(here: Here, invoice: str, channel: str | None, state: str = "waiting") -> None:
    with here.app.db.begin() as db:
        detail = {"step": "reminder", **({"channel": channel} if channel else {})}
        values = {"kind": "notice", "customer": "cus_1", "due_at": NOW, "because": "", "token": 0, "tries": 0}
        key = f"notice:{invoice}:{channel}"
        db.execute(
            insert(t.action),
            {**SELF.key, **values, "key": key, "invoice": invoice, "detail": detail, "state": state, "created_at": NOW},
        )


def a_case(here: Here, invoice: str, customer: str) -> None:
    values: dict[str, object] = dict.fromkeys(("because", "policy", "decline_class"), "x")
    moments: dict[str, datetime] = dict.fromkeys(("failed_at", "deadline", "updated_at"), NOW)
    row = {"invoice": invoice, "customer": customer, "state": "open", "amount": 1, "currency": "usd", "evidence": {}}
    with here.app.db.begin() as db:
        db.execute(insert(t.recovery_case), {**SELF.key, **row, **values, **moments})


def test_a_stop_takes_back_the_sms_that_wait_and_no_other_message(here: Here) -> None:
    a_case(here, "in_1", "cus_1")
    a_case(here, "in_2", "cus_2")
    here.grant("cus_1")
    planned(here, "in_1", "sms")
    planned(here, "in_1", None)
    planned(here, "in_2", "sms")
    here.stop()
    states = {row.key: row.state for row in here.rows(t.action)}
    assert states == {"notice:in_1:sms": "cancelled", "notice:in_1:None": "waiting", "notice:in_2:sms": "waiting"}


def test_without_the_secret_no_number_is_kept_and_none_is_used(here: Here) -> None:
    here.grant()
    bare = here.app.settings.model_copy(update={"suppression_secret": None})
    with here.app.db.begin() as db:
        with pytest.raises(NoSecret):
            consent.stop(db, bare, NUMBER, "sms:twilio", NOW)
        assert isinstance(consent.phone_of(db, bare, SELF, "cus_1"), Refused)


def test_the_hash_of_a_number_cannot_be_made_without_the_secret(here: Here) -> None:
    other = here.app.settings.model_copy(update={"suppression_secret": SecretStr("another secret, also long enough")})
    assert consent.number_of(here.app.settings, NUMBER) != consent.number_of(other, NUMBER)
    assert NUMBER[1:] not in consent.number_of(other, NUMBER)
