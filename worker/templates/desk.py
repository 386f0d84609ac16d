"""What an operator does with texts, for the command line and the dashboard alike: look, try, keep."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from billing.notices import address
from billing.notices.compose import Notice, clean, message_id
from config import messages
from config.messages import Entries
from worker.app import App
from worker.channels import Handed, Outcome
from worker.rendering import Rendered, merged, message_of
from worker.templates import check, drafts
from worker.templates.drafts import Draft
from worker.templates.samples import Sample, in_language, sample
from worker.templates.versions import SHIPPED, BadTemplate, NoSuchTemplate, Versions, known
from worker.templates.writer import parts_of

CHANNEL = "email"
TEST = "[Test] "
NO_SERVER = "no mail server is configured: set REPRIEVE_SMTP_HOST or REPRIEVE_MAILBOX_DIR"


def listed(app: App) -> Iterator[str]:
    """One line for each shipped text, and under it the versions that were written of it."""
    versions = Versions(app.db).listed()
    names = dict.fromkeys([*messages.REQUIRED, *(version.name for version in versions)])
    yield f"Languages: {', '.join(messages.languages())}"
    for name in names:
        mine = [version for version in versions if version.name == name]
        yield name if mine else f"{name}: as shipped"
        for one in mine:
            state = ", in force" if one.active else ""
            yield f"  {one.language} version {one.version} by {one.author}, {one.created_at:%Y-%m-%d %H:%M} UTC{state}"


def show(app: App, name: str, language: str, version: int | None) -> str:
    """A text as a file to edit. Raises NoSuchTemplate."""
    known(language, name)
    entries = messages.shipped(language).entries
    if version is None:
        entries = merged(entries, Versions(app.db).active(language))
    parts = dict(entries.get(name, {}))
    if version:
        parts |= Versions(app.db).get(language, name, version).parts
    if not parts:  # nothing is said of this reason alone so far: begin with what is said of all
        step = sample(name)
        parts = {part: text for part, (_, text) in parts_of(entries, step.step, step.reason).items()} if step else {}
    return drafts.written(Draft(name, language, parts))


def check_file(app: App, file: Path) -> Draft:
    """The draft in a file, if it passes every sample. Raises BadTemplate with the lines of the file."""
    draft = drafts.read(file)
    try:
        Versions(app.db).check(draft.language, draft.name, draft.parts)
    except BadTemplate as mistakes:
        raise draft.placed(mistakes, str(file)) from None
    return draft


def edit(app: App, file: Path, by: str) -> tuple[Draft, int]:
    """Keep the draft in a file as a new version, which is not in force yet."""
    draft = drafts.read(file)
    try:
        return draft, Versions(app.db).write(draft.language, draft.name, draft.parts, by, app.now())
    except BadTemplate as mistakes:
        raise draft.placed(mistakes, str(file)) from None


def rendered(app: App, name: str, language: str, version: int | None, draft: Path | None) -> tuple[Notice, Rendered]:
    """A message for a sample customer with the merchant's own name and looks. Raises NoSuchTemplate, BadTemplate."""
    known(language, name)
    tried = check_file(app, draft) if draft else None
    one = sample(tried.name if tried else name)
    if one is None:
        raise NoSuchTemplate(f"{name} is not a message by itself: name one in which it is said")
    edits = edits_of(app, name, language, version, tried)
    return written(app, one, tried.language if tried else language, edits)


def written(app: App, one: Sample, language: str, edits: check.Edits) -> tuple[Notice, Rendered]:
    """The message for this sample customer, with these texts in the place of the shipped ones."""
    context = {**one.notice.context, "merchant": clean(app.settings.mail_from_name)}
    notice = in_language(replace(one.notice, context=context), language)
    return notice, app.renderer.with_edits(lambda of: edits.get(of, {})).render(notice)


def edits_of(app: App, name: str, language: str, version: int | None, tried: Draft | None) -> dict[str, Entries]:
    versions = Versions(app.db)
    if tried:
        return dict(versions.in_force_with(tried.language, tried.name, tried.parts))
    if version is None:
        return {one: versions.active(one) for one in messages.languages()}
    parts = versions.get(language, name, version).parts if version != SHIPPED else None
    return dict(versions.in_force_with(language, name, parts))


def send_test(app: App, to: str, name: str, language: str, version: int | None, draft: Path | None) -> Handed:
    """Hand the message of `rendered` to the real channel; every test is a message of its own."""
    mailbox = address.parse(to)
    if CHANNEL not in app.channels:
        return Handed(Outcome.REJECTED, NO_SERVER)
    return hand_over(app, mailbox, rendered(app, name, language, version, draft))


def hand_over(app: App, mailbox: address.Address, made: tuple[Notice, Rendered]) -> Handed:
    """A message for a sample customer to a mailbox of ours, marked as a test."""
    channel, (notice, words) = app.channels.get(CHANNEL), made
    if channel is None:
        return Handed(Outcome.REJECTED, NO_SERVER)
    unique = message_id(f"test:{secrets.token_hex(16)}", address.parse(app.settings.mail_from).domain)
    message = message_of(replace(notice, to=mailbox), replace(words, subject=TEST + words.subject), unique)
    app.db.outside_transaction("handing a test message over")
    return channel.send(message)
