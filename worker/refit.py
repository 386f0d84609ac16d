"""Once a week the retry model is fitted anew from the closed cases, checked, and used only if it passed.

The fitting is done by a child process (`python -m worker.learning`); here it is started, and what it says is kept. A
model that fails its checks is kept as refused and the old one goes on; too few cases change nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, select

from billing.case import ENDED
from billing.retry.model import BadModel, model_of, table_of
from worker import retry_models, schedule
from worker.app import App
from worker.learning import FEWEST_CASES, WITHOUT_NUMPY
from worker.store import Owner
from worker.tables import recovery_case

log = structlog.get_logger(__name__)

JOB, FAILED = "retry model", "failed"
WEEK, TRY_AGAIN = timedelta(days=7), timedelta(hours=6)
LONGEST = 900.0  # seconds
ROOT = Path(__file__).parents[1]


class CannotLearn(ValueError):
    """The fitting itself failed; the message says why."""


def run_due(app: App) -> int:
    """Fit what is due; how many accounts that were. Cheap when nothing is."""
    done = 0
    for account in app.settings.all_accounts:
        owner = Owner(account.id, account.livemode)
        if not app.stopping.is_set() and schedule.take(app, owner, JOB, WEEK):
            run(app, owner)
            done += 1
    return done


def run(app: App, owner: Owner) -> str:
    """Fit, check, and use or refuse the model of one account now; what came of it, in a sentence."""
    wait = WEEK
    try:
        closed = _closed(app, owner)
        said = _verdict(app, owner, _fitted(app, owner)) if closed >= FEWEST_CASES else _thin(closed)
    except CannotLearn as error:
        wait, said = TRY_AGAIN, f"{FAILED}: {error}; the model in use stays"
        log.error("retry_model_failed", account=owner.account, because=said)
    schedule.done(app, owner, JOB, wait, said)
    app.policies.refresh()
    return said


def _verdict(app: App, owner: Owner, answer: Mapping[str, Any]) -> str:
    """Keep what was fitted, and say whether it is used."""
    if "thin" in answer:
        return _thin(answer["thin"])
    version, because = answer["version"], answer["because"]
    try:
        model_of(answer["parameters"])
    except BadModel as error:
        because = because or f"it cannot be read: {error}"
    now = app.now()
    with app.db.begin() as db:
        if any(known.version == version for known in retry_models.models(db, owner)):
            return f"{version} was fitted before"
        retry_models.add(db, owner, version, answer["cases"], answer["checks"], answer["parameters"], now)
        if because:
            retry_models.refuse(db, owner, version, because, now)
        else:
            checked = answer["checks"]["held_out"]
            why = f"passed: {100 * checked['ece']:.1f} points off what came of {checked['attempts']} attempts"
            retry_models.use(db, owner, version, "reprieve", why, now)
    if because:
        log.warning("retry_model_refused", account=owner.account, version=version, because=because)
        return f"{version} is refused: {because}; the model in use stays"
    log.info("retry_model_active", account=owner.account, version=version, cases=answer["cases"])
    return f"{version} is in use, fitted from {answer['cases']} closed cases"


def _closed(app: App, owner: Owner) -> int:
    """How many cases have ended: counted here, so that no child is started in vain."""
    case = recovery_case
    ended = case.c.state.in_([state.value for state in ENDED])
    with app.db.read() as db:
        return db.scalar(select(func.count()).select_from(case).where(owner.of(case), ended)) or 0


def _thin(cases: int) -> str:
    return f"too few to learn from: {cases} closed cases, {FEWEST_CASES} are wanted; the model in use stays"


def _fitted(app: App, owner: Owner) -> dict[str, Any]:
    """What the child says. Raises CannotLearn."""
    app.db.outside_transaction("fitting a model")
    request = {
        "database_url": app.settings.database_url,
        "account": owner.account,
        "livemode": owner.livemode,
        "now": app.now().isoformat(),
        "present": table_of(app.policies.model(owner)),
    }
    code, answer, error = _child(app, json.dumps(request))
    if code == WITHOUT_NUMPY:
        raise CannotLearn("numpy is not installed: `pip install 'reprieve[learning]'`")
    if code != 0:
        last = error.strip().splitlines()[-1:] or ["it said nothing"]
        raise CannotLearn(f"the fitting ended with code {code}: {last[0][:200]}")
    found: dict[str, Any] = json.loads(answer)
    return found


def _child(app: App, request: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr); it is ended when this process stops, or when it takes too long."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    with subprocess.Popen(
        [sys.executable, "-m", "worker.learning"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **threads, "PYTHONPATH": path},
    ) as child:
        told: str | None = request
        until = time.monotonic() + LONGEST
        while True:
            try:
                answer, error = child.communicate(told, timeout=0.5)
                return child.returncode, answer, error
            except subprocess.TimeoutExpired:
                told = None  # it is on its way
                if app.stopping.is_set() or time.monotonic() > until:
                    child.kill()
                    child.communicate()
                    raise CannotLearn("the fitting was cut off") from None
