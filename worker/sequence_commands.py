"""`reprieve sequence ...`: look at the messages of a policy before customers do.

Imported by every command, so it imports nothing itself before it is asked to do something.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from worker.command_options import Json

if TYPE_CHECKING:
    from billing.policy import Policy
    from config.settings import Settings


def sequence(settings_of: Callable[[], Settings], told: Callable[[], AbstractContextManager[None]]) -> typer.Typer:
    """The group of commands. `told` turns what an operator can mend into exit code 2."""
    commands = typer.Typer(help="The messages of a policy: which there are, when they go out and to whom.")

    @commands.command("show")
    def show(
        policy: Annotated[str, typer.Argument(help="Name of a policy, or a policy file.")] = "standard",
        json: Json = False,
    ) -> None:
        """Print the timetable of a policy. Needs no database."""
        with told():
            found = _policy(policy, settings_of)
        (_write_json if json else _print)(found)

    @commands.command("list")
    def listed() -> None:
        """The policies there are, your own before the shipped ones."""
        with told():
            settings = settings_of()
            from config.policies import shipped

            own = sorted(path.stem for path in settings.policy_dir.glob("*.toml")) if settings.policy_dir else []
            for name in dict.fromkeys((*own, *shipped())):
                found = _policy(name, lambda: settings)
                asking = len(found.sequence.steps)
                typer.echo(f"{found.id:<16} {found.window.days:>3} days, {asking} steps{'  (yours)' * (name in own)}")

    return commands


def _policy(name: str, settings_of: Callable[[], Settings]) -> Policy:
    from pathlib import Path

    from config.policies import find
    from config.policy_file import check

    if name.endswith(".toml"):
        return check(Path(name))
    return check(find(name, settings_of().policy_dir))


def _print(policy: Policy) -> None:
    from rich.console import Console
    from rich.table import Table

    from billing.notices.timetable import rules, timetable

    rows = timetable(policy)
    shown = ("day", "step", "says", "by", "to", "when", *(["only if"] if any(row.only for row in rows) else []))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in shown:
        names_of_things = name in ("step", "says", "by")  # a name that is cut cannot be looked up
        table.add_column(name, justify="right" if name == "day" else "left", overflow="fold", no_wrap=names_of_things)
    for row in rows:
        day = "" if row.day is None else f"{row.day:g}"
        table.add_row(*(day, row.step, row.says, row.via, row.to, row.when, row.only)[: len(shown)])
    console = Console()
    console.print(f"{policy.id}", style="bold", highlight=False)
    console.print(table, highlight=False)
    console.print()
    for sentence in rules(policy):
        console.print(sentence, highlight=False)


def _write_json(policy: Policy) -> None:
    from billing.notices.timetable import rules, timetable

    steps = [asdict(row) for row in timetable(policy)]
    typer.echo(json.dumps({"policy": policy.id, "steps": steps, "rules": rules(policy)}, indent=2, ensure_ascii=False))
