"""What the operator says of customers, and the bands of the company's own, reach the reports."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from config.settings import Settings
from tests.ledger.conftest import Clock, Teller, day
from worker.app import App, build
from worker.broker import NoBell
from worker.reports.command import Order, run


def segments(app: App, cut: str, file: Path) -> dict[str, int]:
    run(app, Order("segments", month="2026-02", form="json", cut=cut, out=file), io.StringIO())
    (table,) = json.loads(file.read_text())
    rows: list[dict[str, Any]] = table["rows"]
    return {row["segment"]: row["customers"] for row in rows if row["segment"] != "all"}


def test_segments_are_cut_as_the_operator_says(sqlite_url: str, tmp_path: Path) -> None:
    said = tmp_path / "customers.csv"
    said.write_text("customer,gtm_motion,country\ncus_1,partner,de\ncus_9,nobody,fr\n")
    settings = Settings(
        database_url=sqlite_url, mode="observe", customers_csv=said, acv_bands="Small:0, Middle:2000, Large:50000"
    )
    clock = Clock(day("03-05"))
    app = build(settings, NoBell(), now=clock)
    teller = Teller(app, clock)
    teller.begins("sub_1", "01-05", 10_000)
    teller.begins("sub_2", "01-06", 20_000)
    teller.book()
    assert segments(app, "gtm", tmp_path / "gtm.json") == {"not known": 1, "partner": 1}
    assert segments(app, "country", tmp_path / "country.json") == {"not known": 1, "DE": 1}
    assert segments(app, "acv", tmp_path / "acv.json") == {"Small": 1, "Middle": 1}
    app.close()
