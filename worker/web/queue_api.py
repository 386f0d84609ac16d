"""`/v1/queue`: the queue of cases that need a person, and the same acts that the command line has.

An act is a POST with the name of who asks. With an `Idempotency-Key` a repetition gets the first answer, kept in the
transaction of the act; the same key with another request is refused.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection, delete, select, update
from starlette.responses import Response
from starlette.routing import BaseRoute

from worker import queue, queue_acts, store
from worker.assist_tables import api_reply
from worker.queue_acts import BadWish, Refused
from worker.queue_told import FILTERS, filter_of, told
from worker.store import Owner
from worker.web.api import Api, Asked, Problem, json

READ, ACT = "read:queue", "queue"
PAGING = frozenset({"after", "limit"})
KEPT = timedelta(days=30)  # so long a repetition is known
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def routes(api: Api) -> list[BaseRoute]:
    """The addresses; `{act}` is a name of `queue_acts.ACTS`."""
    desk = Desk(api)
    return [
        api.route("/v1/queue", READ, desk.listed),
        api.route("/v1/queue/counts", READ, desk.counted),
        api.route("/v1/queue/{invoice}", READ, desk.shown),
        api.route("/v1/queue/{invoice}/{act}", ACT, desk.acted, methods=["POST"]),
    ]


class Desk:
    def __init__(self, api: Api) -> None:
        self._app = api.app

    def listed(self, asked: Asked) -> Response:
        """One page of the open tasks."""
        if unknown := sorted(set(asked.query) - FILTERS - PAGING):
            raise Problem(
                400,
                "bad_filter",
                f"There is no filter {unknown[0][:50]!r}; there are {', '.join(sorted(FILTERS | PAGING))}.",
            )
        now = self._app.now()
        try:
            wanted = filter_of(asked.query, now)
            most = int(asked.query.get("limit", "50"))
            with self._app.db.read() as db:
                page = queue.page(db, asked.owner, wanted, asked.query.get("after"), most)
        except (ValueError, OverflowError) as error:
            raise Problem(400, "bad_filter", f"This cannot be read: {error}.") from None
        return json({"tasks": [told(task, now) for task in page.tasks], "after": page.after})

    def counted(self, asked: Asked) -> Response:
        with self._app.db.read() as db:
            return json(asdict(queue.counts(db, asked.owner, self._app.now())))

    def shown(self, asked: Asked) -> Response:
        """Everything about one case."""
        invoice, now = asked.path["invoice"], self._app.now()
        with self._app.db.read() as db:
            case = store.case_of(db, asked.owner, invoice)
            if case is None:
                raise Problem(404, "no_such_case", "There is no case for this invoice.")
            body = {
                "invoice": invoice,
                "case": {"state": case.state, "because": case.because, "deadline": case.deadline},
                "tasks": [told(task, now) for task in queue.tasks_of(db, asked.owner, invoice)],
                "notes": [asdict(note) for note in queue.notes_of(db, asked.owner, invoice)],
                "deeds": [asdict(deed) for deed in queue.deeds_of(db, asked.owner, invoice)],
            }
        return json(body)

    def acted(self, asked: Asked) -> Response:
        """Do one act; 200 with what became of it, whether it was done now or was so already."""
        what, invoice = asked.path["act"], asked.path["invoice"]
        if what not in queue_acts.ACTS:
            raise Problem(404, "no_such_act", f"There is no such act; there are {', '.join(queue_acts.ACTS)}.")
        key = asked.headers.get("idempotency-key")
        if key is not None and not _KEY.fullmatch(key):
            raise Problem(400, "bad_key", "An Idempotency-Key has 1 to 255 visible ASCII characters.")
        try:
            with self._app.db.begin() as db:
                body, new = self._act(db, asked, what, invoice, key)
        except LookupError:
            raise Problem(404, "no_such_case", "There is no case for this invoice.") from None
        except BadWish as error:
            raise Problem(400, error.code, f"{error}.") from None
        except Refused as error:
            raise Problem(409, error.code, f"{error}.") from None
        if new:
            self._app.bell.ring("actions")
        return Response(body, 200, {}, "application/json")

    def _act(self, db: Connection, asked: Asked, what: str, invoice: str, key: str | None) -> tuple[bytes, bool]:
        """(the answer, whether anything was done now)"""
        if key and (kept := _reply(db, asked.owner, key, _hash(asked, what, invoice), self._app.now())):
            return kept, False
        actor = asked.body.get("actor", "")
        done = queue_acts.act_in(self._app, db, asked.owner, what, invoice, actor, asked.body, asked.token.name)
        task = queue.open_task(db, asked.owner, invoice)
        answer = {"invoice": invoice, "act": what, "changed": done.changed, "said": done.said}
        now = self._app.now()
        body = orjson.dumps({**answer, "task": told(task, now) if task else None}, option=orjson.OPT_UTC_Z)
        if key:
            mine = asked.owner.of(api_reply) & (api_reply.c.key == key)
            db.execute(update(api_reply).where(mine).values(body=body))
        return body, done.changed


def _hash(asked: Asked, what: str, invoice: str) -> str:
    try:
        request = orjson.dumps([what, invoice, dict(asked.body)], option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise BadWish("the body is nested too deeply") from None
    return hashlib.sha256(request).hexdigest()


def _reply(db: Connection, owner: Owner, key: str, request: str, now: datetime) -> bytes | None:
    """The first answer to this key; None when it is new, and then ours. A key that is worked on now is waited for."""
    db.execute(delete(api_reply).where(owner.of(api_reply), api_reply.c.at < now - KEPT))
    row = {**owner.key, "key": key, "request_hash": request, "body": b"", "at": now}
    added = store.insert(db, api_reply).on_conflict_do_nothing().returning(api_reply.c.id)
    if db.execute(added, row).first() is not None:
        return None
    known = db.execute(select(api_reply).where(owner.of(api_reply), api_reply.c.key == key)).one()
    if known.request_hash != request:
        raise Problem(422, "key_reused", "This Idempotency-Key came with another request.")
    return bytes(known.body)
