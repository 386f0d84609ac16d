"""One vocabulary of who brought the money, for the cases and for the books."""

from __future__ import annotations

from typing import Any

import pytest

from billing import case
from billing.events.occurrences import Answer, AttemptAnswered, NoticeEnded, PaymentMethodSeen
from billing.events.snapshots import PaymentMethod
from billing.ledger.invoices import SOURCES
from billing.ledger.recoveries import recoveries
from billing.ledger.sources import SENTENCES, RecoveredBy
from tests.billing.ledger_story import on, past_due


def test_case_and_books_share_one_vocabulary_in_one_order() -> None:
    assert case.__dict__["RecoveredBy"] is RecoveredBy
    assert [source for source, _ in SOURCES] == list(RecoveredBy) == list(SENTENCES)


METHOD = PaymentMethod("pm_1", "cus_1", "card")
BROUGHT: list[tuple[RecoveredBy, dict[str, Any], tuple[Any, ...]]] = [
    (RecoveredBy.OUR_RETRY, {"key": "dn1_x"}, ()),
    (RecoveredBy.OUR_RETRY, {"key": "other"}, (AttemptAnswered("in_1", 1, Answer.PAID),)),
    (RecoveredBy.OUTSIDE_STRIPE, {"key": "staff_7", "paid_out_of_band": True}, ()),
    (RecoveredBy.STAFF, {"key": "staff_7"}, (NoticeEnded("in_1", "failed", "accepted"),)),
    (RecoveredBy.CARD_UPDATER, {}, (PaymentMethodSeen(METHOD, "automatically_updated"),)),
    (RecoveredBy.STRIPE_RETRY, {}, (PaymentMethodSeen(METHOD, "attached"), NoticeEnded("in_1", "failed", "accepted"))),
    (RecoveredBy.OUR_MESSAGE, {"key": "page"}, (NoticeEnded("in_1", "failed", "accepted"),)),
    (RecoveredBy.CUSTOMER, {"key": "page"}, (NoticeEnded("in_1", "failed", "rejected"),)),
]


@pytest.mark.parametrize(("source", "paid", "before"), BROUGHT)
def test_a_recovery_has_the_first_source_with_evidence(
    source: RecoveredBy, paid: dict[str, Any], before: tuple[Any, ...]
) -> None:
    company = past_due(on("03-05"))
    for what in before:
        company.tell(
            on("03-06"), what, "reprieve.test" if isinstance(what, (AttemptAnswered, NoticeEnded)) else "stripe"
        )
    company.pays(on("03-09"), **paid)
    company.subscription(on("03-09"), status="active")
    (found,) = recoveries(company.book())
    assert (found.source, bool(found.evidence)) == (source, True)
