"""What a model says against what came: calibration, luck, drift, and whether it may be used."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from billing.retry.belief import Facts
from billing.retry.learned import ended_facts
from config.policies import parse, read
from config.priors import priors
from tests.learning.closed_cases import a_closed_case, some_closed_cases
from tests.learning.test_fit import closed
from worker.learning.checks import Found, asked, foretold, measured, verdict
from worker.learning.fit import fit

POLICY = parse(read("standard"), "standard.toml")


def dice(number: int, told: float, really: float, seed: int = 1) -> list[tuple[float, bool]]:
    throw = random.Random(seed)  # noqa: S311 - nobody gains by guessing these
    return [(told, throw.random() < really) for _ in range(number)]


def test_a_model_that_keeps_its_word_is_off_by_no_more_than_luck() -> None:
    found = measured(dice(4000, 0.3, 0.3) + dice(4000, 0.05, 0.05))
    assert found.ece <= 2 * found.luck
    assert found.told == pytest.approx(0.175)
    assert not found.drifted


def test_one_that_promises_too_much_is_seen() -> None:
    found = measured(dice(2000, 0.4, 0.2))
    assert found.ece == pytest.approx(0.2, abs=0.04)
    assert found.drifted


def test_few_attempts_prove_nothing() -> None:
    assert not measured(dice(50, 0.4, 0.0)).drifted
    assert measured([]).attempts == 0


GOOD = Found(1000, 0.2, 0.2, 0.01, 0.01, 0.40)
# (the new one, the one in use, why the new one is refused)
VERDICTS: list[tuple[Found, Found, str | None]] = [
    (GOOD, GOOD, None),
    (GOOD, Found(1000, 0.3, 0.2, 0.1, 0.01, 0.45), None),
    (Found(1000, 0.3, 0.2, 0.05, 0.01, 0.40), GOOD, "5.0 points off what came, 3.5 are allowed"),
    (Found(1000, 0.2, 0.2, 0.01, 0.01, 0.45), GOOD, "foretells worse than the model in use"),
    (Found(99, 0.2, 0.2, 0.01, 0.01, 0.40), GOOD, "only 99 attempts"),
]


@pytest.mark.parametrize(("new", "present", "why"), VERDICTS)
def test_a_model_that_fails_a_check_is_refused_by_name(new: Found, present: Found, why: str | None) -> None:
    said = verdict(new, present)
    assert (said is None) == (why is None)
    assert why is None or why in str(said)


def fridays(first: int, number: int) -> list[Facts]:
    """One retry on Friday: missing funds are paid in one case of 4, what reads do-not-honor in one of twenty-five."""
    found = []
    for n in range(first, first + number):
        found.append(closed(n % 20, 2.9, paid=n % 4 == 0))
        found.append(closed(n % 20, 2.9, code="do_not_honor", paid=n % 25 == 0))
    return found


def test_a_model_that_foretells_better_may_be_used_and_one_that_is_worse_may_not() -> None:
    cold, unseen = priors(), fridays(7, 300)
    learnt = fit(fridays(0, 1500), cold)
    assert asked(unseen, learnt).loss < asked(unseen, cold).loss
    assert verdict(asked(unseen, learnt), asked(unseen, cold)) is None
    flat = replace(cold, calibration=((0.0, 0.145), (1.0, 0.146)))
    assert "foretells worse" in str(verdict(asked(unseen, flat), asked(unseen, learnt)))


def test_a_model_that_is_sure_of_nonsense_is_refused() -> None:
    sure = replace(priors(), calibration=((0.0, 0.9), (1.0, 1.0)))
    unseen = fridays(0, 150)
    assert "points off what came" in str(verdict(asked(unseen, sure), asked(unseen, priors())))


def test_each_retry_is_foretold_from_what_was_known_before_it() -> None:
    facts = ended_facts(a_closed_case(0, [3, 9], paid=True), POLICY)
    first, second = foretold(facts, priors())
    assert (first[1], second[1]) == (False, True)
    alone, _ = foretold(ended_facts(a_closed_case(0, [3, 20], paid=False), POLICY), priors())
    assert first[0] == alone[0]


def test_a_case_without_a_retry_foretells_nothing() -> None:
    (case, *_) = some_closed_cases(1)
    facts = ended_facts(case, POLICY)
    assert list(foretold(type(facts)(facts.tries[:1], facts.deadline, facts.amount), priors())) == []
