"""A rehearsal as a person reads it, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table as Columns
from rich.text import Text

from billing.words import counted
from worker.explain import Moment
from worker.rehearsal.play import Played
from worker.rehearsal.rehearse import Rehearsal
from worker.rehearsal.story import ACTS, Story

HIDDEN = ("no failed payment is known here",)  # webhooks before the failure: heard, and nothing came of them
NAMES = {"duplicates": "with every webhook twice", "shuffled": "with the webhooks shuffled"}
SAME = {"duplicates": "the same with duplicates", "shuffled": "the same shuffled"}


def print_(found: Rehearsal, seed: int, out: TextIO) -> None:
    """The dated steps, how it went, what it cost, and whether the other passes came to the same."""
    console = Console(file=out, highlight=False, width=None if out.isatty() else 140)
    for line in heading(found):
        console.print(Text(line))
    table = Columns(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("when (UTC)", "day", "who", "what, and why"):
        table.add_column(name, no_wrap=name != "what, and why")
    before = ""
    for moment in steps(found):
        what = Text(moment.what)
        if moment.because and moment.because != before:
            what.append(f"\n{moment.because}", style="dim")
        before = moment.because
        day = (moment.at - found.story.failed_at) / timedelta(days=1)
        table.add_row(f"{moment.at:%Y-%m-%d %H:%M}", f"{day:+.1f}", moment.who, what)
    console.print(table)
    console.print()
    for line in (*outcome(found.straight), *comparison(found, seed), *clock(found)):
        console.print(Text(line), soft_wrap=True)


def heading(found: Rehearsal) -> Iterator[str]:
    story = found.story
    yield f"Rehearsal of {found.straight.told.invoice} under {found.policy}: nothing real is charged, sent or written."
    card = " ".join(filter(None, (story.card.brand, story.card.funding, story.card.country)))
    yield f"{story.title}. {story.amount}, {card}"
    yield f"The bank: {'; '.join(bank(story))}."
    if story.elsewhere.declined:
        number = counted(len(story.elsewhere.declined), "declined charge")
        yield f"Elsewhere: {number} of this card for other invoices, which use up its budgets."
    for act in story.acts:
        yield f"On {act.at:%Y-%m-%d %H:%M}: {ACTS[act.what]}."
    for note in story.notes:
        yield f"Otherwise than it was: {note}."
    yield ""


def bank(story: Story) -> Iterator[str]:
    """What the bank says, in words."""
    yield f"{_code(story.decline)} at the renewal"
    if story.answers:
        yield f"then {', '.join(story.answers)}, the last one from then on"
        return
    for spell in story.spells:
        yield f"{_code(spell.decline)} {f'until {spell.until:%Y-%m-%d %H:%M}' if spell.until else 'for good'}"
    if not story.spells or story.spells[-1].until:
        yield "then it pays"


def _code(decline: Any) -> str:
    codes = (decline.decline_code or decline.code, decline.advice_code, decline.network_advice_code)
    return " ".join(code for code in codes if code)


def steps(found: Rehearsal) -> Iterator[Moment]:
    """The moments of the straight pass in order of time, with the subject of each message and each person's deed."""
    played = found.straight
    shown = [m for m in played.told.moments if not any(m.because.endswith(hidden) for hidden in HIDDEN)]
    deeds = [Moment(act.at, "people", ACTS[act.what]) for act in found.story.acts if act.at <= played.ended]
    for moment in sorted([*deeds, *shown, *played.silences], key=lambda each: each.at):
        if moment.who == "message" and (subject := played.subjects.get(moment.source)):
            yield Moment(moment.at, moment.who, f"{moment.what.split(' to mailbox')[0]}: “{subject}”", moment.because)
        else:
            yield moment


def outcome(played: Played) -> Iterator[str]:
    """How it went, and what it cost."""
    case = played.told.case
    if case is None:
        yield "How it went: no case was opened."
        return
    days = (played.ended - played.began) / timedelta(days=1)
    by = f" by {case['recovered_by'].replace('_', ' ')}" if case["recovered_by"] else ""
    yield f"How it went: {case['state'].replace('_', ' ')}{by} after {days:.1f} days: {case['because']}."
    refused = len(played.told.rows["refusals"])
    yield (
        f"What it cost: {counted(played.retries, 'attempt')} of ours after {case['stripe_attempts']} of Stripe's, "
        f"{counted(len(played.messages), 'message')}, {counted(refused, 'retry')} refused by a rule."
    )
    for budget in case["budgets"]:
        yield f"Budget left: {budget['text']}."
    for waiting in played.told.waiting:
        yield f"Still waits: {waiting.kind} at {waiting.due_at:%Y-%m-%d %H:%M} UTC: {waiting.because}."
    yield from played.told.otherwise


def comparison(found: Rehearsal, seed: int) -> Iterator[str]:
    """Whether the other passes gave the same attempts, messages and ledger rows."""
    same = [SAME[name] for name, wrong in found.differences.items() if not wrong]
    if same:
        played = found.straight
        counts = (played.attempts, "attempt"), (played.messages, "message"), (played.entries, "ledger row")
        yield f"{'; '.join(same)} (seed {seed}): {', '.join(counted(len(rows), what) for rows, what in counts)}."
    for name, wrong in found.differences.items():
        for sentence in wrong:
            yield f"DIFFERENT {NAMES[name]} (seed {seed}): {sentence}"


def clock(found: Rehearsal) -> Iterator[str]:
    total = sum(found.seconds.values())
    straight = found.seconds["straight"]
    yield f"{found.straight.webhooks} webhooks; played in {straight:.2f} s, all three passes in {total:.2f} s."


def write_json(found: Rehearsal, seed: int, out: TextIO) -> None:
    """Everything that is printed, for programs."""
    played = found.straight
    body = {
        "invoice": played.told.invoice,
        "policy": found.policy,
        "seed": seed,
        "title": found.story.title,
        "bank": list(bank(found.story)),
        "notes": list(found.story.notes),
        "steps": [
            {"at": m.at, "who": m.who, "what": m.what, "because": m.because, "source": m.source} for m in steps(found)
        ],
        "state": played.state[0],
        "recovered_by": played.state[1] or None,
        "case": played.told.case,
        "attempts": [list(row) for row in played.attempts],
        "messages": [list(row) for row in played.messages],
        "ledger": [list(row) for row in played.entries],
        "same": found.same,
        "differences": found.differences,
        "seconds": found.seconds,
    }
    json.dump(body, out, indent=2, default=_plain)
    out.write("\n")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
