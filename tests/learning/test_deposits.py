"""The hour of deposits, learnt from whether noon of a pay-day was too early."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from billing.retry import curves
from billing.retry.belief import Facts
from config.priors import priors
from tests.learning.test_fit import closed
from worker.learning.deposits import deposits, tables
from worker.learning.evidence import groups

MODEL = priors()
WEEK_H = 24 * 7
FRIDAY_NOON, SATURDAY_NOON = 3.125, 4.125  # days after the failure of `closed`, on the customer's clock


def paid_late(number: int) -> list[Facts]:
    """Refused at noon of Friday, paid at noon of Saturday: what comes on Fridays comes after noon."""
    return [closed(WEEK_H * (n % 40), FRIDAY_NOON, SATURDAY_NOON, paid=n % 4 > 0) for n in range(number)]


def paid_early(number: int) -> list[Facts]:
    """Half are paid at noon of Friday; of the others few on Saturday."""
    found = [closed(WEEK_H * (n % 40), FRIDAY_NOON, paid=True) for n in range(number // 2)]
    return found + [closed(WEEK_H * (n % 40), FRIDAY_NOON, SATURDAY_NOON, paid=n % 10 == 0) for n in range(number // 2)]


def test_who_is_paid_the_day_after_pay_day_has_wages_in_the_afternoon() -> None:
    learnt = deposits(paid_late(600), MODEL)
    assert learnt.deposit_hour("US") >= 13
    assert learnt.tightness == MODEL.tightness  # nothing else was moved


@pytest.mark.parametrize("cases", [[], [closed(0)], paid_late(4), paid_early(600)], ids=len)
def test_without_proof_the_hour_stays(cases: list[Facts]) -> None:
    assert deposits(cases, MODEL) is MODEL


@pytest.mark.parametrize("known", [{}, {"funding": "credit"}, {"country": "DE", "utc_offset_h": 1.0}])
def test_tables_of_many_models_are_those_of_each(known: dict[str, Any]) -> None:
    late = replace(MODEL, funds={**MODEL.funds, "deposit_hour": 16.0}, deposits={})
    (group,) = groups([closed(0, 2.0, **known)], MODEL)
    levels, fades = tables(group, [MODEL, late])
    for model, level, fade in zip((MODEL, late), levels, fades, strict=True):
        kinds = [row.name for row in model.tightness]
        for at, (curve, _) in enumerate(group.deck):
            kind, hour = kinds.index(curve.tightness.name), model.deposit_hour(group.region)
            alone = curves.funds(model, curve.rule, kind, group.credit, group.start, hour)
            assert np.allclose(level[at], alone.level, rtol=1e-9)
            assert np.allclose(fade[at], alone.fade, rtol=1e-9)
