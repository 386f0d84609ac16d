"""Parquet for a warehouse, DuckDB or pandas: typed columns, money as exact decimals with its minor units beside it.

Needs the extra `parquet` (pyarrow, about 170 MB installed), which is loaded only here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any, BinaryIO

from billing.money import Amount
from billing.report.table import Cell, Kind, Table
from worker.reports import cells
from worker.reports.extras import needed

MONEY_DIGITS, MONEY_PLACES = 38, 3  # three places hold every currency that Stripe knows
GROUP = 20_000  # rows that are held together


def write(table: Table, out: BinaryIO) -> None:
    """One table as one file; its labels and notes stand in the file's metadata. Raises MissingExtra."""
    with needed("parquet", "Parquet files"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    kinds = {
        Kind.TEXT: pa.string(),
        Kind.MONEY: pa.decimal128(MONEY_DIGITS, MONEY_PLACES),
        Kind.RATIO: pa.float64(),
        Kind.POINTS: pa.float64(),  # 0.0385 for 3.85 points, as a ratio is
        Kind.COUNT: pa.int64(),
        Kind.DATE: pa.date32(),
        Kind.INSTANT: pa.timestamp("us", tz="UTC"),
        Kind.FLAG: pa.bool_(),
        Kind.CODE: pa.string(),
        Kind.CURRENCY: pa.string(),
    }
    fields: list[Any] = []
    for column in table.columns:
        fields.append(pa.field(column.name, kinds[column.kind]))
        if column.kind is Kind.MONEY:
            fields += [pa.field(f"{column.name}_minor", pa.int64()), pa.field(f"{column.name}_unit", pa.string())]
    about = {"title": table.title, **dict(table.labels), "notes": "\n".join(table.notes)}
    schema = pa.schema(fields, metadata={f"reprieve.{name}": text for name, text in about.items()})
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        rows = iter(table.rows)
        while some := list(islice(rows, GROUP)):
            columns = [
                pa.array(values, field.type) for values, field in zip(_columns(table, some), fields, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _columns(table: Table, rows: Sequence[tuple[Cell, ...]]) -> Iterator[list[Any]]:
    """The values of every field, money in three of them."""
    for at, column in enumerate(table.columns):
        values = [row[at] for row in rows]
        yield _values(values)
        if column.kind is Kind.MONEY:
            amounts = [cell if isinstance(cell, Amount) else None for cell in values]
            yield [None if each is None else each.minor for each in amounts]
            yield [None if each is None else each.unit for each in amounts]


def _values(column: Sequence[Cell]) -> list[Any]:
    return [_value(cell) for cell in column]


def _value(cell: Cell) -> Any:
    match cell:
        case Amount():
            return Decimal(cells.decimal(cell))
        case Fraction():
            return float(cell)
        case _:
            return cell
