"""`reprieve consent ...`: a file is kept whole or not at all, a mistake is named with its line, a STOP outlives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.consent.conftest import NOW, NUMBER, Here, an_app
from worker import cli, consent_commands
from worker import tables as t
from worker.app import App
from worker.consent import Permit, Refused
from worker.consent_tables import consent as table

Run = Callable[..., Result]
HEAD = "customer,number,granted_at,source\n"


@pytest.fixture
def run(here: Here) -> Run:
    @contextmanager
    def app_of() -> Iterator[App]:
        with cli._told():
            yield here.app

    main = typer.Typer()
    main.add_typer(consent_commands.consent(app_of), name="consent")
    return lambda *words: CliRunner().invoke(main, ["consent", *words])


def test_a_customer_agrees_and_takes_it_back_by_command(here: Here, run: Run) -> None:
    assert run("list").output == "No consent is kept.\n"
    said = run("grant", "cus_1", NUMBER, "--source", "call of 3 March", "--by", "ann")
    assert said.output == "cus_1 may be written to by sms.\n"
    assert here.phone() == Permit(NUMBER)
    assert "cus_1  sms  +49…5678  since 2026-03-03 (call of 3 March, kept by ann)" in run("list").output
    assert NUMBER not in run("list", "cus_1").output
    assert run("withdraw", "cus_1", "--by", "bob").exit_code == 0
    assert "erased" in run("list").output
    assert "withdrawn 2026-03-03 by bob" in run("list").output
    assert [line.what for line in here.rows(t.audit)] == ["consent", "consent withdrawn"]


def test_mistakes_are_told_in_one_sentence(run: Run) -> None:
    assert run("withdraw", "cus_1").exit_code == 2
    assert run("grant", "cus_1", "0151", "--source", "x").exit_code == 2
    assert run("grant", "cus_1", NUMBER, "--source", "x", "--channel", "fax").exit_code == 2
    assert run("grant", "cus_1", NUMBER, "--source", "x", "--account", "acct_none").exit_code == 2


def test_a_file_is_kept_and_may_be_imported_again(here: Here, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "consents.csv"
    lines = [f"cus_{n},+49151{n:08d},2026-01-31,order form" for n in range(1, 1_201)]
    file.write_text(HEAD + "\n".join(lines))
    assert "1,200 consents stand, 0 were not kept" in run("import", str(file)).output
    assert "1,200 consents stand, 0 were not kept" in run("import", str(file)).output
    assert len(here.rows(table)) == 1_200
    assert here.phone("cus_700") == Permit("+4915100000700")


def test_an_imported_consent_does_not_undo_a_stop(here: Here, run: Run, tmp_path: Path) -> None:
    here.stop()
    file = tmp_path / "consents.csv"
    file.write_text(f"{HEAD}cus_1,{NUMBER},2026-01-31,order form\ncus_2,+33612345678,2026-01-31,order form\n")
    output = run("import", str(file)).output
    assert "line 2: not kept: it was withdrawn on 2026-03-03, after this consent" in output
    assert "1 consents stand, 1 were not kept" in output
    assert isinstance(here.phone("cus_1"), Refused)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("cus_9,0151,2026-01-31,form", "line 3, column number: not a telephone number"),
        ("cus_9,+33612345678,31.1.2026,form", "line 3, column granted_at"),
        ("cus_9,+33612345678,2027-01-31,form", "line 3, column granted_at: lies in the future"),
        (",+33612345678,2026-01-31,form", "line 3, column customer: is empty"),
        ("cus_9,+33612345678,2026-01-31,", "line 3, column source: is empty"),
        ("cus_9,+33612345678,2026-01-31", "line 3, column source: the line has 3 cells, the header has 4"),
        (f"cus_1,{NUMBER},2026-01-31,form", "line 3, column customer: is in line 2 too"),
    ],
)
def test_a_row_that_cannot_be_read_keeps_its_whole_file_out(
    here: Here, run: Run, tmp_path: Path, row: str, told: str
) -> None:
    file = tmp_path / "consents.csv"
    file.write_text(f"{HEAD}cus_1,{NUMBER},2026-01-31,form\n{row}\n")
    result = run("import", str(file))
    assert result.exit_code == 2
    assert told in result.output.replace("\n", " ")
    assert here.rows(table) == []


@pytest.mark.parametrize("text", ["", "customer,number\n", f"{HEAD.strip()},mood\n", HEAD.replace("source", "number")])
def test_a_file_with_other_columns_is_refused(run: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "consents.csv"
    file.write_text(text)
    assert "line 1" in run("import", str(file)).output


def test_without_the_secret_nothing_is_imported(sqlite_url: str, tmp_path: Path) -> None:
    app = an_app(sqlite_url, [NOW], suppression_secret=None)

    @contextmanager
    def app_of() -> Iterator[App]:
        with cli._told():
            yield app

    main = typer.Typer()
    main.add_typer(consent_commands.consent(app_of), name="consent")
    file = tmp_path / "consents.csv"
    file.write_text(f"{HEAD}cus_1,{NUMBER},2026-01-31,form\n")
    result = CliRunner().invoke(main, ["consent", "import", str(file)])
    app.close()
    assert "REPRIEVE_SUPPRESSION_SECRET" in result.output
