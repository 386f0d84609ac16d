"""${message}

Why: say what it is for.
Locks: name the tables that are locked and for how long.
Deploy: before or after the new code.
Undo: what the downgrade loses.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.columns import Flag, Instant, Json

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
