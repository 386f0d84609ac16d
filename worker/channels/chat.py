"""Chat and SMS by Apprise, which speaks to well over a hundred services: an optional part, `reprieve[chat]`.

Apprise only says whether it worked. So what did not work is repeated for the team's chat, where twice is better than
never, and not for an SMS to a customer, where it is not (reliability.md D24). Addresses hold passwords: none of them
is ever logged, and the logs of Apprise and of what it uses are off.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import unicodedata
from collections.abc import Sequence
from urllib.parse import quote

from pydantic import SecretStr

from worker.channels import Handed, Message, Outcome

TIMEOUT = 10  # seconds, for the connection and for each piece of the answer
TOTAL = 25  # seconds, for everything: a service that answers drop by drop is given up as well
NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
LONGEST_SMS = 480  # characters: three parts
STOP_WORDS = frozenset(
    {"stop", "stopp", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt-out", "opt out"}
    | {"arret", "arrêt", "baja", "alto", "parar", "sair", "abmelden", "停止", "解除", "配信停止"}
)
STOP_FIRST = frozenset({"stop", "stopp", "stopall", "unsubscribe"})  # whatever follows them
START_WORDS = frozenset({"start", "unstop"})


class Chat:
    """The team's own rooms. Every room gets the message; one that is away is named by its place in the settings."""

    def __init__(self, urls: Sequence[SecretStr]) -> None:
        self._urls = tuple(urls)

    def send(self, message: Message) -> Handed:
        taken = _notify([url.get_secret_value() for url in self._urls], message.subject, message.text)
        away = [str(n) for n, well in enumerate(taken, 1) if not well]
        if away:
            return Handed(Outcome.LATER, f"not taken by chat address {', '.join(away)}")
        return Handed(Outcome.ACCEPTED, f"taken by {len(self._urls)} chat addresses")


class Sms:
    """One service for all customers; `to` of a message is a number like +4915112345678."""

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    def send(self, message: Message) -> Handed:
        if not NUMBER.fullmatch(message.to):
            return Handed(Outcome.REJECTED, "not a telephone number of the form +4915112345678")
        if len(message.text) > LONGEST_SMS:
            return Handed(Outcome.REJECTED, "longer than three parts of an SMS")
        url = self._url.get_secret_value().replace("{to}", quote(message.to, safe=""))
        if _notify([url], "", message.text)[0]:
            return Handed(Outcome.ACCEPTED, "taken by the SMS service")
        return Handed(Outcome.UNKNOWN, "the SMS service did not say that it took the message")


def asks_to_stop(text: str) -> bool:
    """Does an answer to an SMS mean that no other may follow? A word alone does, and what begins with STOP."""
    said = _said(text)
    return said in STOP_WORDS or re.split(r"[^\w]", said, maxsplit=1)[0] in STOP_FIRST


def asks_to_start(text: str) -> bool:
    """Does an answer take a STOP back? Only a word alone does."""
    return _said(text) in START_WORDS


def _said(text: str) -> str:
    """As people mean it: wide letters, capitals, quotes and full stops make no difference."""
    return unicodedata.normalize("NFKC", text).strip(" .!。！\"'\r\n\t").casefold()


def _notify(urls: Sequence[str], title: str, text: str) -> list[bool]:
    """Tell all of them at the same time; for each whether it said in time that it took the message."""
    for name in ("apprise", "urllib3"):  # the second is what the first speaks HTTP with
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    taken = [False] * len(urls)

    def tell(place: int) -> None:
        taken[place] = _tell(urls[place], title, text)

    threads = [threading.Thread(target=tell, args=(n,), name="chat", daemon=True) for n in range(len(urls))]
    for thread in threads:
        thread.start()
    over = time.monotonic() + TOTAL
    for thread in threads:
        thread.join(max(0.0, over - time.monotonic()))
    return list(taken)


def _tell(url: str, title: str, text: str) -> bool:
    from apprise import Apprise

    place = Apprise()
    joint = "&" if "?" in url else "?"
    if not place.add(f"{url}{joint}cto={TIMEOUT}&rto={TIMEOUT}"):
        return False
    return bool(place.notify(body=text, title=title))
