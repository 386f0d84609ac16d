"""Chat and SMS by Apprise, which speaks to well over a hundred services: an optional part, `reprieve[chat]`.

Apprise only says whether it worked. So what did not work is repeated for the team's chat, where twice is better than
never, and not for an SMS to a customer, where it is not (reliability.md D24). Addresses hold passwords: none of them
is ever logged, and the logs of Apprise and of what it uses are off.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from urllib.parse import quote

from pydantic import SecretStr

from worker.channels import Handed, Message, Outcome

TIMEOUT = 10  # seconds, for the connection and for the answer
NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
LONGEST_SMS = 480  # characters: three parts
STOP_WORDS = frozenset(
    {"stop", "stopp", "stopall", "unsubscribe", "cancel", "end", "quit", "arret", "baja", "parar", "停止"}
)


class Chat:
    """The team's own rooms. Every room gets the message; one that is away is named by its place in the settings."""

    def __init__(self, urls: Sequence[SecretStr]) -> None:
        self._urls = tuple(urls)

    def send(self, message: Message) -> Handed:
        away = [str(n) for n, url in enumerate(self._urls, 1) if not _notify(url.get_secret_value(), message)]
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
        url = self._url.get_secret_value().replace("{to}", quote(message.to, safe=""))
        if _notify(url, message, longest=LONGEST_SMS):
            return Handed(Outcome.ACCEPTED, "taken by the SMS service")
        return Handed(Outcome.UNKNOWN, "the SMS service did not say that it took the message")


def asks_to_stop(text: str) -> bool:
    """Does an answer to an SMS mean that no other may follow? Only a word alone does."""
    return text.strip(" .!\r\n").casefold() in STOP_WORDS


def _notify(url: str, message: Message, longest: int | None = None) -> bool:
    from apprise import Apprise

    for name in ("apprise", "urllib3"):  # the second is what the first speaks HTTP with
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    place = Apprise()
    joint = "&" if "?" in url else "?"
    if not place.add(f"{url}{joint}cto={TIMEOUT}&rto={TIMEOUT}"):
        return False
    text = message.text if longest is None else message.text[:longest]
    return bool(place.notify(body=text, title="" if longest else message.subject))
