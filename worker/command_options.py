"""What several commands ask for in the same words, and the accounts that are meant by it.

Imported by every command, so it imports nothing itself before it is asked to do something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from worker.app import App
    from worker.store import Owner

AccountId = Annotated[str | None, typer.Option(help="Only this Stripe account; all of them without it.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


def owners(app: App, account: str | None, *, with_key: bool = False) -> list[Owner]:
    """The configured accounts, or the named one; `with_key`: of those with a Stripe key. LookupError: there is none."""
    from worker.store import Owner

    known = [each for each in app.settings.all_accounts if each.api_key is not None or not with_key]
    found = [Owner(each.id, each.livemode) for each in known if account in (None, each.id)]
    if found:
        return found
    if with_key:
        raise LookupError(f"no account {account} with a Stripe key" if account else "no Stripe key is configured")
    raise LookupError(f"no account {account} is configured")
