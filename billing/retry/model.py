"""What is believed about failing payments, as one frozen value: the cold start, or a merchant's own after learning.

The shape is that of `config/recovery_priors.toml`, where every number has its source; `model_of` reads it, `table_of`
gives it back for JSON, so that a fitted model is stored, versioned and compared like any other data. A model says
nothing about one case: that is `belief.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

FUNDS, BLOCK, OUTAGE, STALE = "funds", "block", "outage", "stale"
CAUSES = (FUNDS, BLOCK, "block_for_good", OUTAGE, STALE, "dead", "authentication", "leaving")
OTHER = "other"
SLOTS_A_DAY = 8  # the hours of the day are told apart in steps of three

Shares = Mapping[str, float]


class BadModel(ValueError):
    """These data are no model of recovery; the message names the key."""


@dataclass(frozen=True, slots=True)
class Tightness:
    """One kind of household: how likely a pay-day suffices, and rates a day of other money and of spending."""

    name: str
    share: float
    fills: float
    leaks: float
    spends: float


@dataclass(frozen=True, slots=True)
class Block:
    """One kind of issuer's caution, which halves in `half_days`."""

    name: str
    share: float
    half_days: float


@dataclass(frozen=True, eq=False)  # compared by identity, so that what was worked out from it can be kept
class Model:
    """Shares are relative weights; hours and days are what their names say; chances lie in [0, 1]."""

    version: str
    causes: Shares
    lean: Mapping[str, Mapping[str, Shares]]  # what is known of the invoice -> its value -> cause -> factor
    answers: Mapping[str, Mapping[str, Shares]]  # card or debit -> cause -> kind of answer -> share
    codes: Mapping[str, str]  # decline code -> kind of answer
    advice: Mapping[str, Shares]  # Mastercard's advice -> cause -> factor
    tightness: tuple[Tightness, ...]
    paydays: Mapping[str, Shares]  # region -> rule -> share
    customs: Mapping[str, str]  # country -> region
    blocks: tuple[Block, ...]
    funds: Mapping[str, float]
    block: Mapping[str, float]
    outage: Mapping[str, float]
    other: Mapping[str, float]
    hours: tuple[float, ...]  # approval by local hour, in steps of three hours
    learnt: Mapping[str, Mapping[str, Shares]] = field(
        default_factory=dict
    )  # card or debit -> answer -> cause -> factor
    deposits: Shares = field(default_factory=dict)  # region -> hour of deposits, where it is not that of `funds`
    calibration: tuple[tuple[float, float], ...] = ()  # (said, seen), rising; empty: as said
    learnt_from: int = 0  # closed cases

    def calibrated(self, chance: float) -> float:
        """The chance to be told: what attempts that were given this chance came to."""
        before = (0.0, 0.0)
        for after in (*self.calibration, (1.0, 1.0)):
            if chance <= after[0]:
                width = after[0] - before[0]
                return before[1] + (after[1] - before[1]) * ((chance - before[0]) / width if width else 1.0)
            before = after
        return chance

    def answer(self, code: str | None) -> str:
        """The kind of answer that a decline code is."""
        return self.codes.get(code or "", OTHER)

    def region(self, country: str | None, funding: str | None) -> str:
        """Which shares of pay-day rules hold."""
        if funding == "credit" and "credit" in self.paydays:
            return "credit"
        return self.customs.get(country or "", "any")

    def deposit_hour(self, region: str) -> float:
        """The local hour at which wages reach the accounts of the region."""
        return self.deposits.get(region, self.funds["deposit_hour"])


def model_of(table: Mapping[str, Any]) -> Model:
    """The model that a table like `recovery_priors.toml` describes. Raises BadModel."""
    try:
        model = Model(
            version=str(table["version"]),
            causes=_shares(table["causes"]),
            lean={known: {value: _shares(row) for value, row in rows.items()} for known, rows in table["lean"].items()},
            answers={
                kind: {cause: _shares(row) for cause, row in rows.items()} for kind, rows in table["answers"].items()
            },
            codes={code: answer for answer, codes in table["codes"].items() for code in codes},
            advice={code: _shares(row) for code, row in table["advice"].items()},
            tightness=tuple(Tightness(**row) for row in table["tightness"]),
            paydays={region: _shares(row) for region, row in table["paydays"].items()},
            customs={country: region for region, countries in table["customs"].items() for country in countries},
            blocks=tuple(Block(**row) for row in table["blocks"]),
            funds=_shares(table["funds"]),
            block=_shares(table["block"]),
            outage=_shares(table["outage"]),
            other=_shares(table["other"]),
            hours=tuple(map(float, table["hours"]["approves"])),
            learnt={
                kind: {x: _shares(row) for x, row in rows.items()} for kind, rows in table.get("learnt", {}).items()
            },
            deposits=_shares(table.get("deposits", {})),
            calibration=tuple((float(said), float(seen)) for said, seen in table.get("calibration", ())),
            learnt_from=int(table.get("learnt_from", 0)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise BadModel(f"{type(wrong).__name__}: {wrong}") from wrong
    _check(model)
    return model


def table_of(model: Model) -> dict[str, Any]:
    """The model as plain data that `model_of` reads back to the same value."""
    codes: dict[str, list[str]] = {}
    for code, answer in model.codes.items():
        codes.setdefault(answer, []).append(code)
    customs: dict[str, list[str]] = {}
    for country, region in model.customs.items():
        customs.setdefault(region, []).append(country)
    plain = {part.name: getattr(model, part.name) for part in fields(model)}
    return plain | {
        "codes": codes,
        "customs": customs,
        "tightness": [{part.name: getattr(row, part.name) for part in fields(row)} for row in model.tightness],
        "blocks": [{part.name: getattr(row, part.name) for part in fields(row)} for row in model.blocks],
        "hours": {"approves": list(model.hours)},
        "calibration": [list(pair) for pair in model.calibration],
    }


def _shares(row: Mapping[str, Any]) -> dict[str, float]:
    return {str(key): float(value) for key, value in row.items()}


def _check(model: Model) -> None:
    if set(model.causes) != set(CAUSES):
        raise BadModel(f"causes: {', '.join(CAUSES)} are wanted")
    if "any" not in model.paydays:
        raise BadModel("paydays.any: is missing")
    if unknown := set(model.customs.values()) - set(model.paydays):
        raise BadModel(f"customs: no pay-days are given for {', '.join(sorted(unknown))}")
    if unknown := set(model.deposits) - set(model.paydays):
        raise BadModel(f"deposits: no pay-days are given for {', '.join(sorted(unknown))}")
    if astray := [region for region, hour in model.deposits.items() if not 0 <= hour < 24]:
        raise BadModel(f"deposits.{astray[0]}: an hour of the day is wanted")
    if len(model.hours) != SLOTS_A_DAY:
        raise BadModel(f"hours.approves: {SLOTS_A_DAY} steps are wanted")
    weights: list[tuple[str, float]] = [(f"causes.{cause}", share) for cause, share in model.causes.items()]
    weights += [
        (f"paydays.{region}.{rule}", share) for region, row in model.paydays.items() for rule, share in row.items()
    ]
    weights += [(f"tightness.{row.name}", row.share) for row in model.tightness]
    weights += [(f"blocks.{row.name}", row.share) for row in model.blocks]
    if wrong := [key for key, share in weights if not 0 <= share < float("inf")]:
        raise BadModel(f"{wrong[0]}: a share of at least 0 is wanted")
    for row in model.tightness:
        if not (0 < row.fills < 1 and row.leaks > 0 and row.spends > 0):
            raise BadModel(f"tightness.{row.name}: 0 < fills < 1, leaks > 0 and spends > 0 are wanted")
    said = [pair[0] for pair in model.calibration]
    if said != sorted(said) or any(not 0 <= x <= 1 for pair in model.calibration for x in pair):
        raise BadModel("calibration: rising pairs of chances are wanted")
