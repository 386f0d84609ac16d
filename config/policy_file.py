"""A policy file that an operator wrote: its mistakes are named with line and key before it is put to use."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from billing.policy import Policy
from config.policies import BadPolicy, parse

_KEY = re.compile(r"[ .]?([a-z_][\w.]*): ")


def check(file: Path) -> Policy:
    """The policy in the file. Raises BadPolicy with one line per mistake: file, line, key, what is wrong."""
    if file.suffix != ".toml":
        raise BadPolicy(f"{file}: the name of a policy file ends in .toml")
    try:
        text = file.read_text(encoding="utf-8")
        return parse(tomllib.loads(text), str(file))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:  # TOML's own words name line and column
        raise BadPolicy(f"{file}: {error}") from error
    except BadPolicy as error:
        raise BadPolicy("\n".join(_placed(line, file, text) for line in str(error).splitlines())) from None


def _placed(message: str, file: Path, text: str) -> str:
    """The message with the line of the key that it names."""
    said = message.removeprefix(str(file)).replace(".[key]", "")
    line = next(filter(None, (line_of(text, key) for key in reversed(_KEY.findall(said)))), None)
    named = f"{file}:{line}" if line else str(file)
    return message if message.startswith(f"{named}:") or ", line " in message else message.replace(str(file), named, 1)


def line_of(text: str, key: str) -> int | None:
    """The line on which a dotted key stands, else the one of its table; None where neither is written.

    `messages.steps.2.day` is in the third of the tables `[[messages.steps]]`; other lists stand in one line.
    """
    table, best, tables = "", None, 0
    *parents, last = [part for part in key.split(".") if not part.isdigit()]
    of_list = re.search(r"\.(\d+)\.\D", key)
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if header := re.fullmatch(r"\[+\s*([\w.\- ]+?)\s*\]+(?:\s*#.*)?", stripped):
            table = header[1]
            tables += table == ".".join(parents)
            if table == key or (table == ".".join(parents) and _is_meant(of_list, tables)):
                best = number
        elif re.match(rf"[\"']?{re.escape(last)}[\"']?\s*=", stripped) and table == ".".join(parents):
            if _is_meant(of_list, tables):
                return number
        elif parents and not table and re.match(rf"{re.escape(parents[0])}\s*=", stripped):
            best = number
    return best


def _is_meant(of_list: re.Match[str] | None, tables: int) -> bool:
    return of_list is None or int(of_list[1]) + 1 == tables
