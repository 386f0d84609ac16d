"""`reprieve rehearse` and `reprieve simulate`, as the command line shows them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.command_options import Json

if TYPE_CHECKING:
    from billing.policy import Policy
    from config.settings import Settings
    from worker.rehearsal.simulate import Simulation
    from worker.rehearsal.story import Story

Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]


def add(
    main: typer.Typer, settings_of: Callable[[], Settings], told: Callable[[], AbstractContextManager[None]]
) -> None:
    """Add both commands. `told` turns what an operator can mend into exit code 2."""

    @main.command("rehearse")
    def rehearse(
        invoice: Annotated[str | None, typer.Argument(help="in_... of a case in the database.")] = None,
        example: Annotated[str | None, typer.Option(help="A ready story instead, `--example list` names them.")] = None,
        policy: Annotated[str | None, typer.Option(help="A policy by name or file; without it the configured.")] = None,
        answers: Annotated[str | None, typer.Option(help="The bank's answers: declined,declined,paid.")] = None,
        bank: Annotated[list[str] | None, typer.Option(help="'insufficient_funds until 2026-03-15'; repeat.")] = None,
        seed: Seed = 1,
        json: Json = False,
    ) -> None:
        """Play one case through a policy on a stand-in Stripe; exit code 1 if duplicates or shuffles change it."""
        from config import policy_file
        from worker.rehearsal import paper
        from worker.rehearsal.rehearse import rehearse as play

        with told():
            _quiet()
            if example == "list":
                raise typer.Exit(_list())
            settings = None if example else _quietly(settings_of)
            file = _file(policy, settings_of) if policy else _configured(settings)
            if file:
                policy_file.check(file)
            found = play(_wanted(settings, invoice, example, answers, bank), file and file.resolve(), seed)
        (paper.write_json if json else paper.print_)(found, seed, sys.stdout)
        raise typer.Exit(0 if found.same else 1)

    @main.command("simulate")
    def simulate(
        policy: Annotated[str, typer.Option(help="The policy that is tried, by name or file.")],
        against: Annotated[str | None, typer.Option(help="Another one; the configured policy without it.")] = None,
        history: Annotated[bool, typer.Option("--history", help="On your own closed cases (the default).")] = False,
        world: Annotated[str | None, typer.Option(help="In an invented world: mixed, paydays or blocks.")] = None,
        worlds: Annotated[Path | None, typer.Option(help="A folder with world.py: the engine in its worlds.")] = None,
        account: Annotated[str | None, typer.Option(help="Whose history.")] = None,
        cases: Annotated[int, typer.Option(min=20, max=100_000, help="At most so many.")] = 500,
        seed: Seed = 1,
        json: Json = False,
    ) -> None:
        """Work many cases through a policy and through the present one. These worlds are a model, not the truth."""
        with told():
            if history and (world or worlds):
                raise ValueError("--history and an invented world are two things: choose one")
            _simulate(settings_of, policy, against, world, worlds, account, cases, seed, json)


def _simulate(
    settings_of: Callable[[], Settings],
    policy: str,
    against: str | None,
    world: str | None,
    worlds: Path | None,
    account: str | None,
    cases: int,
    seed: int,
    json: bool,
) -> None:
    from config import policy_file
    from config.own_rules import rules_with
    from worker.rehearsal import simulate as simulating
    from worker.rehearsal import table

    file = _file(policy, settings_of)
    tried = policy_file.check(file)
    if worlds:
        for line in simulating.shared_worlds(worlds, [world] if world else [], cases, seed):
            typer.echo(line)
        typer.echo(simulating.CAVEAT)
        return
    settings = None if world and against else _quietly(settings_of)
    present = policy_file.check(_file(against, settings_of) if against else _configured(settings) or file)
    rules = rules_with(settings.network_rules_path if settings else None)
    compared = (tried,) if tried == present else (tried, present)
    policies = [replace(simulating.charging(each), rules=rules) for each in compared]
    if world:
        found = simulating.in_world(world, policies, cases, seed)
    else:
        found = _on_history(settings or settings_of(), policies, account, cases, seed)
    (table.write_json if json else table.print_)(found, sys.stdout)


def _on_history(settings: Settings, policies: list[Policy], account: str | None, cases: int, seed: int) -> Simulation:
    from worker.rehearsal import history, real
    from worker.rehearsal import simulate as simulating

    with real.reading(settings) as db:
        owners = [owner for owner in history.owners(db) if account in (None, owner.account)]
        if not owners:
            raise LookupError(f"no case of {account}" if account else "the database has no case yet: try --world mixed")
        if len(owners) > 1:
            raise LookupError("say with --account whose history: " + ", ".join(owner.account for owner in owners))
        return simulating.on_history(db, owners[0], policies, cases, seed)


def _quietly(settings_of: Callable[[], Settings]) -> Settings:
    """The operator's settings; what the played installation logs is of no interest."""
    settings = settings_of()
    _quiet()
    return settings


def _quiet() -> None:
    from config.settings import OnlyWritten
    from worker import logs

    logs.configure(OnlyWritten(log_level="error"))


def _list() -> int:
    from worker.rehearsal.story import EXAMPLES

    for name, story in EXAMPLES.items():
        typer.echo(f"{name:<16}{story.title}.")
    return 0


def _wanted(
    settings: Settings | None, invoice: str | None, example: str | None, answers: str | None, bank: list[str] | None
) -> Story:
    """The story that was asked for. Raises ValueError or LookupError."""
    from worker.rehearsal import real, story

    if (invoice is None) == (example is None):
        raise ValueError("name an invoice, or a ready story with --example (`--example list` names them)")
    if answers and bank:
        raise ValueError("--answers and --bank say the same thing in two ways: choose one")
    if example is not None:
        if example not in story.EXAMPLES:
            raise LookupError(f"no ready story {example}; there are: {', '.join(story.EXAMPLES)}")
        wanted = story.EXAMPLES[example]
    else:
        wanted = real.case_story(settings, invoice) if settings and invoice else story.EXAMPLES["soft_decline"]
    if answers:
        wanted = story.with_answers(wanted, answers)
    return story.with_bank(wanted, bank) if bank else wanted


def _file(policy: str, settings_of: Callable[[], Settings]) -> Path:
    """The file that is meant by a path or by the name of a policy. Raises BadPolicy."""
    from config.policies import find

    return Path(policy) if policy.endswith(".toml") else find(policy, _quietly(settings_of).policy_dir)


def _configured(settings: Settings | None) -> Path | None:
    """The file of the operator's own policy, None for a shipped one by the standard name."""
    if settings is None:
        return None
    own = settings.policy_dir and settings.policy_dir / f"{settings.policy}.toml"
    if own and own.is_file():
        return own
    from config import policies

    return policies.HERE / f"{settings.policy}.toml"
