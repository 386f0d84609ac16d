"""`reprieve retries ...` as an operator types it."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from tests.learning.closed_cases import SELF, keep, some_closed_cases
from worker.cli import main
from worker.db import Database


@pytest.fixture
def reprieve(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("REPRIEVE_DATABASE_URL", sqlite_url)
    return CliRunner()


def say(runner: CliRunner, *arguments: str, code: int = 0) -> str:
    ran = runner.invoke(main, ["retries", *arguments])
    assert ran.exit_code == code, ran.output
    return ran.output


def test_an_installation_begins_with_the_shipped_model(reprieve: CliRunner) -> None:
    assert "model prior-3: the shipped one, nothing is learnt yet" in say(reprieve, "status")
    (status,) = json.loads(say(reprieve, "status", "--json"))
    assert (status["account"], status["model"], status["warnings"]) == (SELF.account, "prior-3", [])
    assert "none was fitted yet" in say(reprieve, "models")
    assert "too few to learn from: 0 closed cases" in say(reprieve, "refit")


def test_learn_look_and_go_back(reprieve: CliRunner, sqlite_url: str) -> None:
    db = Database(sqlite_url)
    with db.begin() as connection:
        keep(connection, some_closed_cases(500))
    db.close()
    said = say(reprieve, "refit")
    assert "is in use, fitted from 500 closed cases" in said
    (version,) = set(re.findall(r"learnt-\d+", said))
    assert f"{version}  in use" in say(reprieve, "models")
    assert f"model {version}, fitted" in say(reprieve, "status")
    assert say(reprieve, "use", "prior-3", "--because", "let me compare") == "self: prior-3 is in use.\n"
    assert f"{version}  replaced" in say(reprieve, "models")


def test_what_does_not_exist_is_one_sentence_and_code_two(reprieve: CliRunner) -> None:
    assert "there is no retry model learnt-9" in say(reprieve, "use", "learnt-9", "--because", "why", code=2)
    assert "no account acct_9" in say(reprieve, "status", "--account", "acct_9", code=2)
