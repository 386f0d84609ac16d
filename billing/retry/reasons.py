"""A planned attempt in words that a support agent can say: the three strongest reasons, no code and no formula."""

from __future__ import annotations

from collections import defaultdict

from billing.retry.belief import Belief, Facts
from billing.retry.calendars import date_of, is_payday
from billing.retry.model import BLOCK, FUNDS, OUTAGE

SENTENCES = {
    FUNDS: "money was probably missing",
    BLOCK: "the bank is probably being careful for a while",
    "block_for_good": "the bank probably refuses until the customer speaks to it",
    OUTAGE: "the bank or its processor probably had an outage",
    "stale": "the card was probably replaced or has expired",
    "dead": "the card or account is probably closed",
    "authentication": "the bank probably wants the customer to confirm",
    "leaving": "the customer probably stopped the payment",
    "gone": "the account has probably been given up meanwhile",
}
STRONGEST = 3
SOON_AFTER = 2  # days after a pay-day
STANDS_OUT = 0.15  # share of the belief
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def causes(belief: Belief) -> dict[str, float]:
    """How likely each cause is, the likeliest first."""
    found = {FUNDS: sum(belief.funds_weight), BLOCK: sum(belief.block_weight), OUTAGE: belief.outage, **belief.never}
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def why(belief: Belief, facts: Facts, hours: float, told: float, rule: str) -> str:
    """Why the attempt at that local hour. `told`: its chance; `rule`: what forbids an earlier one, empty if nothing."""
    likely = causes(belief)
    found: list[tuple[float, str]] = []
    if rule:
        found.append((2.0, rule))
    if belief.updated:
        found.append((3.0, "the card was renewed after the last refusal, so it is tried at once"))
    else:
        cause, share = next(iter(likely.items()))
        found.append((share, f"{SENTENCES[cause]} ({_percent(share)})"))
        found += _of_time(belief, hours, likely)
        if likely[BLOCK] > STANDS_OUT / 2:
            found.append((likely[BLOCK], "every refusal makes a careful bank more careful, so attempts stand apart"))
        if likely[OUTAGE] > STANDS_OUT:
            found.append((likely[OUTAGE], "most outages end within hours"))
    found.append((0.1, f"the chance is about {_percent(told)}"))
    if facts.utc_offset_h is None:
        found.append((1.0, "the customer's local time is not known, so the hour means nothing"))
    strongest = sorted(found, key=lambda pair: -pair[0])[:STRONGEST]
    return "; ".join(sentence for _, sentence in strongest)


def not_worth(belief: Belief, facts: Facts) -> str:
    """Why no further attempt is made."""
    strongest = [f"{SENTENCES[cause]} ({_percent(share)})" for cause, share in list(causes(belief).items())[:2]]
    refused = len(facts.tries)
    times = "once" if refused == 1 else f"{refused} times"
    return f"no attempt is worth its cost: refused {times}; " + "; ".join(strongest)


def _of_time(belief: Belief, hours: float, likely: dict[str, float]) -> list[tuple[float, str]]:
    """What speaks for this day: a pay-day that the belief expects just before it."""
    if likely[FUNDS] < STANDS_OUT:
        return []
    day = int((hours + belief.shift) // 24)
    by_payday: dict[int, float] = defaultdict(float)
    for weight, curve in zip(belief.funds_weight, belief.funds, strict=True):
        paid = next((day - back for back in range(SOON_AFTER + 1) if is_payday(curve.rule, day - back)), None)
        if paid is not None:
            by_payday[paid] += weight
    if not by_payday:
        return [(likely[FUNDS] / 2, "no pay-day stands out, so attempts are spread over the window")]
    paid, share = max(by_payday.items(), key=lambda pair: pair[1])
    if share < STANDS_OUT:
        return [(likely[FUNDS] / 2, "no pay-day stands out, so attempts are spread over the window")]
    on = date_of(paid)
    return [(share + 0.2, f"many customers like this one are paid on {WEEKDAYS[paid % 7]} {on.day} {on:%B}")]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
