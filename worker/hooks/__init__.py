"""What mail providers and mail servers tell us about our messages: each source has a file that reads its reports."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from worker import outgoing, suppression
from worker.app import App
from worker.suppression import Report

log = structlog.get_logger(__name__)


class BadReport(ValueError):
    """This is not a report as its source writes them; the message never repeats what stood in it."""


def book(app: App, reports: Iterable[Report], message_id: str | None = None) -> int:
    """Keep what was told, in one transaction; for how many cases it was news."""
    news = 0
    with app.db.begin() as db:
        for report in reports:
            for each in suppression.take(db, app.settings, report, app.now(), message_id):
                news += 1
                log.info("contact_reported", kind=report.kind, source=report.source, invoice=each.invoice)
                data = {
                    "invoice": each.invoice,
                    "customer": each.customer,
                    "kind": report.kind,
                    "source": report.source,
                }
                outgoing.put(
                    app, db, each.owner, "contact.bounced", f"{report.source}:{report.id}:{each.invoice}", data
                )
    return news
