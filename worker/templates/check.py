"""Can these texts be sent? Every text is read, and written for every sample in every language, before it is in force.

The whole check runs in a child process with limits (`guarded`), because what it reads was written by somebody at a
keyboard: a text that makes the reader itself run away takes nothing with it (reliability.md D27, S-26).
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from billing.notices.compose import Notice
from config.messages import Entries, languages, shipped
from config.messages import mistakes as shape_mistakes
from worker.rendering import merged, tongue_of
from worker.templates import writer
from worker.templates.brand import Brand
from worker.templates.samples import Sample, every, in_language
from worker.templates.sandbox import TemplateBroken
from worker.templates.taboo import CODE, taboo

ROOT = Path(__file__).parents[2]
CPU_SECONDS, WALL_SECONDS, MEMORY = 20, 60, 768 * 1024 * 1024
MOST_INPUT, MOST_MISTAKES = 512 * 1024, 50  # characters; lines

BRANDS = (Brand(), Brand(support="help@merchant.example", logo="https://merchant.example/logo.png"))

Edits = Mapping[str, Entries]  # by language


def mistakes(edits: Edits) -> list[str]:
    """What is wrong with the shipped texts with these in their place; each line names text, line and value."""
    found = [*_shapes(edits)] or [*_unsaid(edits), *_unwritten(edits)]
    first = {line.partition(" (sample: ")[0]: line for line in reversed(found)}  # each mistake with its first sample
    return list(reversed(first.values()))[:MOST_MISTAKES]


def _shapes(edits: Edits) -> Iterator[str]:
    for language, entries in edits.items():
        if language not in languages():
            yield f"{language}: there are no messages in this language; {', '.join(languages())} there are"
        for name, parts in entries.items():
            yield from (f"{language}/{name}: {mistake}" for mistake in shape_mistakes(name, parts))


def _unsaid(edits: Edits) -> Iterator[str]:
    """Words that a customer must never read, also where no sample would show them."""
    for language in languages():
        for name, parts in merged(shipped(language).entries, edits.get(language, {})).items():
            for part, text in parts.items():
                if word := taboo(text, language):
                    line = text.lower().count("\n", 0, text.lower().find(word.lower())) + 1
                    yield str(TemplateBroken(f"{language}/{name}/{part}", line, None, f"{word!r} is never said"))


def _unwritten(edits: Edits) -> Iterator[str]:
    """Every sample in every language that is not as it was shipped; that the shipped texts are sound, tests hold."""
    edited = {language: entries for language, entries in edits.items() if entries} or {
        every_one: {} for every_one in languages()
    }
    written = {language: merged(shipped(language).entries, entries) for language, entries in edited.items()}
    for language, sample in every(edited):
        yield from _of_sample(written[language], in_language(sample.notice, language), sample)


def _of_sample(entries: Entries, notice: Notice, sample: Sample) -> Iterator[str]:
    tongue = tongue_of(notice.locales)
    for brand in BRANDS if sample.usual else BRANDS[:1]:
        try:
            said = writer.write(sample.step, entries, notice.context, tongue, brand, strict=True)
        except TemplateBroken as error:
            every_one = writer.broken_parts(sample.step, entries, notice.context, tongue, brand)
            for one in dict.fromkeys(map(str, (error, *every_one))):
                yield f"{one} (sample: {sample.name})"
            continue
        told = f"{said.subject}\n{said.text}".replace(str(notice.context["url"]), "")
        if found := CODE.search(told):
            yield f"{tongue.language}/{sample.step}: {found[0]!r} reads like a code (sample: {sample.name})"


# ---------------------------------------------------------------- in a child process


def guarded(edits: Edits) -> list[str]:
    """`mistakes`, found by a child process that has little time and memory and none of our secrets."""
    asked = json.dumps({language: {name: dict(parts) for name, parts in of.items()} for language, of in edits.items()})
    if len(asked) > MOST_INPUT:
        return [f"the texts are longer than {MOST_INPUT} characters in all"]
    try:
        with tempfile.TemporaryDirectory() as nowhere:
            child = subprocess.run(  # noqa: S603  # our own module, and the text comes by its input
                [sys.executable, "-m", __name__],
                input=asked,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=WALL_SECONDS,
                cwd=nowhere,
                env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
            )
        answer: Any = json.loads(child.stdout) if child.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        answer = None
    if not isinstance(answer, list):
        return ["the check did not come to an end within its limits of time and memory"]
    return [str(line) for line in answer]


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    asked = json.loads(sys.stdin.read(MOST_INPUT + 1))
    sys.stdout.write(json.dumps(mistakes(asked)))


def place_in(source: str, mistake: str) -> str:
    """The same mistake with the line of the file it came from: parts know only their own lines."""
    found = re.match(r"[a-z]+/[a-z_.]+/(?P<part>[a-z_]+):(?P<line>[0-9]+): ", mistake)
    begins = re.search(rf'^\s*{found["part"]}\s*=\s*("""\n)?', source, re.MULTILINE) if found else None
    if not found or not begins:
        return mistake
    line = source.count("\n", 0, begins.end()) + int(found["line"])
    return f"line {line}: {mistake}"


if __name__ == "__main__":
    _main()
