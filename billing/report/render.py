"""A bridge as lines of text and as a JSON-able value. The figures are the bridge's own; nothing is computed here.

Next to every figure stand its period, basis, currency basis, policy and the date up to which the ledger knew.
"""

from __future__ import annotations

from typing import Any

from billing.money import Amount
from billing.report.bridge import Basis, Bridge, percent

# (field, sign in the table, name); the name of the recovered line is the product's promise
LINES = (
    ("closed_start", "", "opening MRR as closed"),
    ("prior_period", "+", "prior-period adjustment"),
    ("start", "", "opening MRR"),
    ("expansion", "+", "expansion"),
    ("downgrade", "-", "downgrade"),
    ("restructuring", "-", "contract restructuring"),
    ("voluntary_churn", "-", "voluntary churn"),
    ("gross_involuntary_churn", "-", "gross involuntary churn"),
    ("recovered_involuntary_churn", "+", "recovered involuntary churn"),
    ("retained", "=", "retained from the opening base"),
    ("new_business", "+", "new business"),
    ("reactivation", "+", "reactivation"),
    ("recovered_late", "+", "recovered after the period of the loss"),
    ("fx", "+", "currency"),
    ("end", "=", "closing MRR"),
)
MEANING = {
    "closed_start": "the closing that was printed when the month before was closed",
    "prior_period": "what became known of that month after it was closed",
    "start": "the base: everybody who had MRR just before the period",
    "expansion": "of the base: more seats, a higher plan or price, another product, a discount that ended",
    "downgrade": "of the base: fewer seats, a lower plan, a product dropped, a pause; still a customer",
    "restructuring": "of the base: a lower price for the same product and quantity: renegotiation, discount, interval",
    "voluntary_churn": "of the base: everything ended by decision, by dispute or with a fixed term",
    "gross_involuntary_churn": "of the base: lost because a payment failed, whether or not it came back",
    "recovered_involuntary_churn": "of the line above: paid again; no claim about who caused it or whether it lasts",
    "retained": "what the base pays at the close; divided by the opening it is NRR",
    "new_business": "customers with their first MRR ever",
    "reactivation": "customers from before who had none at the opening",
    "recovered_late": "paid again in this period after a loss in an earlier one",
    "fx": "closing instead of opening exchange rates, and nothing else",
    "end": "everybody's MRR at the close",
}
ONLY_IN = {"retained": Basis.NETTED, "recovered_late": Basis.ACTIVITY}
AFTER_CLOSE = frozenset({"closed_start", "prior_period"})
NET_NAMES = {"gross_involuntary_churn": "involuntary churn, net of recovered"}
MEMOS = (
    ("recovered_involuntary_churn", "recovered involuntary churn"),
    ("recovered_live", "recovered and still live at the close"),
    ("late_recovery", "late recovery, inside reactivation or expansion"),
    ("at_risk", "at risk at the close"),
)
RATIOS = (
    ("nrr", "net revenue retention (NRR)"),
    ("grr", "gross revenue retention (GRR)"),
    ("gap", "gap between them"),
    ("nrr_if_at_risk_lost", "net revenue retention if all at risk were lost"),
)


def table(bridge: Bridge, display: str = "gross") -> list[tuple[str, str, str]]:
    """(sign, name, amount) rows; `display` is gross, or net for recoveries taken off the loss instead of beside it."""
    shown = bridge.net() if display == "net" else bridge
    rows = []
    for field, sign, name in LINES:
        if ONLY_IN.get(field, bridge.basis) is not bridge.basis:
            continue
        if field in AFTER_CLOSE and bridge.closed_start is None:
            continue
        minor = getattr(shown, field)
        if field == "fx" and not minor:
            continue
        if display == "net":
            if field == "recovered_involuntary_churn":
                continue
            name = NET_NAMES.get(field, name)
        negative = sign == "+" and minor < 0
        rows.append(("-" if negative else sign, name, _decimal(abs(minor) if negative else minor, bridge.unit)))
    return rows


def memos(bridge: Bridge) -> list[tuple[str, str]]:
    """(name, value) rows under the table: what the lines alone do not say."""
    rows = [(name, _grouped(_decimal(getattr(bridge, field), bridge.unit))) for field, name in MEMOS]
    rows.append(("open cases at the close", str(bridge.at_risk_cases)))
    if bridge.at_risk_since:
        days = (bridge.period.closes - bridge.at_risk_since).days
        rows.append(("oldest open case", f"{days} day{'' if days == 1 else 's'}"))
    rows += [(name, _ratio(percent(getattr(bridge, field)), field)) for field, name in RATIOS]
    rows.append(("customers at the opening, of them lost", f"{bridge.logos_start}, {bridge.logos_lost}"))
    return rows


def labels(bridge: Bridge) -> list[tuple[str, str]]:
    """(name, value) rows that every print of the bridge carries."""
    return [
        ("period", str(bridge.period)),
        ("unit", f"{_code(bridge)} a month"),
        ("basis", str(bridge.basis)),
        ("currency basis", bridge.currency_basis),
        ("policy", bridge.policy),
        ("as known at", bridge.as_known.isoformat(timespec="seconds")),
    ]


def text(bridge: Bridge, display: str = "gross") -> str:
    """The whole report as plain text with aligned columns."""
    rows = [(sign, name, _grouped(value)) for sign, name, value in table(bridge, display)]
    amount = max(len(value) for _, _, value in rows)
    label = max(len(name) for name, _ in [*memos(bridge), *labels(bridge)])
    lines = [f"NRR bridge, {bridge.period}", f"{_code(bridge)} a month", ""]
    lines += [f"{sign or ' '} {name:<40} {value:>{amount}}" for sign, name, value in rows]
    lines += ["", *(f"{name:<{label}}  {value}" for name, value in memos(bridge))]
    lines += ["", *(f"{name:<{label}}  {value}" for name, value in labels(bridge))]
    return "\n".join(lines)


def to_json(bridge: Bridge, display: str = "gross") -> dict[str, Any]:
    """Minor units and decimal strings of every line, with the labels that make them comparable."""
    shown = bridge.net() if display == "net" else bridge
    names = [field for field, _, _ in LINES if field not in AFTER_CLOSE or bridge.closed_start is not None]
    names += [field for field, _ in MEMOS if field not in names]
    return {
        "period": {
            "start": bridge.period.start.isoformat(),
            "end": bridge.period.end.isoformat(),
            "zone": bridge.period.zone,
        },
        "unit": bridge.unit,
        "basis": str(bridge.basis),
        "display": display,
        "currency_basis": bridge.currency_basis,
        "policy": bridge.policy,
        "as_known": bridge.as_known.isoformat(),
        "minor": {name: getattr(shown, name) for name in names},
        "decimal": {name: _decimal(getattr(shown, name), bridge.unit) for name in names},
        **{name: percent(getattr(bridge, name)) for name, _ in RATIOS},
        "at_risk_cases": bridge.at_risk_cases,
        "at_risk_since": bridge.at_risk_since.isoformat() if bridge.at_risk_since else None,
        "logos": {"start": bridge.logos_start, "lost": bridge.logos_lost},
    }


def _decimal(minor: int, unit: str) -> str:
    return str(Amount(minor, unit)).partition(" ")[0]


def _code(bridge: Bridge) -> str:
    return bridge.unit.partition("/")[0].upper()


def _grouped(value: str) -> str:
    """`28122.29` as `28,122.29`, for people."""
    whole, point, places = value.lstrip("-").partition(".")
    return f"{'-' if value.startswith('-') else ''}{int(whole):,}{point}{places}"


def _ratio(value: str | None, field: str) -> str:
    """A gap is a difference of two percentages, so its unit is points."""
    if value is None:
        return "undefined: nothing at the opening"
    return f"{value} points" if field == "gap" else f"{value} %"
