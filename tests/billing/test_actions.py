"""Keys are built from identity alone, so that a restored database asks for the same payment again (T44)."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from billing.actions import deadline_key, fetch_key, idempotency_key, look_key, notice_key, retry_key
from tests.billing.stories import DAY0

# Written down once: a change of any of these would charge customers again after an upgrade.
GOLDEN = {
    ("self", False, "in_1", 1): "dn1_2j7ohckd3ogwkxxfabdjugm3ysxgbvb2j4r5kmvs",
    ("self", True, "in_1", 1): "dn1_dihzlhhseuudzewf7kvd5xqushtacvffdrmmxtq6",
    ("acct_1", True, "in_1MtHbELkdIwHu7ixl4OzzPMv", 2): "dn1_i2q2vgg763nsrciosxpldgogtrhh2re3abiriqbl",
    ("acct_1", True, "in_1MtHbELkdIwHu7ixl4OzzPMv", 12): "dn1_mdbok3sjz5tsz45bvroig3j3zb3n2kz7zkoalbgw",
    ("acct_é", False, "in_1", 1): "dn1_kdfs2d64x5mtlrb7tvbwrki5bh3yln5ybyf2o6ra",
}
TEXT = st.text(max_size=40)
IDENTITY = st.tuples(TEXT, st.booleans(), TEXT, st.integers(1, 10_000))


def test_the_keys_that_were_sent_yesterday_are_sent_today() -> None:
    assert {identity: idempotency_key(*identity) for identity in GOLDEN} == GOLDEN


@given(IDENTITY, IDENTITY)
def test_a_key_says_which_attempt_it_is_and_nothing_else(
    one: tuple[str, bool, str, int], other: tuple[str, bool, str, int]
) -> None:
    assert (idempotency_key(*one) == idempotency_key(*other)) == (one == other)
    assert re.fullmatch(r"dn1_[a-z2-7]{40}", idempotency_key(*one))


@given(IDENTITY)
def test_every_part_of_the_identity_counts(identity: tuple[str, bool, str, int]) -> None:
    account, livemode, invoice, n = identity
    others = {(account + "x", livemode, invoice, n), (account, not livemode, invoice, n)}
    others |= {(account, livemode, invoice + "x", n), (account, livemode, invoice, n + 1)}
    assert len({idempotency_key(*each) for each in others | {identity}}) == 5


def test_the_keys_of_actions_are_stable_and_tell_people_what_they_are() -> None:
    assert retry_key("in_1", 2) == "retry:in_1:2"
    assert notice_key("in_1", "payment_failed") == "notice:in_1:payment_failed"
    assert look_key("in_1", DAY0) == "look:in_1:1772366400"
    assert deadline_key("in_1") == "deadline:in_1"
    assert fetch_key("evt_1") == "fetch:evt_1"
