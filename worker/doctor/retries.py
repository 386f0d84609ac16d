"""Whether the model that times the retries can be trusted: what it foretold, and what became of the last fitting."""

from __future__ import annotations

from collections.abc import Iterator

from billing.retry.model import BadModel
from config.priors import priors
from worker import retries, retry_models
from worker.doctor.finding import Answer, Level, Patient
from worker.store import Owner


def model(patient: Patient) -> Iterator[Answer]:
    """One finding for each account, or one for each thing to look at."""
    try:
        shipped = priors().version
    except BadModel as error:
        yield Level.FAIL, f"the shipped model cannot be read: {error}", "mend config/recovery_priors.toml"
        return
    now = patient.now()
    for account, name in patient.accounts():
        owner = Owner(account.id, account.livemode)
        with patient.db.read() as db:
            _, version = retry_models.in_use(db).get(owner, (0, shipped))
            try:
                retry_models.load(db, owner, version)
            except (BadModel, LookupError) as error:
                yield Level.FAIL, f"{name}: {version} cannot be read: {error}", "run `reprieve retries use` another one"
                continue
            standing = retries.status(db, owner, version, now)
        warnings = list(standing.warnings(now))
        for wrong, fix in warnings:
            yield Level.WARN, f"{name}: {wrong}", fix
        if not warnings:
            learnt = f"learnt from {standing.fitted.cases} closed cases" if standing.fitted else "nothing learnt yet"
            yield Level.OK, f"{name}: {version}, {learnt}", ""
