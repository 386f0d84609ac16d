"""The table of the retry models: what was fitted, what became of it, and who said so.

A log that is only added to. A `candidate` row holds the parameters and the checks of one version; a later row of the
same version says `active` or `refused`. In use is the version of the newest `active` row, or else the shipped prior.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Text
from sqlalchemy.types import Integer

from worker.columns import Instant, Json
from worker.schema import one_of, required, rows, where

retry_model = rows(
    "retry_model",
    required("version", Text),
    required("state", Text),
    required("at", Instant),  # of a candidate: when it was fitted
    required("by", Text),
    required("because", Text),
    Column("cases", Integer),  # closed cases that a candidate was fitted from
    Column("checks", Json),  # what the checks of a candidate found
    Column("parameters", Json),  # of a candidate: the shape of config/recovery_priors.toml
    one_of("state", "candidate", "active", "refused"),
    Index("one_candidate", "account", "livemode", "version", unique=True, **where("state = 'candidate'")),
)
