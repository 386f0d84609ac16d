"""What must be right before Reprieve can be trusted with money, each thing by name and with the way to mend it.

A check asks one question and answers with findings; it changes nothing and never shows a secret. Adding a check is
adding a line to the list at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TextIO

from sqlalchemy.exc import SQLAlchemyError

from config.settings import BadSettings, load
from worker import logs
from worker.app import wall_clock
from worker.db import Database
from worker.doctor import (
    accounts,
    ahead,
    ends,
    machine,
    messages,
    retries,
    rules,
    secrets,
    sequences,
    stripe_mail,
    waiting,
)
from worker.doctor.finding import Answer, Check, Finding, Level, Patient
from worker.stripe_gateway import Gateways


def run(as_json: bool, out: TextIO, now: Callable[[], datetime] = wall_clock) -> int:
    """Print every finding; 1 if one of them must be mended, else 0."""
    findings = list(examine(now))
    if as_json:
        json.dump([asdict(finding) for finding in findings], out, indent=2)
        out.write("\n")
    else:
        for finding in findings:
            out.write(f"{finding.level:<4}  {finding.name}: {finding.said}\n")
            if finding.fix:
                out.write(f"      -> {finding.fix}\n")
        out.write(f"{_counted(findings)}\n")
    return int(any(finding.level is Level.FAIL for finding in findings))


def examine(now: Callable[[], datetime] = wall_clock) -> Iterator[Finding]:
    """All findings, in the order of the list; broken settings end the examination."""
    try:
        settings = load()
    except BadSettings as error:
        yield Finding("settings", Level.FAIL, str(error), "docs/settings.md describes every setting")
        return
    logs.configure(settings.model_copy(update={"log_level": "error"}))
    yield Finding("settings", Level.OK, f"valid, {len(settings.all_accounts)} Stripe account(s)")
    db = Database(settings.database_url)
    patient = Patient(settings, db, Gateways(settings, db.outside_transaction, lambda _: None), now)
    try:
        failed: set[str] = set()
        for name, check in CHECKS.items():
            if NEEDS.get(name) in failed:
                failed.add(name)  # asking would only repeat what is known
                continue
            for answer in _asked(check, patient):
                yield Finding(name, *answer)
                failed |= {name} if answer[0] is Level.FAIL else set()
    finally:
        patient.gateways.close()
        db.close()


def _asked(check: Check, patient: Patient) -> Iterator[Answer]:
    try:
        yield from check(patient)
    except SQLAlchemyError as error:
        yield Level.FAIL, f"the database did not answer ({type(error).__name__})", "mend the database first"


def _counted(findings: list[Finding]) -> str:
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    return ", ".join(f"{number} {level}" for level, number in counts.items())


CHECKS: dict[str, Check] = {
    "python": machine.python,
    "time zones": machine.time_zones,
    "database": machine.database,
    "schema": machine.schema,
    "durability": machine.durability,
    "redis": machine.redis,
    "webhook secrets": accounts.webhook_secrets,
    "api keys": accounts.keys,
    "stripe": accounts.stripe,
    "mail": messages.mail,
    "stripe's mails": stripe_mail.stripe_mail,
    "recovery links": secrets.recovery_links,
    "suppression": secrets.suppression,
    "sms": secrets.sms,
    "templates": messages.templates,
    "own texts": messages.own_texts,
    "policies": messages.policies,
    "network rules": rules.networks,
    "ends": ends.ends,
    "warnings ahead": ahead.warnings,
    "sequences": sequences.sequences,
    "kill switch": waiting.kill_switch,
    "leftovers": waiting.leftovers,
    "queue": waiting.people,
    "decline codes": waiting.codes,
    "retry model": retries.model,
    "backlog": waiting.backlog,
}

# What can only be asked when something else holds.
NEEDS = {
    "schema": "database",
    "durability": "database",
    "own texts": "schema",
    "kill switch": "schema",
    "leftovers": "schema",
    "queue": "schema",
    "decline codes": "schema",
    "retry model": "schema",
    "backlog": "schema",
}
