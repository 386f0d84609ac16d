"""Facts of one customer, in the neutral words of the ledger (metrics definitions, section 6).

Every reading starts from all facts, so the order of arrival and repetition mean nothing. Within one second Stripe's
order is not told: beginnings come first, terminal states last, updates follow each other's statuses, then event ids.
Replaceable per billing system: another reader that yields the same events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.events import occurrences as seen
from billing.ledger.facts import Fact
from billing.ledger.invoices import Hints, Story, Usage, hints_in, stories
from billing.ledger.subscription import Reading
from billing.ledger.vocabulary import LedgerEvent

TERMINAL = frozenset({"canceled", "incomplete_expired"})
READ = "read"  # a snapshot that we asked for ourselves
CLOCKS_AGREE = timedelta(minutes=5)  # our clock and Stripe's, and Stripe's whole seconds


def ledger_events(facts: Iterable[Fact]) -> list[LedgerEvent]:
    """What the facts of one customer say, as events. Facts about a subscription never seen itself say nothing yet."""
    known = once(facts)
    told, hints = stories(known), hints_in(known)
    events: list[LedgerEvent] = []
    for subscription, moments in _by_subscription(known, told).items():
        events += _read(subscription, moments, told, hints)
    return events


def once(facts: Iterable[Fact]) -> list[Fact]:
    """Each source once, the one recorded first, in the order of time."""
    kept: dict[str, Fact] = {}
    for fact in facts:
        twin = kept.get(fact.source)
        if twin is None or (fact.recorded_at and twin.recorded_at and fact.recorded_at < twin.recorded_at):
            kept[fact.source] = fact
    return sorted(kept.values(), key=lambda fact: (fact.at, fact.source))


Telling = (
    seen.SubscriptionSeen
    | seen.InvoiceFailed
    | seen.DeadlinePassed
    | seen.ChargeRefunded
    | seen.DiscountSeen
    | Usage
    | Story
)


@dataclass(frozen=True, slots=True)
class _Moment:
    """One fact, or the end of one invoice, at its place in the subscription's time."""

    at: datetime
    rank: int
    source: str
    fact: Fact
    what: Telling


def _by_subscription(facts: Sequence[Fact], told: dict[str, Story]) -> dict[str, list[_Moment]]:
    moments: dict[str, list[_Moment]] = defaultdict(list)
    of_all: list[_Moment] = []  # a coupon of the whole customer concerns every subscription
    for fact in facts:
        match fact.what:
            case seen.SubscriptionSeen() as what:
                moments[what.subscription.id].append(_snapshot(fact, what))
            case seen.InvoiceRead(subscription=subscription) if subscription is not None:
                what = seen.SubscriptionSeen(subscription, READ)
                moments[subscription.id].append(_snapshot(fact, what))
            case seen.InvoiceFailed(invoice=invoice) as failed if invoice.subscription:
                moments[invoice.subscription].append(_Moment(fact.at, 1, fact.source, fact, failed))
            case seen.DeadlinePassed(invoice=id) as passed if id in told and told[id].subscription:
                moments[told[id].subscription or ""].append(_Moment(fact.at, 3, fact.source, fact, passed))
            case seen.DiscountSeen(subscription=str(subscription)) as discount:
                moments[subscription].append(_Moment(fact.at, 1, fact.source, fact, discount))
            case seen.DiscountSeen() as discount:
                of_all.append(_Moment(fact.at, 1, fact.source, fact, discount))
            case seen.ChargeRefunded() as refund:
                story = next((each for each in told.values() if _pays(refund, each)), None)
                if story and story.subscription:
                    moments[story.subscription].append(_Moment(fact.at, 3, fact.source, fact, refund))
            case _:
                pass
    for story in told.values():
        for at, fact_or_none in ((story.paid_at, story.paid_fact), (story.given_up_at, story.given_up_by)):
            if at is not None and fact_or_none is not None and story.subscription:
                moments[story.subscription].append(_Moment(at, 2, fact_or_none.source, fact_or_none, story))
        if story.subscription and story.usage and story.usage_fact:
            used = _Moment(story.usage.at, 1, story.usage_fact.source, story.usage_fact, story.usage)
            moments[story.subscription].append(used)
    for told_of_one in moments.values():
        told_of_one += of_all
    return moments


def _snapshot(fact: Fact, what: seen.SubscriptionSeen) -> _Moment:
    return _Moment(fact.at, 4 if what.subscription.status in TERMINAL else 0, fact.source, fact, what)


def _pays(refund: seen.ChargeRefunded, story: Story) -> bool:
    return refund.charge in story.payments or (refund.payment_intent or "") in story.payments


def _read(subscription: str, moments: list[_Moment], told: dict[str, Story], hints: Hints) -> list[LedgerEvent]:
    ordered = _in_order(_without_stale_reads(moments))
    snapshots = [(each.at, each.what) for each in ordered if isinstance(each.what, seen.SubscriptionSeen)]
    reading = Reading(subscription, told, hints, snapshots)
    for moment in ordered:
        match moment.what:
            case seen.SubscriptionSeen() as what:
                reading.see(moment.fact, what)
            case seen.InvoiceFailed() as failed:
                reading.failed(moment.fact, failed)
            case seen.DeadlinePassed(invoice=invoice):
                reading.deadline(moment.fact, invoice)
            case seen.ChargeRefunded() as refund:
                reading.refunded(moment.fact, refund)
            case seen.DiscountSeen() as discount:
                reading.discounted(moment.fact, discount)
            case Usage() as usage:
                reading.used(moment.fact, usage)
            case story if moment.fact is story.paid_fact:
                reading.paid(moment.fact, story)
            case story:
                reading.given_up(moment.fact, story)
    return reading.events


def _without_stale_reads(moments: list[_Moment]) -> list[_Moment]:
    """A read tells when the answer came, not what it is older than: beside Stripe's own events it is left out."""
    told = [each.at for each in moments if isinstance(each.what, seen.SubscriptionSeen) and each.what.change != READ]

    def stale(each: _Moment) -> bool:
        read = isinstance(each.what, seen.SubscriptionSeen) and each.what.change == READ
        return read and any(abs(each.at - at) <= CLOCKS_AGREE for at in told)

    return [each for each in moments if not stale(each)]


def _in_order(moments: list[_Moment]) -> list[_Moment]:
    """By time, rank and source; the snapshots of one second follow each other's statuses where they tell them."""
    ordered = sorted(moments, key=lambda each: (each.at, each.rank, _rank_of(each.what), each.source))
    status: str | None = None
    at = 0
    while at < len(ordered):
        end = at + 1
        while end < len(ordered) and (ordered[end].at, ordered[end].rank) == (ordered[at].at, ordered[at].rank):
            end += 1
        if ordered[at].rank == 0:
            if end - at > 1:
                ordered[at:end] = _chain(ordered[at:end], status)
            last = ordered[end - 1].what
            status = last.subscription.status if isinstance(last, seen.SubscriptionSeen) else status
        at = end
    return ordered


def _rank_of(what: object) -> int:
    return 0 if isinstance(what, seen.SubscriptionSeen) and what.change == "created" else 1


def _chain(moments: list[_Moment], status: str | None) -> list[_Moment]:
    """Each next snapshot is one that says it came from the present status, else the first that is left."""
    left, chained = list(moments), []
    while left:
        following = next((each for each in left if _came_from(each.what) == status is not None), left[0])
        left.remove(following)
        chained.append(following)
        if isinstance(following.what, seen.SubscriptionSeen):
            status = following.what.subscription.status
    return chained


def _came_from(what: object) -> str | None:
    """The status before a snapshot, as far as it tells; without a change of status it is the same as after."""
    if not isinstance(what, seen.SubscriptionSeen) or what.change == "created":
        return None
    return what.previous_status or what.subscription.status
