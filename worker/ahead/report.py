"""What `reprieve ahead` prints: how the warnings stand, what they did, and the story of one customer. Reads only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

from sqlalchemy import Connection, func, select

from billing.ahead.experiment import Arm
from billing.ahead.results import Difference, Results, Seen, results
from billing.money import MONTHLY, Amount
from billing.notices.sequence import AHEAD, Step
from billing.report.interval import Share, wilson
from worker import schedule
from worker.ahead import plan
from worker.ahead_tables import ahead_assignment, ahead_renewal, ahead_warning
from worker.app import App
from worker.store import Owner
from worker.stripe_sends import already_sent_by_stripe

STEPS = [step for step in Step if step in AHEAD]


def of(db: Connection, owner: Owner, step: Step) -> Results:
    """What came of one kind of warning."""
    table = ahead_warning
    drawn = owner.of(table) & (table.c.step == step.value) & table.c.arm.is_not(None)
    return results(step, [_seen(row) for row in db.execute(select(table).where(drawn).order_by(table.c.id))])


def _seen(row: Any) -> Seen:
    mended = row.mended_at is not None and row.mended_at < row.renewal_at
    return Seen(
        customer=row.customer,
        arm=Arm(row.arm),
        at=row.arm_at,
        outcome=row.outcome,
        mended=mended,
        by_updater=mended and row.mended_by == "updater",
        mrr=Amount(row.mrr, row.currency + MONTHLY) if row.mrr is not None and row.currency else None,
        sent=row.sent,
    )


# ---------------------------------------------------------------- results


def tell_results(app: App, owners: Sequence[Owner], as_json: bool, out: TextIO) -> None:
    """The comparison of every kind that anybody was drawn for."""
    told: list[dict[str, Any]] = []
    for owner in owners:
        with app.db.read() as db:
            found = [of(db, owner, step) for step in STEPS]
        if as_json:
            told += [{"account": owner.account, "livemode": owner.livemode, **asdict(each)} for each in found]
            continue
        for each in found:
            out.write(f"{owner.account} ({'live' if owner.livemode else 'test'}), {each.step}\n")
            out.write("\n".join(f"  {line}" for line in _lines(each)) + "\n")
    if as_json:
        json.dump(told, out, indent=2, default=str)
        out.write("\n")


def _lines(found: Results) -> list[str]:
    if not found.told.ended + found.told.open + found.control.ended + found.control.open:
        return [found.verdict]
    return [
        f"{'':<26}{'told':>22}{'control':>22}   told - control (95 %)",
        f"{'customers':<26}{found.told.ended + found.told.open:>22}{found.control.ended + found.control.open:>22}",
        f"{'renewal still to come':<26}{found.told.open:>22}{found.control.open:>22}",
        f"{'message accepted':<26}{found.told.sent:>22}{'-':>22}",
        _row("gave another way to pay", found.told.mended, found.control.mended, found.mended),
        f"{'  of them by the updater':<26}{found.told.by_updater:>22}{found.control.by_updater:>22}",
        _row("renewal failed", found.told.failed, found.control.failed, found.failed),
        _row("left before the renewal", found.told.gone, found.control.gone, found.gone),
        f"{'MRR of ended renewals':<26}{_money(found.told.mrr):>22}{_money(found.control.mrr):>22}",
        f"{'MRR whose renewal failed':<26}{_money(found.told.mrr_failed):>22}{_money(found.control.mrr_failed):>22}",
        found.verdict,
    ]


def _row(name: str, told: Share, control: Share, difference: Difference | None) -> str:
    said = ""
    if difference is not None:
        low, high = difference.interval
        said = f"   {100 * difference.points:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{name:<26}{_share(told):>22}{_share(control):>22}{said}"


def _share(share: Share) -> str:
    low, high = wilson(share)
    return f"{share.hits} of {share.of} ({100 * low:.0f}-{100 * high:.0f} %)" if share.of else "0 of 0"


def _money(amounts: Sequence[Amount]) -> str:
    return ", ".join(map(str, amounts)) or "-"


# ---------------------------------------------------------------- how it stands


def status(app: App, owner: Owner) -> dict[str, Any]:
    """What is switched on, what is known, what waits, and what the last look said."""
    policy = app.policies.current(owner.account, owner.livemode)
    with app.db.read() as db:
        renews = owner.of(ahead_renewal) & ahead_renewal.c.renews_at.is_not(None)
        known = db.scalar(select(func.count()).select_from(ahead_renewal).where(renews)) or 0
        mine = owner.of(ahead_warning)
        columns = (ahead_warning.c.step, ahead_warning.c.state, func.count().label("number"))
        rows = db.execute(select(*columns).where(mine).group_by(*columns[:2])).all()
        job = schedule.of(db, owner, plan.JOB)
    counts: dict[str, Counter[str]] = {step.value: Counter() for step in STEPS}
    for row in rows:
        counts[row.step][row.state] = row.number
    return {
        "account": owner.account,
        "livemode": owner.livemode,
        "policy": policy.id,
        "off": plan.off(app, owner),
        "on": [step.value for step in plan.steps_of(app, owner, policy)],
        "left_to_stripe": [
            step.value for step in policy.ahead.steps if already_sent_by_stripe(app.settings, owner, step)
        ],
        "renewals_known": known,
        "warnings": {step: dict(each) for step, each in counts.items() if each},
        "last_look": job.because if job else None,
        "next_look": job.due_at.isoformat() if job else None,
    }


def tell_status(app: App, owners: Sequence[Owner], as_json: bool, out: TextIO) -> None:
    found = [status(app, owner) for owner in owners]
    if as_json:
        json.dump(found, out, indent=2)
        out.write("\n")
        return
    for each in found:
        out.write(f"{each['account']} ({'live' if each['livemode'] else 'test'}), policy {each['policy']}\n")
        out.write(f"  warns of: {', '.join(each['on']) or 'nothing'}{'; ' + each['off'] if each['off'] else ''}\n")
        if each["left_to_stripe"]:
            out.write(f"  left to Stripe: {', '.join(each['left_to_stripe'])}\n")
        out.write(f"  renewals known: {each['renewals_known']}\n")
        for step, counts in each["warnings"].items():
            out.write(f"  {step}: {', '.join(f'{number} {state}' for state, number in sorted(counts.items()))}\n")
        out.write(f"  last look: {each['last_look'] or 'none yet'}\n")


def tell_customer(app: App, owners: Sequence[Owner], customer: str, out: TextIO) -> None:
    """Every warning about one customer, with its reason. Raises LookupError when there is none."""
    lines = []
    with app.db.read() as db:
        for owner in owners:
            mine = owner.of(ahead_warning) & (ahead_warning.c.customer == customer)
            for row in db.execute(select(ahead_warning).where(mine).order_by(ahead_warning.c.id)):
                lines.append(f"{row.planned_at:%Y-%m-%d}  {row.step} {row.subject}: {row.state}: {row.because}")
                if row.arm:
                    lines.append(f"            {row.arm_at:%Y-%m-%d %H:%M} arm {row.arm}; message {row.sent or 'none'}")
                if row.mended_at:
                    lines.append(f"            {row.mended_at:%Y-%m-%d} another way to pay, by the {row.mended_by}")
                if row.ended_at:
                    lines.append(
                        f"            {row.ended_at:%Y-%m-%d} renewal of {row.renewal_at:%Y-%m-%d}: {row.outcome}"
                    )
            drawn = owner.of(ahead_assignment) & (ahead_assignment.c.customer == customer)
            for row in db.execute(select(ahead_assignment).where(drawn).order_by(ahead_assignment.c.id)):
                lines.append(
                    f"{row.at:%Y-%m-%d}  {row.step}: arm {row.arm} for good (control {row.share}, {row.policy})"
                )
    if not lines:
        raise LookupError(f"no warning is known for the customer {customer}")
    out.write("\n".join(lines) + "\n")
