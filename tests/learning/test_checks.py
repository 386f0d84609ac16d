from __future__ import annotations

from dataclasses import replace

from billing.retry.belief import Facts
from config.priors import priors
from tests.learning.test_fit import closed
from worker.learning.checks import judge, objection
from worker.learning.fit import fit

MODEL = priors()


def cases(first: int, number: int) -> list[Facts]:
    """One retry on Friday: missing funds are paid in one case of 4, what reads do-not-honor in one of twenty-five."""
    found = []
    for n in range(first, first + number):
        found.append(closed(n % 20, 2.9, paid=n % 4 == 0))
        found.append(closed(n % 20, 2.9, code="do_not_honor", paid=n % 25 == 0))
    return found


def test_a_model_that_foretells_better_is_let_in() -> None:
    fitted = fit(cases(0, 1500), MODEL)
    unseen = cases(7, 300)
    assert judge(fitted, unseen).log_loss < judge(MODEL, unseen).log_loss
    assert objection(fitted, MODEL, unseen) is None


def test_a_model_that_is_sure_of_nonsense_is_refused() -> None:
    sure = replace(MODEL, calibration=((0.0, 0.9), (1.0, 1.0)))
    assert "calibration error" in str(objection(sure, MODEL, cases(0, 150)))


def test_a_model_that_foretells_worse_than_the_present_one_is_refused() -> None:
    good = fit(cases(0, 1500), MODEL)
    flat = replace(MODEL, calibration=((0.0, 0.145), (1.0, 0.146)))
    assert "foretells worse" in str(objection(flat, good, cases(7, 300)))


def test_a_few_attempts_are_no_ground_for_a_change() -> None:
    assert "only 2 attempts" in str(objection(MODEL, MODEL, cases(0, 1)))
