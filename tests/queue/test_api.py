"""The queue over real HTTP: who may, what is answered, and that a repetition does nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.channels.told import ask
from tests.queue.conftest import RICH, Story, failing
from tests.world import SELF
from worker import tables as t
from worker import tokens
from worker.assist_tables import task_note
from worker.store import Owner
from worker.web.server import start_in_thread


@dataclass
class Caller:
    """Somebody with a token at the API of a world in which one case is open."""

    story: Story
    base: str
    secrets: dict[str, str]

    def get(self, path: str = "", by: str = "act") -> tuple[int, dict[str, Any]]:
        status, _, text = ask(f"{self.base}/v1/queue{path}", authorization=f"Bearer {self.secrets[by]}")
        return status, json.loads(text)

    def post(
        self, act: str, body: Any = None, by: str = "act", invoice: str = "", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        sent = json.dumps({"actor": "ann"} if body is None else body).encode()
        url = f"{self.base}/v1/queue/{invoice or self.story.invoice}/{act}"
        told = {"authorization": f"Bearer {self.secrets[by]}", "content_type": "application/json", **headers}
        status, _, text = ask(url, sent, **told)
        return status, json.loads(text)


@pytest.fixture
def caller(database_url: str, tmp_path: Path) -> Iterator[Caller]:
    with failing(database_url, tmp_path, RICH) as story:
        app, secrets = story.w.app, {}
        with app.db.begin() as db:
            for name, owner, scope in (
                ("act", SELF, "queue"),
                ("read", SELF, "read:queue"),
                ("product", SELF, "read:entitlement"),
                ("live", Owner("self", True), "queue"),
                ("other", Owner("acct_other", False), "queue"),
            ):
                secrets[name] = tokens.create(db, owner, name, [scope], 30, "ann", app.now())
        base, stop = start_in_thread(app)
        try:
            yield Caller(story, base, secrets)
        finally:
            stop()


def test_the_list_the_counts_and_one_case_are_answered(caller: Caller) -> None:
    status, page = caller.get("?reason=high_mrr&owner=nobody&min_mrr=90000&currency=USD", "read")
    assert (status, page["after"]) == (200, None)
    (task,) = page["tasks"]
    assert task["invoice"] == caller.story.invoice
    assert task["mrr"] == {"minor": 90_000, "unit": "usd/mo", "text": "900.00 USD/mo"}
    assert [why["reason"] for why in task["reasons"]] == ["high_mrr"]
    assert task["due_at"].endswith("Z")
    status, counts = caller.get("/counts", "read")
    assert counts == {"waiting": 1, "overdue": 0, "nobodys": 1, "reasons": {"high_mrr": 1}}
    caller.post("note", {"actor": "ann", "words": "called"})
    status, shown = caller.get(f"/{caller.story.invoice}", "read")
    assert shown["case"]["state"] == "open"
    assert [note["words"] for note in shown["notes"]] == ["called"]
    assert [(deed["actor"], deed["what"]) for deed in shown["deeds"]] == [("ann (token act)", "queue note")]


@pytest.mark.parametrize(
    "query",
    ["?reason=boredom", "?due=soon", "?min_mrr=-1", "?min_mrr=1e9", "?limit=0", "?limit=x", "?after=x", "?colour=red"],
)
def test_a_filter_that_cannot_be_read_is_refused(caller: Caller, query: str) -> None:
    status, problem = caller.get(query)
    assert (status, problem["code"]) == (400, "bad_filter")


def test_who_may_only_look_does_nothing_and_who_may_neither_sees_nothing(caller: Caller) -> None:
    before = caller.story.everything()
    assert caller.post("take", by="read")[0] == 403
    for token in ("product",):
        assert caller.get(by=token)[0] == 403
        assert caller.post("take", by=token)[0] == 403
    assert caller.story.everything() == before


def test_another_account_and_mode_see_and_reach_nothing(caller: Caller) -> None:
    before = caller.story.everything()
    for token in ("live", "other"):
        assert caller.get(by=token)[1]["tasks"] == []
        assert caller.get("/counts", token)[1]["waiting"] == 0
        assert caller.get(f"/{caller.story.invoice}", token)[1]["code"] == "no_such_case"
        assert caller.post("hold", by=token)[1]["code"] == "no_such_case"
    assert caller.story.everything() == before


def test_an_act_is_done_and_said_and_done_again_it_changes_nothing(caller: Caller) -> None:
    status, done = caller.post("take")
    assert (status, done["changed"], done["task"]["owner"]) == (200, True, "ann")
    status, done = caller.post("take")
    assert (status, done["changed"]) == (200, False)
    status, refused = caller.post("take", {"actor": "ben"})
    assert (status, refused["code"]) == (409, "taken")


@pytest.mark.parametrize(
    ("act", "body", "status", "code"),
    [
        ("take", {}, 400, "bad_request"),
        ("take", {"actor": 7}, 400, "bad_request"),
        ("take", {"actor": "reprieve"}, 400, "bad_request"),
        ("due", {"actor": "ann", "at": "soon"}, 400, "bad_request"),
        ("due", {"actor": "ann", "at": "9999-12-31T23:59:59-12:00"}, 400, "bad_request"),
        ("extend", {"actor": "ann", "until": "0001-01-01T00:00:00+12:00"}, 400, "bad_request"),
        ("dance", {"actor": "ann"}, 404, "no_such_act"),
        ("extend", {"actor": "ann", "until": "2027-01-01"}, 409, "too_late"),
        ("take", ["ann"], 400, "not_an_object"),
    ],
)
def test_bad_requests_are_refused_in_words(caller: Caller, act: str, body: Any, status: int, code: str) -> None:
    before = caller.story.everything()
    found, problem = caller.post(act, body)
    assert (found, problem["code"]) == (status, code)
    assert problem["detail"]
    assert caller.story.everything() == before


@pytest.mark.parametrize("path", ["/in_%00", "?owner=%00"])
def test_what_no_id_can_be_is_refused_and_not_asked_of_the_database(caller: Caller, path: str) -> None:
    status, problem = caller.get(path)
    assert (status, problem["code"]) == (400, "bad_text")


def test_a_body_that_is_too_deep_to_be_known_again_is_refused(caller: Caller) -> None:
    deep: Any = {"actor": "ann"}
    for _ in range(300):
        deep = {"actor": "ann", "more": deep}
    assert caller.post("take", deep, idempotency_key="k-deep")[0] == 400


def test_an_unknown_invoice_is_not_found(caller: Caller) -> None:
    assert caller.post("take", invoice="in_other")[1]["code"] == "no_such_case"
    assert caller.get("/in_other")[1]["code"] == "no_such_case"


def test_the_same_key_gets_the_first_answer_and_another_request_under_it_is_refused(caller: Caller) -> None:
    first = caller.post("take", idempotency_key="k-1")
    caller.post("assign", {"actor": "ann", "to": "ben"})
    assert caller.post("take", idempotency_key="k-1") == first
    assert caller.story.task().owner == "ben"  # type: ignore[union-attr]
    status, problem = caller.post("take", {"actor": "ben"}, idempotency_key="k-1")
    assert (status, problem["code"]) == (422, "key_reused")
    # Another account may use the same key.
    assert caller.post("take", by="other", idempotency_key="k-1")[0] == 404
    assert caller.post("take", idempotency_key="x" * 256)[1]["code"] == "bad_key"


def test_a_refusal_does_not_use_up_its_key(caller: Caller) -> None:
    caller.post("take", {"actor": "ben"})
    assert caller.post("take", idempotency_key="k-2")[1]["code"] == "taken"
    caller.post("assign", {"actor": "ben", "to": ""})
    assert caller.post("take", idempotency_key="k-2")[1]["changed"]


def test_many_at_once_with_one_key_do_one_thing(caller: Caller, together: Callable[..., list[Any]]) -> None:
    body = {"actor": "ann", "words": "called"}
    answers = together(8, lambda: caller.post("note", body, idempotency_key="k-3"))
    assert {status for status, _ in answers} == {200}
    assert len({json.dumps(answer) for _, answer in answers}) == 1
    assert len(caller.story.w.rows(task_note)) == 1
    assert len(caller.story.w.rows(t.audit, what="queue note")) == 1


def test_ten_people_take_one_task_and_one_has_it(caller: Caller, together: Callable[..., list[Any]]) -> None:
    names = iter([f"person {n}" for n in range(10)])
    answers = together(10, lambda: caller.post("take", {"actor": next(names)}))
    assert sorted(status for status, _ in answers) == [200] + [409] * 9
    assert len(caller.story.w.rows(t.audit, what="queue take")) == 1


@pytest.fixture
def together() -> Callable[..., list[Any]]:
    from concurrent.futures import ThreadPoolExecutor

    def run(number: int, act: Callable[[], Any]) -> list[Any]:
        with ThreadPoolExecutor(number) as pool:
            return [each.result() for each in [pool.submit(act) for _ in range(number)]]

    return run
