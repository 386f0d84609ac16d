"""Which messages of a sequence are due for one case, and when; for every other step, why not.

Asked at every decision, and once more just before a message is sent. What is no longer named is taken back from the
outbox, so the same evidence has to give the same answer whenever it is asked. A step that ended, in whatever way, is
never named again. Each way to a person is a track of its own: of the steps that are late on a track, as after a hold,
only the latest is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from billing.case import RecoveryCase, State
from billing.ending import unsettled
from billing.events.occurrences import Answer
from billing.notices.conditions import unmet
from billing.notices.hours import first_allowed, last_allowed
from billing.notices.reasons import MENDS_ITSELF, reason_of
from billing.notices.sequence import (
    ASKING,
    MAY_HAVE_REACHED,
    SILENT,
    WHEN,
    Audience,
    On,
    Planned,
    Sequence,
    Step,
    Via,
    label_of,
    person_of,
    span,
    track_of,
)
from billing.operator import ASKED

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
AFTER_TRY = timedelta(minutes=15)  # until the answer of an attempt is known
AGAIN = timedelta(hours=1)  # two refusals within it are one, told twice
TOO_LATE = timedelta(days=3)  # later thanks, or a later farewell, would puzzle more than please


class Due(NamedTuple):
    """`step` is the label of this one message, `template` what it says as things stand. `asked`: for by a person."""

    step: str
    at: datetime
    because: str
    template: Step = Step.PAYMENT_FAILED
    via: Via = Via.EMAIL
    to: str = ""
    asked: bool = False


class Passed(NamedTuple):
    """A message that is not to be sent, as things stand."""

    step: str
    because: str


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody at the customer beside the address at Stripe; `id` stands for the address."""

    id: str
    role: str  # billing, owner, member


@dataclass(frozen=True, slots=True)
class Facts:
    """What a case does not know itself. `held_until`: the promised day and its grace; `next_try`: ours or Stripe's;
    `rescued_at`: a payment method came after the end; `asked`: messages that a person wants at once, and since when."""

    zone: tzinfo = UTC
    country: str | None = None
    contacts: tuple[Contact, ...] = ()
    engaged_at: datetime | None = None
    held_until: datetime | None = None
    next_try: datetime | None = None
    rescued_at: datetime | None = None
    asked: tuple[tuple[str, datetime], ...] = ()


def due_notices(case: RecoveryCase, sequence: Sequence, facts: Facts, now: datetime) -> tuple[Due, ...]:
    """The messages that should be waiting for this case, soonest first; `at` may lie ahead or behind."""
    return tuple(each for each in weigh(case, sequence, facts, now) if isinstance(each, Due))


def weigh(case: RecoveryCase, sequence: Sequence, facts: Facts, now: datetime) -> tuple[Due | Passed, ...]:
    """Every message of the sequence that did not end yet: the due ones by time, then the others and why not."""
    return _Weighing(case, sequence, facts, now).all()


class _Weighing:
    """One case while its messages are worked out."""

    def __init__(self, case: RecoveryCase, sequence: Sequence, facts: Facts, now: datetime) -> None:
        self.case, self.sequence, self.facts, self.now = case, sequence, facts, now
        self.ended = dict(case.notices_at)
        self.outcomes = dict(case.notices)
        waits = sequence.silent
        if sequence.patient > waits and reason_of(case) in MENDS_ITSELF:
            waits = sequence.patient
        self.silent_until = max(filter(None, (case.failed_at + waits, facts.held_until)))

    def all(self) -> tuple[Due | Passed, ...]:
        found = [self._asked(each) for each in self._answers()]
        due = sorted((each for each in found if isinstance(each, Due)), key=lambda each: (each.at, each.step))
        return (*due, *(each for each in found if isinstance(each, Passed)))

    def _asked(self, answer: Due | Passed) -> Due | Passed:
        """A message that a person wants at once is due since then, whatever the hour."""
        at = dict(self.facts.asked).get(answer.step)
        if at is None or isinstance(answer, Passed):
            return answer
        return answer._replace(at=min(answer.at, at), because=ASKED, asked=True)

    def _answers(self) -> Iterator[Due | Passed]:
        asking: dict[str, list[tuple[datetime, Planned, Via, str]]] = {}
        for step, via, to in self._open():
            label = label_of(step.name, via, to)
            if because := self._not_now(step) or unmet(step.only, self.case, self.facts.country, self.facts.engaged_at):
                yield Passed(label, because)
                continue
            at = self._counted(step)
            if isinstance(at, str):
                yield Passed(label, at)
            elif step.template in ASKING:
                asking.setdefault(track_of(label), []).append((at, step, via, to))
            else:
                yield self._closing(step, via, to, at)
        for track in asking.values():
            yield from self._of_track(track)

    def _open(self) -> Iterator[tuple[Planned, Via, str]]:
        """Every message that may still be sent: a step, the way, and the contact."""
        for step in self.sequence.steps:
            for via in step.via:
                if via is not Via.IN_APP:
                    for to in self._recipients(step, via):
                        if label_of(step.name, via, to) not in self.outcomes:
                            yield step, via, to

    def _recipients(self, step: Planned, via: Via) -> Listed[str]:
        """The address at Stripe is the empty name; nobody is named twice."""
        if via is not Via.EMAIL:
            return ("",)
        found = [to for audience in step.audience for to in self._members(audience)]
        return tuple(dict.fromkeys(found))

    def _members(self, audience: Audience) -> Listed[str]:
        others = self.facts.contacts
        match audience:
            case Audience.BILLING:
                return ("", *(each.id for each in others if each.role == "billing"))
            case Audience.OWNER:
                return tuple(each.id for each in others if each.role == "owner") or ("",)
            case Audience.TEAM:
                return ("", *(each.id for each in others))

    # ------------------------------------------------------------ whether

    def _not_now(self, step: Planned) -> str:
        """Why nothing of this kind is said of the case as it is; empty when it may be."""
        case = self.case
        if step.template is Step.RECOVERED:
            return "" if case.state is State.RECOVERED and case.paid_at else "the invoice is not paid"
        asking = step.template in ASKING
        if case.state in SILENT or not (case.live if asking else case.state is State.LOST):
            return f"the case is {case.state}"
        if not asking and (because := unsettled(case)):
            return because
        if case.under_way:
            return "a payment is under way: it may be wrong by the time it is read"
        if self.sequence.hold and case.in_flight:
            return "an attempt is under way"
        return ""

    # ------------------------------------------------------------ when

    def _counted(self, step: Planned) -> datetime | str:
        """The time that the step names, or why there is none."""
        case, facts = self.case, self.facts
        match step.on:
            case On.FAILURE:
                return case.failed_at + step.after
            case On.BEFORE_RETRY:
                return facts.next_try - step.after if facts.next_try else "no attempt is planned"
            case On.AFTER_RETRY:
                tried = _declined_again(case)
                return tried + step.after if tried else "no further attempt was declined yet"
            case On.BEFORE_DEADLINE:
                return case.deadline - step.after
            case On.PROMISE_DAY:
                return case.promised_until - step.after if case.promised_until else "nobody promised a day"
            case On.PROMISE_BROKEN:
                return facts.held_until + step.after if facts.held_until else "nobody promised a day"
            case On.RECOVERED:
                return case.paid_at + step.after if case.paid_at else "the invoice is not paid"
            case On.LOST:
                return case.ended_at + step.after if case.ended_at else "the subscription goes on"
            case On.LATE_RESCUE:
                return facts.rescued_at + step.after if facts.rescued_at else "no payment method was added since"

    def _of_track(self, wanted: list[tuple[datetime, Planned, Via, str]]) -> Iterator[Due | Passed]:
        """The messages of one track that ask: those ahead, and the latest of those that are late or too early."""
        late: list[tuple[datetime, Planned, Via, str]] = []
        for at, step, via, to in wanted:
            label = label_of(step.name, via, to)
            if newer := self._newer(label, at):
                yield Passed(label, f"{newer} had its turn at that time or later")
            elif at <= max(self.now, self.silent_until) and step.on is not On.PROMISE_DAY:
                late.append((at, step, via, to))
            else:
                yield self._asking(step, via, to, at)
        if late:
            latest = max(range(len(late)), key=lambda n: (late[n][0], n))
            for n, (at, step, via, to) in enumerate(late):
                if n == latest:
                    yield self._asking(step, via, to, max(at, self.silent_until))
                else:
                    yield Passed(label_of(step.name, via, to), f"{late[latest][1].name} is said instead")

    def _newer(self, label: str, at: datetime) -> str | None:
        """A message on the same track that ended after this one's time: the moment for this one has passed."""
        mine = track_of(label)
        return next((other for other, when in self.ended.items() if track_of(other) == mine and when >= at), None)

    def _asking(self, step: Planned, via: Via, to: str, at: datetime) -> Due | Passed:
        label, template = label_of(step.name, via, to), self._said_as(step, to)
        because = self._because(step)
        waited = self._behind_retry(step, at)
        if waited != at:
            at, because = waited, f"{because}; moved behind the attempt at {_minute(self.facts.next_try)}"
        allowed, template = self._allowed(step, template, at)
        if allowed != at:
            at, because = allowed, f"{because}; moved out of the hours without messages"
        if max(at, self.now) >= self.case.deadline:
            return Passed(label, "the recovery window ends before")
        return Due(label, at, because, template, via, to)

    def _said_as(self, step: Planned, to: str) -> Step:
        """A reminder to somebody who was never told is the first word of it."""
        return Step.PAYMENT_FAILED if step.template is Step.REMINDER and not self._heard(to) else step.template

    def _heard(self, to: str) -> bool:
        """Whether this person may have had any message about the failure, by whatever way."""
        return any(person_of(label) == to and how in MAY_HAVE_REACHED for label, how in self.outcomes.items())

    def _behind_retry(self, step: Planned, at: datetime) -> datetime:
        """'It failed' and 'thank you' within the same hour help nobody: wait for an attempt that is so near."""
        tried = self.facts.next_try
        if not self.sequence.hold or tried is None or step.on is On.BEFORE_RETRY:
            return at
        base = max(at, self.now)
        return max(at, tried + AFTER_TRY) if base - AFTER_TRY <= tried <= base + self.sequence.hold else at

    def _allowed(self, step: Planned, template: Step, at: datetime) -> tuple[datetime, Step]:
        """Out of quiet hours: later, but earlier what must not come late, and never to a day that it does not fit."""
        if template is Step.LAST_DAY:
            return self._on_last_day(at)
        if step.on in (On.BEFORE_DEADLINE, On.PROMISE_DAY) and not self._later_that_day(at):
            at = last_allowed(at, *self._hours)
        return self._forward(at), template

    def _later_that_day(self, at: datetime) -> bool:
        """Whether the next permitted hour is one of the same day: as many days are left then."""
        morning, zone = first_allowed(at, *self._hours), self.facts.zone
        return morning.astimezone(zone).date() == at.astimezone(zone).date() and morning < self.case.deadline

    def _on_last_day(self, at: datetime) -> tuple[datetime, Step]:
        """On the customer's last day; where its hours are all quiet, the day before, in the words of that day."""
        zone, deadline = self.facts.zone, self.case.deadline
        last = (deadline - datetime.resolution).astimezone(zone)  # what ends at midnight ends with the day before
        midnight = last.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
        found = self._forward(max(at, midnight))
        if found < deadline:
            return found, Step.LAST_DAY
        return self._forward(last_allowed(midnight - 6 * HOUR, *self._hours)), Step.BEFORE_DEADLINE

    def _forward(self, at: datetime) -> datetime:
        """A message that is late is looked at where it stands now."""
        at = first_allowed(at, *self._hours)
        if self.now <= at:
            return at
        later = first_allowed(self.now, *self._hours)
        return at if later == self.now else later

    @property
    def _hours(self) -> tuple[tuple[float, float] | None, bool, tzinfo]:
        return self.sequence.quiet, self.sequence.weekdays, self.facts.zone

    def _closing(self, step: Planned, via: Via, to: str, at: datetime) -> Due | Passed:
        """Thanks, or word of the end: once, and not long after."""
        label = label_of(step.name, via, to)
        if step.template is Step.RECOVERED and not self._heard(to):
            return Passed(label, "nobody was told of the failure: a silent recovery stays silent")
        if self.now - at > TOO_LATE:
            return Passed(label, f"it would have been said at {_minute(at)}")
        return Due(label, self._forward(at), self._because(step), step.template, via, to)

    def _because(self, step: Planned) -> str:
        if step.template is Step.RECOVERED:
            return "paid after a message that may have reached the customer"
        if step.on is On.FAILURE and step.template is Step.PAYMENT_FAILED:
            return f"first message, {step.after / HOUR:g} hours after the payment failed"
        return f"{step.name}: {span(step.after)} {WHEN[step.on]}"


def _declined_again(case: RecoveryCase) -> datetime | None:
    """When the first attempt after the failure was declined, ours or Stripe's."""
    ours = (attempt.at for attempt in case.executed if attempt.answer in (Answer.DECLINED, Answer.NEEDS_ACTION))
    others = (no.at for no in case.noes if no.at > case.failed_at + AGAIN)
    return min((*ours, *others), default=None)


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else ""
