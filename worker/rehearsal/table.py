"""A simulation as a person reads it, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TextIO

from rich.console import Console
from rich.table import Table as Columns
from rich.text import Text

from billing.money import Amount
from worker.rehearsal.figures import NAMES, SENTENCES, Figure
from worker.rehearsal.simulate import CAVEAT, ENOUGH, Simulation


def print_(found: Simulation, out: TextIO) -> None:
    """The policies side by side, and what the figures rest on."""
    console = Console(file=out, highlight=False, width=None if out.isatty() else 140)
    console.print(Text(f"{found.where}; 95 % intervals over customers in brackets; seed {found.seed}."))
    console.print(Text(f"{CAVEAT}\n"))
    table = Columns(box=None, padding=(0, 3, 0, 0), show_edge=False)
    table.add_column("")
    for each in found.results:
        table.add_column(each.policy, justify="right")
    for name in NAMES:
        digits = 1 if name in ("recovered", "days") else 2
        table.add_row(SENTENCES[name], *(_shown(each.figures[name], digits) for each in found.results))
    for currency, money in found.results[0].money.items():
        of = Amount(money.failed, currency)
        shares = (each.money[currency].share for each in found.results)
        table.add_row(f"of {of} recovered, %", *(_shown(_percent(share), 1) for share in shares))
    console.print(table)
    console.print()
    for line in conclusions(found):
        console.print(Text(line), soft_wrap=True)


def _percent(share: Figure) -> Figure:
    return Figure(100 * share.value, 100 * share.low, 100 * share.high)


def _shown(figure: Figure, digits: int) -> str:
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def conclusions(found: Simulation) -> Iterator[str]:
    first = found.results[0]
    for other, figure in found.ahead:
        sure = "" if figure.low > 0 or figure.high < 0 else "; these cases do not tell the two apart"
        interval = f"[{figure.low:+.1f}, {figure.high:+.1f}]"
        yield f"{first.policy} before {other}: {figure.value:+.1f} points {interval}{sure}."
    if found.closed is None:
        yield "Nothing of this is your history: the bank's answers are invented, and retries there prolong no block."
    else:
        for each in found.results[:-1]:
            yield (
                f"{each.policy}: history answers {100 * each.seen_attempts:.0f} % of its retries and "
                f"{100 * each.seen_recovered:.0f} % of what it recovers; the model {found.model} answers the rest."
            )
        yield "What customers did is left as it was: history cannot tell what other messages would have moved."
        yield "Nor who would have paid by hand had no retry come first: never retrying looks worse than it is."
    if found.doubt:
        low, high = found.doubt
        yield f"Under {first.policy} other plausible priors give {low:.1f} to {high:.1f} % recovered."
    if found.thin:
        yield f"Only {found.closed} closed cases, {ENOUGH} are wanted: the prior decides most of this."
    yield CAVEAT


def write_json(found: Simulation, out: TextIO) -> None:
    """Everything that is printed, for programs."""
    body = {
        "caveat": CAVEAT,
        "where": found.where,
        "closed_cases": found.closed,
        "thin": found.thin,
        "model": found.model,
        "seed": found.seed,
        "results": [{name: value for name, value in asdict(each).items() if name != "sums"} for each in found.results],
        "ahead": {other: asdict(figure) for other, figure in found.ahead},
        "other_priors_recovered": found.doubt,
        "conclusions": list(conclusions(found)),
    }
    json.dump(body, out, indent=2)
    out.write("\n")
