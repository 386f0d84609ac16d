"""The child process in which a model is fitted: asked in one line of JSON on stdin, it answers in one on stdout.

numpy is only ever loaded here, and its memory is given back when the process ends. The request travels on stdin, since
the address of a database holds its password.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import Any

from billing.retry.belief import Facts
from billing.retry.model import Model, model_of, table_of
from config.policies import parse, read
from config.priors import priors
from worker.db import Database
from worker.learning import FEWEST_CASES, WITHOUT_NUMPY, cases, checks
from worker.store import Owner

HELD_OUT = 5  # of so many cases the newest one


def main() -> int:
    """0 when there is an answer; `WITHOUT_NUMPY` when numpy is not installed."""
    os.nice(10)  # whoever charges and serves goes first
    request = json.load(sys.stdin)
    try:
        import numpy as np
    except ImportError:
        return WITHOUT_NUMPY
    np.seterr(all="ignore")
    present = model_of(request["present"])
    db = Database(request["database_url"])
    try:
        with db.read() as connection:
            owner = Owner(request["account"], request["livemode"])
            found = cases.closed(connection, owner, parse(read("standard"), "policy standard"))
    finally:
        db.close()
    json.dump(learnt(found, present, datetime.fromisoformat(request["now"])), sys.stdout)
    return 0


def learnt(found: list[Facts], present: Model, now: datetime) -> dict[str, Any]:
    """Fit on all but the newest cases and ask about those; only then fit on all. `because`: why it may not be used."""
    from worker.learning.fit import fit

    if len(found) < FEWEST_CASES:
        return {"thin": len(found)}
    held = found[-len(found) // HELD_OUT :]
    new = checks.asked(held, fit(found[: -len(held)], priors()))
    old = checks.asked(held, present)
    version = f"learnt-{now:%Y%m%d%H%M}"
    model = fit(found, priors(), version)
    return {
        "version": version,
        "cases": len(found),
        "checks": {"held_out": new.to_json(), "in_use": old.to_json() | {"version": present.version}},
        "because": checks.verdict(new, old),
        "parameters": table_of(model),
    }


if __name__ == "__main__":
    sys.exit(main())
