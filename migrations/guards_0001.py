"""The triggers of revision 0001, as SQL for both engines: they hold what a constraint cannot say.

A later revision that changes them brings a file of its own; this one stays as it was deployed.

Append-only: the books and the audit are never changed or deleted, not even by our own mistakes. Terminal stays
terminal: an ended attempt keeps its end, a key once chosen keeps its value, a fencing token never falls, and an
ended case does not come back to life.
"""

from __future__ import annotations

APPEND_ONLY = ("fact", "entry", "posting", "audit")

ATTEMPT_RULES = (
    ("old.state in ('succeeded', 'failed', 'cancelled') and new.state <> old.state", "an ended attempt keeps its end"),
    ("new.idem_key <> old.idem_key", "an idempotency key never changes"),
    ("new.token < old.token", "a fencing token never falls"),
)
CASE_RULES = (
    (
        "old.state in ('recovered', 'lost', 'cancelled', 'forgiven')"
        " and new.state not in ('recovered', 'lost', 'cancelled', 'forgiven')",
        "an ended case does not come back to life",
    ),
    ("old.state = 'recovered' and new.state <> 'recovered'", "a recovered case stays recovered"),
)
GUARDED = {"attempt": ATTEMPT_RULES, "recovery_case": CASE_RULES}


def create(dialect: str) -> list[str]:
    """The statements that create every trigger."""
    return _postgresql() if dialect == "postgresql" else _sqlite()


def drop(dialect: str) -> list[str]:
    """The statements that drop every trigger, and the functions behind them."""
    names = [(f"{table}_append_only", table) for table in APPEND_ONLY] + [
        (f"{table}_guard", table) for table in GUARDED
    ]
    if dialect == "postgresql":
        names += [(f"{table}_no_truncate", table) for table in APPEND_ONLY]
        functions = ["append_only", *(f"{table}_guard" for table in GUARDED)]
        return [f"DROP TRIGGER {n} ON {t}" for n, t in names] + [f"DROP FUNCTION {f}()" for f in functions]
    sqlite = [f"{t}_no_{verb}" for t in APPEND_ONLY for verb in ("update", "delete")]
    sqlite += [f"{t}_guard_{i}" for t, rules in GUARDED.items() for i in range(len(rules))]
    return [f"DROP TRIGGER {name}" for name in sqlite]


def _postgresql() -> list[str]:
    sql = [
        "CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION '% is append-only: add a correction instead', TG_TABLE_NAME; END $$"
    ]
    for table in APPEND_ONLY:
        sql.append(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION append_only()"
        )
        sql.append(f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION append_only()")
    for table, rules in GUARDED.items():
        checks = " ".join(f"IF {condition} THEN RAISE EXCEPTION '{message}'; END IF;" for condition, message in rules)
        sql.append(
            f"CREATE FUNCTION {table}_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {checks} RETURN new; END $$"
        )
        sql.append(
            f"CREATE TRIGGER {table}_guard BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_guard()"
        )
    return sql


def _sqlite() -> list[str]:
    sql = [
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{table} is append-only: add a correction instead'); END"
        for table in APPEND_ONLY
        for verb in ("update", "delete")
    ]
    for table, rules in GUARDED.items():
        for number, (condition, message) in enumerate(rules):
            sql.append(
                f"CREATE TRIGGER {table}_guard_{number} BEFORE UPDATE ON {table} WHEN {condition}"
                f" BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )
    return sql
