"""A message as an SMS: its subject, the link in full, and how to end it; three parts at most, and nothing is cut off.

The words are those of the e-mail's subject, so an operator's edits count here too. No link is shortened: nobody should
learn to trust a strange address, and ours is signed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from billing.notices.compose import Notice
from config import sms
from worker.channels import Message
from worker.templates.writer import Rendered

MOST_PARTS = 3
# 3GPP TS 23.038: one septet each; those of the extension take two. Anything else makes the whole text UCS-2.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[~]|€")
_PLAIN = str.maketrans({"\u00a0": " ", "\u202f": " ", "’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-"})


class TooLong(ValueError):
    """The message does not fit into three parts of an SMS, however its words are shortened."""


def parts(text: str) -> int:
    """How many SMS this text is sent as."""
    if _BASIC.issuperset(text) or (_BASIC | _EXTENDED).issuperset(text):
        length, one, each = sum(2 if c in _EXTENDED else 1 for c in text), 160, 153
    else:
        length, one, each = len(text.encode("utf-16-le")) // 2, 70, 67
    return 1 if length <= one else -(-length // each)


def short(notice: Notice, rendered: Rendered, answers: bool) -> str:
    """The text; `answers`: whether a STOP would be heard, so that it may be promised. Raises TooLong."""
    words = sms.languages().get(rendered.locale.partition("-")[0], sms.languages()[sms.FALLBACK])
    stop = words["stop"] if answers else ""
    said = _visible(rendered.subject)
    merchant = _visible(str(notice.context["merchant"]))
    if merchant.casefold() not in said.casefold():
        said = f"{merchant}: {said}"
    for shorter in _shortened(said):
        text = "\n".join(filter(None, (shorter, str(notice.context["url"]), stop)))
        for spelt in (text.translate(_PLAIN), _without_accents(text)):
            if parts(spelt) <= MOST_PARTS:
                return spelt
    raise TooLong("the link alone is longer than three parts of an SMS")


def message(notice: Notice, rendered: Rendered, to: str, id: str, answers: bool) -> Message:
    """What the channel `sms` is given. Raises TooLong."""
    headers = (("X-Reprieve-Step", notice.step.value),)
    return Message(id, to, None, rendered.subject, short(notice, rendered, answers), "", headers)


def _visible(text: str) -> str:
    """One line without marks of direction, which telephones show as boxes."""
    return " ".join("".join(c for c in text if unicodedata.category(c) != "Cf").split(" "))


def _shortened(said: str) -> Iterator[str]:
    yield said
    for length in range(len(said) - 4, 20, -8):
        yield f"{said[:length].rstrip()}..."


def _without_accents(text: str) -> str:
    """Latin letters as GSM has them: ã would make every letter of the message twice as long."""
    kept = (c if c in _BASIC or not c.isalpha() else unicodedata.normalize("NFKD", c) for c in text.translate(_PLAIN))
    found = "".join("".join(d for d in each if not unicodedata.combining(d)) for each in kept)
    return found if (_BASIC | _EXTENDED).issuperset(found) else text.translate(_PLAIN)
