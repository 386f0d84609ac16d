"""`reprieve links ...`: which links to the recovery page a customer has, and how to end them.

Imported by every command, so it imports nothing itself before it is asked to do something.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from worker.consent_commands import AccountId, By, owner_of

if TYPE_CHECKING:
    from worker.app import App
    from worker.store import Owner

Customer = Annotated[str | None, typer.Argument(help="cus_...")]
Case = Annotated[str | None, typer.Option("--case", help="An invoice (in_...) instead of a customer.")]


def links(app_of: Callable[[], AbstractContextManager[App]]) -> typer.Typer:
    """The group of commands; `app_of` gives the app and tells mistakes in one sentence."""
    commands = typer.Typer(help="Links to the recovery page that were sent to a customer.")

    @commands.command("list")
    def listed(customer: Customer = None, case: Case = None, account: AccountId = None) -> None:
        """The links of a customer: when they were made, whether they open, how often they were used."""
        from worker import links as made

        with app_of() as app, app.db.read() as db:
            owner = owner_of(app, account)
            who = _customer(app, owner, customer, case)
            rows = made.of_customer(db, owner, who)
            for row in rows:
                state = made.state_of(row, app.now())
                used = f"{row.used} acts, the last {row.used_at:%Y-%m-%d %H:%M}" if row.used_at else "never acted on"
                typer.echo(f"{row.id}  {row.created_at:%Y-%m-%d %H:%M}  {state}  {used}  {row.message}")
            if not rows:
                typer.echo(f"{who} has no link.")

    @commands.command()
    def revoke(
        customer: Customer = None,
        case: Case = None,
        because: Annotated[str, typer.Option(help="Why; it stands in the audit.")] = "an operator said so",
        account: AccountId = None,
        by: By = "operator",
    ) -> None:
        """End every link that a customer has; the next message carries a new one."""
        from worker import links as made

        with app_of() as app:
            owner = owner_of(app, account)
            who = _customer(app, owner, customer, case)
            with app.db.begin() as db:
                number = made.revoke(db, owner, who, app.now(), by, because)
            if not number:
                raise LookupError(f"{who} has no link that could be ended")
            typer.echo(f"{number} links of {who} open nothing any more.")

    return commands


def _customer(app: App, owner: Owner, customer: str | None, case: str | None) -> str:
    from sqlalchemy import select

    from worker.tables import recovery_case

    if (customer is None) == (case is None):
        raise ValueError("name a customer (cus_...) or, with --case, an invoice")
    if customer:
        return customer
    mine = owner.of(recovery_case) & (recovery_case.c.invoice == case)
    with app.db.read() as db:
        found: str | None = db.scalar(select(recovery_case.c.customer).where(mine))
    if found is None:
        raise LookupError(f"there is no case {case} with a customer")
    return found
