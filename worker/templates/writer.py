"""A notice becomes words: the parts of its message, in its language, with its figures, as text and as HTML.

Text and HTML are made from the same written parts, so they cannot say different things.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from billing.notices.compose import Context
from billing.notices.sequence import AFTER_THE_END, ASKING, Step
from config.messages import WITH_REASON, Entries
from worker.templates import layout
from worker.templates.brand import Brand
from worker.templates.figures import day, isolated, money, month
from worker.templates.sandbox import Blank, TemplateBroken, Value, sandbox

LONGEST_SUBJECT = 200
NO_SPACE = frozenset({"ja"})  # languages that set no space between sentences
COLON = {"fr": "\u00a0: ", "ja": "："}

# What a text may show; `?` stands behind a value that is not known in every message and wants an `if`.
_ANYBODY = ("merchant", "name?", "brand?", "last4?", "card?", "support?")
_OWED = (*_ANYBODY, "amount", "invoice?", "host")
_UNPAID = (*_OWED, "reason", "next_try?", "deadline", "days_left", "count")
VALUES: Mapping[Step, tuple[str, ...]] = {
    **dict.fromkeys(ASKING, _UNPAID),
    **dict.fromkeys(AFTER_THE_END, _OWED),
    Step.PROMISE_REMINDER: (*_UNPAID, "promised_on"),
    Step.RECOVERED: (*_ANYBODY, "amount?", "invoice?", "host?"),
    Step.CARD_EXPIRING: (*_ANYBODY, "amount?", "host", "renews_on?", "expires"),
    Step.RENEWAL_COMING: (*_ANYBODY, "amount", "host", "renews_on"),
    Step.METHOD_MISSING: (*_ANYBODY, "amount?", "host", "renews_on?"),
}

FACTS: Mapping[Step, tuple[str, ...]] = {
    **dict.fromkeys((Step.PAYMENT_FAILED, Step.REMINDER), ("amount_due", "invoice", "card", "next_try")),
    **dict.fromkeys((Step.BEFORE_DEADLINE, Step.LAST_DAY), ("amount_due", "invoice", "card", "deadline")),
    Step.PROMISE_REMINDER: ("amount_due", "invoice"),
    Step.RECOVERED: ("amount", "invoice"),
    **dict.fromkeys(AFTER_THE_END, ("amount_due", "invoice")),
    Step.CARD_EXPIRING: ("card", "expires", "renews_on"),
    Step.RENEWAL_COMING: ("amount", "renews_on", "card"),
    Step.METHOD_MISSING: ("amount", "renews_on"),
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """One message in words; `locale` is its language."""

    subject: str
    text: str
    html: str
    locale: str

    @property
    def hash(self) -> str:
        """Stands for exactly these words in the row of the message."""
        return hashlib.sha256("\0".join((self.subject, self.text, self.html)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Tongue:
    """The language of the words, and the locale that writes money and dates (`en`, `en_GB`)."""

    language: str
    locale: str


def parts_of(entries: Entries, step: Step, reason: str) -> dict[str, tuple[str, str]]:
    """Part -> (table it comes from, text): what is said of one reason goes before what is said of all."""
    tables = [step.value]
    if step in WITH_REASON:
        tables = [f"reason.{reason}", step.value, f"{step}.{reason}"]
    return {part: (table, text) for table in tables for part, text in entries.get(table, {}).items()}


def write(
    step: Step, entries: Entries, context: Context, tongue: Tongue, brand: Brand, strict: bool = False
) -> Rendered:
    """The message. Raises TemplateBroken, which names the language, table and part, the line and the value."""
    return _Writing(step, entries, context, tongue, brand, strict).whole()


def broken_parts(
    step: Step, entries: Entries, context: Context, tongue: Tongue, brand: Brand
) -> Iterator[TemplateBroken]:
    """Everything that keeps this message from being written, part by part."""
    writing = _Writing(step, entries, context, tongue, brand, strict=True)
    for part in writing.parts:
        try:
            writing.part(part)
        except TemplateBroken as error:
            yield error


class _Writing:
    """One message while it is written."""

    def __init__(
        self, step: Step, entries: Entries, context: Context, tongue: Tongue, brand: Brand, strict: bool
    ) -> None:
        self.step, self.entries, self.context, self.tongue, self.brand = step, entries, context, tongue, brand
        self.sandbox = sandbox(tongue.locale, strict)
        self.parts = parts_of(entries, step, str(context.get("reason", "")))
        self.values: dict[str, Value] = self._values()

    def _values(self) -> dict[str, Value]:
        context, locale = self.context, self.tongue.locale
        days = {name: context.get(name) for name in ("next_try", "deadline", "renews_on", "promised_on")}
        known: dict[str, Value] = {
            **{name: isolated(str(context[name])) for name in ("merchant", "name", "invoice")},
            **{name: context[name] for name in ("brand", "last4", "host")},
            **{name: context[name] for name in ("reason", "days_left", "count") if name in context},
            **{name: day(str(iso), locale) if iso else "" for name, iso in days.items() if iso is not None},
            "amount": money(int(context["amount"]), str(context["currency"]), locale) if context["amount"] else "",
            "support": self.brand.support,
        }
        if "expires" in context:
            known["expires"] = month(str(context["expires"]), locale) if context["expires"] else ""
        self.values = {name: Blank.of(name) if value == "" else value for name, value in known.items()}
        self.values["card"] = self._card() or Blank.of("card")
        allowed = {name.rstrip("?") for name in VALUES[self.step]}
        return {name: value for name, value in self.values.items() if name in allowed}

    def _card(self) -> str:
        if not self.values["last4"]:
            return ""
        return self.word("card_named" if self.values["brand"] else "card_numbered")

    def word(self, part: str) -> str:
        return self.sandbox.write(f"{self.tongue.language}/words/{part}", self.entries["words"][part], self.values)

    def part(self, part: str) -> str:
        """One part in words; empty when this message has none."""
        table, source = self.parts.get(part, ("", ""))
        return self.sandbox.write(f"{self.tongue.language}/{table}/{part}", source, self.values) if source else ""

    def whole(self) -> Rendered:
        subject = " ".join(self.part("subject").split())
        if not subject or len(subject) > LONGEST_SUBJECT:
            table = self.parts.get("subject", (self.step.value, ""))[0]
            raise TemplateBroken(
                f"{self.tongue.language}/{table}/subject", None, None, f"1 to {LONGEST_SUBJECT} characters wanted"
            )
        page = self._page()
        return Rendered(
            subject,
            _text(page, COLON.get(self.tongue.language, ": ")),
            layout.html(page, self.brand),
            self.tongue.language,
        )

    def _page(self) -> layout.Page:
        url = str(self.context["url"])
        between = "" if self.tongue.language in NO_SPACE else " "
        greeting = [self.word("greeting")] if self.values["name"] else []
        said = between.join(filter(None, (self.part("lead"), self.part("why"))))
        waits = self.step in (Step.PAYMENT_FAILED, Step.REMINDER) and self.values["next_try"]
        ask = self.word("wait") if waits else self.part("ask")
        return layout.Page(
            lang=self.tongue.locale.replace("_", "-"),
            merchant=str(self.values["merchant"]),
            title=" ".join(self.part("title").split()),
            preview=" ".join(self.part("preview").split()),
            before=[*greeting, *_paragraphs(said)],
            facts=list(self._facts()),
            after=[*_paragraphs(self.part("otherwise")), *_paragraphs(ask)],
            url=url,
            button=" ".join(self.part("button").split()) if url else "",
            note=self.word("secure") if url else "",
            footer=self._footer(),
        )

    def _facts(self) -> Iterator[tuple[str, str]]:
        for fact in FACTS[self.step]:
            if value := self.values["amount" if fact == "amount_due" else fact]:
                yield self.word(fact), str(value)

    def _footer(self) -> list[str]:
        because = "because_unpaid" if self.step in ASKING else "because_customer"
        lines = [self.word(because), self.word("write_to" if self.values["support"] else "reply")]
        return [*lines, self.brand.address] if self.brand.address else lines


def _paragraphs(text: str) -> list[str]:
    """Paragraphs are parted by an empty line; a single line end is a space."""
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip()]


def _text(page: layout.Page, colon: str) -> str:
    """The message for those who read no HTML: the same sentences, and the address of the page in full."""
    pieces = [*page.before, "\n".join(f"{label}{colon}{value}" for label, value in page.facts), *page.after]
    if page.url:
        pieces += [f"{page.button}{colon.rstrip()}\n{page.url}", page.note]
    pieces.append("-- \n" + "\n".join(page.footer))
    return "\n\n".join(filter(None, pieces)) + "\n"
