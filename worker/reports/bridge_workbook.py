"""The bridge as a workbook that a reader can trace: every line is a formula over the sheet of customers behind it.

    Bridge USD      opening MRR  =SUM('Customers USD'!B2:B301)  ...  NRR =D12/D4
    Customers USD   one row per customer in whole minor units, and a check that each row adds up to nothing left over

Change a customer's figure and the bridge moves. The values that a reader sees before the first recalculation are the
ledger's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, BinaryIO

from xlsxwriter.utility import xl_col_to_name

from billing.money import exponent
from billing.report import render
from billing.report.bridge import Basis, Bridge
from billing.report.rows import Row
from worker.reports import cells
from worker.reports.xlsx import MOST_ROWS, POINTS, TooLong, Workbook, about

SUMMED = (
    "start expansion downgrade restructuring voluntary_churn gross_involuntary_churn recovered_involuntary_churn "
    "retained recovered_late new_business reactivation fx end kept late_recovery recovered_live at_risk at_risk_base "
    "at_risk_cases logos_start logos_lost"
).split()
CHECK = "left over"
SIGNS = {name: sign for name, sign, _ in render.LINES}
HEADS = (("", "left"), ("Line", "left"), ("{code} a month", "right"), ("Minor units", "right"), ("  Meaning", "left"))
ARRIVED = ("recovered_late", "new_business", "reactivation", "fx")


@dataclass(frozen=True, slots=True)
class Traced:
    """A bridge, the customers it is the sum of, and whose account it is."""

    bridge: Bridge
    rows: Sequence[Row]
    account: str = ""
    notes: tuple[str, ...] = ()


def write(bridges: Sequence[Traced], out: BinaryIO, display: str = "gross") -> None:
    """Two sheets for each bridge and one about them all. Raises TooLong."""
    book = Workbook(out)
    for each in bridges:
        _Sheets(book, each, display).write()
    labels = [
        (
            f"Bridge {_code(each)} {each.bridge.period.start}",
            (("account", each.account), *render.labels(each.bridge)),
            _notes(each),
        )
        for each in bridges
    ]
    about(book, labels)
    book.close()


def _code(each: Traced) -> str:
    return each.bridge.unit.partition("/")[0].upper()


def _notes(each: Traced) -> tuple[str, ...]:
    code, places = _code(each), exponent(each.bridge.unit.partition("/")[0])
    return (
        f"The sheet of customers holds whole minor units: {10**places:,} are 1 {code}."
        if places
        else f"The sheet of customers holds whole {code}, which has no smaller unit.",
        "Every line of the bridge is a formula over the sheet of customers: change a figure there and it follows.",
        "Left over is zero as long as the figures agree with each other.",
        *each.notes,
    )


class _Sheets:
    """One bridge and its customers: the second sheet is named first, because the first one's formulas need its name."""

    def __init__(self, book: Workbook, each: Traced, display: str) -> None:
        if len(each.rows) > MOST_ROWS:
            raise TooLong(f"{len(each.rows):,} customers, a sheet holds {MOST_ROWS:,}: choose csv or parquet")
        self._book, self._each, self._display = book, each, display
        self._sheet, _ = book.sheet(f"Bridge {_code(each)} {each.bridge.period.start}")
        self._customers, self._name = book.sheet(f"Customers {_code(each)} {each.bridge.period.start}")
        self._shown = each.bridge.net() if display == "net" else each.bridge
        self._scale = 10 ** exponent(each.bridge.unit.partition("/")[0])
        self._labels = (("account", each.account), *render.labels(each.bridge))
        self._at: dict[str, str] = {}  # line -> its cell of minor units
        self._row = 0

    def write(self) -> None:
        self._write_customers()
        self._write_bridge()

    def _write_customers(self) -> None:
        sheet, book = self._customers, self._book
        sheet.freeze_panes(1, 1)
        sheet.set_column(0, 0, 26)
        sheet.set_column(1, len(SUMMED) + 1, 13)
        sheet.set_row(0, 45)
        book.on_paper(sheet, f"Customers, in minor units of {_code(self._each)}", self._labels, 0, len(SUMMED) + 2)
        for at, name in enumerate(("customer", *SUMMED, CHECK)):
            side = "right" if at else "left"
            sheet.write_string(0, at, name.replace("_", " "), book.format(bold=True, wrap=True, align=side))
        for number, row in enumerate(self._each.rows, start=1):
            sheet.write_string(number, 0, row.customer)
            for at, name in enumerate(SUMMED, start=1):
                sheet.write_number(number, at, getattr(row, name), book.format("#,##0"))
            cell = {name: f"{_column(name)}{number + 1}" for name in SUMMED}
            gains = "+".join(cell[name] for name in ("expansion", "recovered_involuntary_churn", *ARRIVED))
            losses = "".join(f"-{cell[name]}" for name in SUMMED if SIGNS.get(name) == "-")
            sheet.write_formula(
                number, len(SUMMED) + 1, f"={cell['start']}+{gains}{losses}-{cell['end']}", book.format("#,##0"), 0
            )

    def _write_bridge(self) -> None:
        sheet, book, bridge = self._sheet, self._book, self._each.bridge
        sheet.set_column(0, 0, 4)
        sheet.set_column(1, 1, 46)
        sheet.set_column(2, 3, 18)
        sheet.set_column(4, 4, 84)
        sheet.write_string(0, 0, f"NRR bridge, {bridge.period}", book.format(bold=True))
        book.on_paper(sheet, f"NRR bridge, {bridge.period}", self._labels, 2, len(HEADS))
        for at, (head, side) in enumerate(HEADS):
            sheet.write_string(2, at, head.format(code=_code(self._each)), book.format(bold=True, align=side))
        self._row = 3
        for field, sign, name in render.LINES:
            if self._leaves_out(field):
                continue
            if self._display == "net":
                name = render.NET_NAMES.get(field, name)
            self._sheet.write_string(self._row, 4, f"  {render.MEANING[field]}")
            self._line(sign, name, self._formula(field), getattr(self._shown, field), field)
        self._row += 1
        self._line("", "left over of the customers' closing levels", self._left_over(), 0)
        for field, name in render.MEMOS:
            self._line("", name, self._sum(field), getattr(bridge, field), f"memo_{field}")
        self._row += 1
        self._ratios()
        self._row += 1
        for name, value in self._labels:
            sheet.write_string(self._row, 1, name)
            sheet.write_string(self._row, 2, cells.label(value))
            self._row += 1

    def _leaves_out(self, field: str) -> bool:
        bridge = self._each.bridge
        after_close = field in render.AFTER_CLOSE and bridge.closed_start is None
        net = self._display == "net" and field == "recovered_involuntary_churn"
        return after_close or net or render.ONLY_IN.get(field, bridge.basis) is not bridge.basis

    def _line(self, sign: str, name: str, formula: str, minor: int, field: str = "") -> None:
        sheet, row, strong = self._sheet, self._row, sign == "="
        sheet.write_string(row, 0, sign, self._book.format(bold=strong))
        sheet.write_string(row, 1, name, self._book.format(bold=strong))
        in_units = Decimal(minor) / self._scale
        money = self._book.money(self._each.bridge.unit, bold=strong)
        sheet.write_formula(row, 2, f"=D{row + 1}/{self._scale}", money, in_units)
        sheet.write_formula(row, 3, formula, self._book.format("#,##0", bold=strong), minor)
        self._at[field or name] = f"D{row + 1}"
        self._row += 1

    def _formula(self, field: str) -> str:
        match field:
            case "closed_start":
                return f"={self._each.bridge.closed_start}"
            case "prior_period":  # it explains the opening, which stays the restated one
                return f"={self._sum('start')[1:]}-{self._at['closed_start']}"
            case "retained":
                return "=" + self._base()
            case "end":
                begin = self._at.get("retained") or self._base()
                return f"={begin}+" + "+".join(self._at[name] for name in ARRIVED if name in self._at)
            case "gross_involuntary_churn" if self._display == "net":
                return f"{self._sum(field)}-{self._sum('recovered_involuntary_churn')[1:]}"
            case _:
                return self._sum(field)

    def _base(self) -> str:
        lines = [name for name in SUMMED if name not in ARRIVED and name in self._at and SIGNS.get(name) in ("+", "-")]
        return self._at["start"] + "".join(f"{SIGNS[name]}{self._at[name]}" for name in lines)

    def _left_over(self) -> str:
        left = f"{self._sum('end')}-{self._at['end']}"
        if self._each.bridge.basis is Basis.NETTED:
            left += f"+ABS({self._sum('retained')[1:]}-{self._at['retained']})"
        return left

    def _sum(self, field: str) -> str:
        column, last = _column(field), max(len(self._each.rows), 1) + 1
        return f"=SUM('{self._name}'!{column}2:{column}{last})"

    def _ratios(self) -> None:
        bridge, start = self._each.bridge, self._at["start"]
        retained = self._sum("retained")[1:]
        kept, at_risk = self._sum("kept")[1:], self._sum("at_risk_base")[1:]
        formulas = {
            "nrr": f"{self._at.get('retained', retained)}/{start}",
            "grr": f"{kept}/{start}",
            "gap": f"({retained}-{kept})/{start}*100",
            "nrr_if_at_risk_lost": f"({retained}-{at_risk})/{start}",
        }
        for field, name in render.RATIOS:
            value: Fraction | None = getattr(bridge, field)
            self._ratio(name, f'=IF({start}=0,"undefined",{formulas[field]})', value, points=field == "gap")
        lost, logos = self._sum("logos_lost")[1:], self._sum("logos_start")[1:]
        kept_logos = (
            Fraction(bridge.logos_start - bridge.logos_lost, bridge.logos_start) if bridge.logos_start else None
        )
        self._ratio("logo retention", f'=IF({logos}=0,"undefined",1-{lost}/{logos})', kept_logos)

    def _ratio(self, name: str, formula: str, value: Fraction | None, *, points: bool = False) -> None:
        shown: Any = "undefined" if value is None else float(value * 100 if points else value)
        self._sheet.write_string(self._row, 1, name)
        self._sheet.write_formula(self._row, 2, formula, self._book.format(POINTS if points else "0.00%"), shown)
        self._row += 1


def _column(name: str) -> str:
    return str(xl_col_to_name(SUMMED.index(name) + 1))
