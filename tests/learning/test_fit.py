from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from billing.retry.belief import Facts, Try, believe
from billing.retry.model import CAUSES, model_of, table_of
from billing.retry.reasons import causes
from config.priors import priors
from worker.learning.evidence import groups, walk, weights_of
from worker.learning.fit import _map, fit

FAILED = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MODEL = priors()


def closed(number: int, *days: float, code: str = "insufficient_funds", paid: bool = False, **known: object) -> Facts:
    """A case that failed `number` hours after FAILED; the last attempt was approved if `paid`."""
    failed = FAILED + timedelta(hours=number)
    tries = [Try(failed, False, code), *(Try(failed + DAY * day, False, code) for day in days)]
    if paid:
        tries[-1] = Try(tries[-1].at, True)
    usual = {"utc_offset_h": -6.0, "country": "US", "funding": "debit", **known}
    return Facts(tuple(tries), failed + 28 * DAY, 4900, **usual)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", ["insufficient_funds", "do_not_honor", "processing_error", "unheard_of"])
@pytest.mark.parametrize("days", [(1.0,), (0.2, 3.1, 9.0, 17.5)])
def test_many_cases_at_once_are_weighed_as_one_alone(code: str, days: tuple[float, ...]) -> None:
    facts = closed(0, *days, code=code)
    alone = causes(believe(facts, MODEL))
    (group,) = groups([facts], MODEL)
    went, before = walk(group, MODEL), weights_of(group, MODEL)
    funds, blocks = (before.funds * went.funds).sum(), (before.blocks * went.blocks).sum()
    outage, lenient = (before.outage * went.outage).sum(), (before.lenient * went.lenient).sum()
    total = funds + blocks + outage + lenient + (before.never * went.never).sum()
    gone = alone["gone"]  # belongs to the causes it came from, in the arrays
    assert alone["funds"] <= funds / total + 0.01
    assert funds / total + blocks / total <= alone["funds"] + alone["block"] + gone + 0.01
    assert outage / total == pytest.approx(alone["outage"], abs=0.01)


def test_no_cases_leave_the_shares_as_they_were() -> None:
    fitted = fit([], MODEL)
    assert fitted.learnt == {}
    assert fitted.tightness == MODEL.tightness
    assert fitted.calibration == ()


def test_a_code_behind_which_nothing_ever_comes_loses_its_hope() -> None:
    cases = [closed(n % 700, 2.5, 6.0, 10.5, 16.0, code="do_not_honor") for n in range(400)]
    cases += [closed(n % 700, 2.5, paid=True) for n in range(400)]
    fitted = fit(cases, MODEL)
    for code, more in (("do_not_honor", False), ("insufficient_funds", True)):
        facts = closed(5, code=code)
        cold, learnt = (causes(believe(facts, model)) for model in (MODEL, fitted))
        hope = ("funds", "block", "outage")
        assert (sum(learnt[c] for c in hope) > sum(cold[c] for c in hope)) == more, code


def test_paid_on_fridays_makes_fridays_likelier() -> None:
    # Failures on Tuesdays, refused on Wednesday, paid on Friday at noon; week after week.
    cases = [closed(24 * 7 * (n % 20), 1.1, 3.12, paid=True) for n in range(300)]
    fitted = fit(cases, MODEL)
    friday = fitted.paydays["US"]["weekly-4"] / sum(fitted.paydays["US"].values())
    assert friday > MODEL.paydays["US"]["weekly-4"] / sum(MODEL.paydays["US"].values())


def test_a_fitted_model_is_a_model_that_can_be_stored() -> None:
    fitted = fit([closed(n, 2.5, 5.5, paid=n % 3 == 0) for n in range(300)], MODEL, "mine-1")
    read = model_of(table_of(fitted))
    assert (read.version, read.learnt_from) == ("mine-1", 300)
    assert 0 <= read.calibrated(0.2) <= 1


def test_the_map_rises_and_says_what_came() -> None:
    dice = np.random.default_rng(7)
    said = dice.uniform(0, 1, 4000)
    came = (dice.uniform(0, 1, 4000) < said**2).astype(float)
    pairs = _map(said, came)
    assert list(pairs) == sorted(pairs)
    told = replace(MODEL, calibration=pairs)
    for chance in (0.2, 0.5, 0.8):
        assert told.calibrated(chance) == pytest.approx(chance**2, abs=0.06)


def test_a_few_attempts_make_no_map() -> None:
    assert _map(np.full(20, 0.3), np.zeros(20)) == ()


def test_every_cause_is_counted() -> None:
    (group,) = groups([closed(0)], MODEL)
    assert group.causes.shape == (1, len(CAUSES))
