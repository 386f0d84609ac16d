"""`reprieve templates ...`: read, change, try and put in force what customers read.

Imported by every command, so it imports nothing itself before it is asked to do something.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from worker.app import App

Name = Annotated[
    str, typer.Argument(help="payment_failed, reminder.funds, reason.funds, words ... as `list` has them.")
]
Language = Annotated[str, typer.Option(help="de, en, es, fr, ja or pt.")]
By = Annotated[str, typer.Option(help="Who says so.")]
File = Annotated[Path, typer.Argument(help="A file as `show` writes it.")]
Draft = Annotated[Path | None, typer.Option(help="Try the text in this file instead of the one in force.")]
Version = Annotated[int | None, typer.Option(help="A version instead of the one in force; 0 is the shipped text.")]


def templates(app_of: Callable[[], AbstractContextManager[App]]) -> typer.Typer:
    """The group of commands; `app_of` gives the app and tells mistakes in one sentence."""
    commands = typer.Typer(help="What customers read: look at it, change it, try it, put it in force.")

    @commands.command("list")
    def listed() -> None:
        """Every message, and the versions that were written of it."""
        from worker.templates import desk

        with app_of() as app:
            typer.echo("\n".join(desk.listed(app)))

    @commands.command()
    def show(name: Name, language: Language = "en", version: Version = None) -> None:
        """Print a text as a file to edit: the one in force, or a version."""
        from worker.templates import desk

        with app_of() as app:
            typer.echo(desk.show(app, name, language, version), nl=False)

    @commands.command()
    def check(file: File) -> None:
        """Try a text on every sample in every language, and keep nothing."""
        from worker.templates import desk

        with app_of() as app:
            desk.check_file(app, file)
            typer.echo("It can be written for every sample.")

    @commands.command()
    def edit(file: File, by: By = "operator") -> None:
        """Keep a text as a new version; it is not in force before it is activated."""
        from worker.templates import desk

        with app_of() as app:
            draft, version = desk.edit(app, file, by)
            typer.echo(
                f"Kept as version {version} of {draft.name} in {draft.language}. To put it in force: "
                f"reprieve templates activate {draft.name} --language {draft.language} --version {version}"
            )

    @commands.command()
    def activate(
        name: Name,
        version: Annotated[int, typer.Option(min=0, help="The version to put in force; 0 is the shipped text.")],
        language: Language = "en",
        by: By = "operator",
    ) -> None:
        """Put a version in force from now on, if it passes every sample; 0 goes back to the shipped text."""
        from worker.templates.versions import Versions

        with app_of() as app:
            Versions(app.db).activate(language, name, version, by, app.now())
            typer.echo(f"Version {version} of {name} in {language} is in force.")

    @commands.command()
    def preview(
        name: Name,
        out: Annotated[Path, typer.Option(help="The HTML file to write.")],
        language: Language = "en",
        version: Version = None,
        draft: Draft = None,
    ) -> None:
        """Write a message for a sample customer into an HTML file; print its subject and text."""
        from worker.templates import desk

        with app_of() as app:
            _, rendered = desk.rendered(app, name, language, version, draft)
            out.write_text(rendered.html, encoding="utf-8")
            typer.echo(f"Subject: {rendered.subject}\n\n{rendered.text}")

    @commands.command("send-test")
    def send_test(
        to: Annotated[str, typer.Argument(help="Your own address.")],
        name: Annotated[str, typer.Option(help="Which message, as `list` has them.")] = "payment_failed",
        language: Language = "en",
        version: Version = None,
        draft: Draft = None,
    ) -> None:
        """Send a message for a sample customer to yourself, by the real channel."""
        from worker.templates import desk

        with app_of() as app:
            handed = desk.send_test(app, to, name, language, version, draft)
            typer.echo(f"{handed.outcome}: {handed.because}")
        raise typer.Exit(0 if handed.outcome == "accepted" else 1)

    return commands
