"""A folder that takes messages instead of a mail server: for the demo, for trying out, for reading with one's eyes.

Each message is an `.eml` file with its HTML beside it, and `index.html` lists them, newest first. Any mail catcher
behind `smtp_host` could replace it where one can be run.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email import policy
from email.parser import BytesHeaderParser
from html import escape
from pathlib import Path
from urllib.parse import quote

from billing.notices import address
from worker.channels import Handed, Message, Outcome, mime

LISTED = 500  # of the newest; the folder keeps them all

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Mailbox</title>
<style>
  body {{ margin: 0 auto; padding: 24px 16px; max-width: 880px; font: 15px/1.5 system-ui, sans-serif; }}
  h1 {{ font-size: 22px; }}
  ul {{ list-style: none; margin: 0; padding: 0; }}
  li {{ padding: 12px 0; border-top: 1px solid #8886; overflow-wrap: anywhere; }}
  small {{ display: block; opacity: .75; }}
</style>
</head>
<body>
<h1>Mailbox</h1>
<p>{count}. Nothing here was sent to anybody.</p>
<ul>
{rows}
</ul>
</body>
</html>
"""
ROW = '<li><a href="{html}">{subject}</a><small>{when} UTC · to {to} · <a href="{eml}">as .eml</a></small></li>'


class MailboxChannel:
    """Writes each message into `folder` once: the same Message-ID again changes nothing."""

    def __init__(self, folder: Path, sender: mime.Sender, now: Callable[[], datetime]) -> None:
        self._folder, self._sender, self._now = folder, sender, now
        self._rows: dict[str, str] = {}  # file name of a message -> its line in the index
        self._lock = threading.Lock()

    def send(self, message: Message) -> Handed:
        try:
            to = address.parse(message.to)
            now = self._now()
            mail = mime.write(message, to, self._sender, now)
        except (address.BadAddress, mime.UnfitMessage) as unfit:
            return Handed(Outcome.REJECTED, str(unfit))
        try:
            with self._lock:
                return self._keep(message, to, mail, now)
        except OSError as trouble:
            return Handed(Outcome.LATER, f"the mailbox folder cannot be written: {trouble.strerror}")

    def _keep(self, message: Message, to: address.Address, mail: bytes, now: datetime) -> Handed:
        self._folder.mkdir(parents=True, exist_ok=True)
        mark = hashlib.sha256(message.id.encode()).hexdigest()[:12]
        kept = [name for name in os.listdir(self._folder) if name.endswith(".eml")]
        if any(name.endswith(f"_{mark}.eml") for name in kept):
            return Handed(Outcome.ACCEPTED, "this message is in the mailbox folder already")
        step = dict(message.headers).get("X-Reprieve-Step", "message")
        stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H%M%S")
        stem = f"{stamp}_{_name(step)}_{_name(str(to))}_{mark}"
        # The .eml comes last: what is seen as kept is kept whole.
        self._put(f"{stem}.html", message.html.encode())
        self._put(f"{stem}.eml", mail)
        self._put("index.html", self._index([*kept, f"{stem}.eml"]).encode())
        return Handed(Outcome.ACCEPTED, "written to the mailbox folder")

    def _put(self, name: str, content: bytes) -> None:
        """All of the file or none of it, under its name."""
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, self._folder / name)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _index(self, kept: list[str]) -> str:
        names = sorted(kept, reverse=True)
        for name in names[:LISTED]:
            if name not in self._rows:
                self._rows[name] = self._row(name)
        count = f"{len(names)} message{'' if len(names) == 1 else 's'}"
        if len(names) > LISTED:
            count += f", the newest {LISTED} are listed"
        return PAGE.format(count=count, rows="\n".join(self._rows[name] for name in names[:LISTED]))

    def _row(self, name: str) -> str:
        mail = BytesHeaderParser(policy=policy.SMTPUTF8).parsebytes((self._folder / name).read_bytes())
        stem = name.removesuffix(".eml")
        return ROW.format(
            html=quote(f"{stem}.html"),
            eml=quote(name),
            subject=escape(str(mail["subject"])),
            to=escape(str(mail["to"])),
            when=escape(f"{name[:10]} {name[11:13]}:{name[13:15]}"),
        )


def _name(text: str) -> str:
    """Text that is safe in a file name on every system, and still readable."""
    return re.sub(r"[^A-Za-z0-9@.+-]", "-", text.replace("_", "-"))[:60]
