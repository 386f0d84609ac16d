"""The demo as a person starts it: a process of its own, from the empty folder to the printed promises."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from sandbox import declines
from tests.page.conftest import browser, link_in
from tests.page.test_journey import new_card
from tests.screens.conftest import Played
from tests.web.harness import wait_until
from tests.world import DAY
from worker import demo
from worker.dispatcher import Dispatcher

ROOT = Path(__file__).parents[2]


def reprieve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REPRIEVE_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "worker.cli", *arguments],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_demo_keeps_its_promises_and_leaves_a_database_to_read(tmp_path: Path) -> None:
    # Settings of a real installation must not reach it.
    real = {"REPRIEVE_SMTP_HOST": "mail.invalid", "REPRIEVE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}
    folder = tmp_path / "demo"
    played = reprieve("demo", "--no-serve", "--subscriptions", "20", "--days", "40", "--folder", str(folder), **real)
    assert played.returncode == 0, played.stdout + played.stderr
    assert played.stderr == ""
    promises = [line.split(maxsplit=1) for line in played.stdout.split("own log:")[1].splitlines() if line.strip()]
    assert len(promises) == 6
    assert {kept for kept, _ in promises} == {"kept"}
    assert "+ recovered involuntary churn" in played.stdout
    (line,) = [line for line in played.stdout.splitlines() if line.startswith("One story:")]
    database, *_, invoice = line.removeprefix("One story:").split()
    assert database == f"REPRIEVE_DATABASE_URL=sqlite:///{folder / 'reprieve.db'}"
    known = dict([database.split("=", 1)])
    assert ", mode own" in reprieve("explain", invoice, **known, REPRIEVE_MODE="own").stdout
    assert f"Invoice {invoice}" in reprieve("explain", invoice, **known).stdout
    assert "NRR bridge, 2026-01-01" in reprieve("report", "nrr", "--month", "2026-01", **known).stdout
    with pytest.raises(ValueError, match="earlier demo"):
        demo.run(serve=False, subscriptions=20, days=40, folder=folder, port=0)


def test_the_database_of_the_demo_is_prepared_before_anything_works_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, start = list[str](), Dispatcher.start
    monkeypatch.setattr(demo, "_hurry", lambda app: order.append("prepared"))

    def started(self: Dispatcher) -> None:
        order.append("working")
        start(self)

    monkeypatch.setattr(Dispatcher, "start", started)
    with demo.playing(tmp_path):
        assert order == ["prepared", "working"]


def test_what_cannot_be_answered_is_one_sentence_and_code_two(played: Played) -> None:
    known = {"REPRIEVE_DATABASE_URL": played.url}
    for arguments in (("explain", "in_nobody"), ("report", "nrr", "--month", "2026-13")):
        refused = reprieve(*arguments, **known)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("reprieve: ")
        assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("spoil", ["charge twice", "forget a case"])
def test_a_broken_promise_is_told(tmp_path: Path, spoil: str) -> None:
    with demo.playing(tmp_path) as playing, Path(os.devnull).open("w") as nowhere:
        playing.people.found_company(3)
        subscribed = playing.sb.subscribe()
        playing.settle()
        charge = playing.sb.bank.charged(subscribed.invoice)[0]
        wrong = charge if spoil == "charge twice" else replace(charge, outcome="declined")
        playing.sb.bank.movements.append(wrong)
        console = Console(record=True, file=nowhere)
        assert playing.tell(console) is False
        (broken,) = [line for line in console.export_text().splitlines() if "BROKEN" in line]
    assert subscribed.invoice in broken


def test_the_links_in_the_demos_messages_open_and_a_new_card_pays(tmp_path: Path) -> None:
    with demo.playing(tmp_path) as playing:
        assert playing.way_back() is None  # nobody owes anything
        sub = playing.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        playing.sb.issuer.set(sub.payment_method, declines("expired_card"))
        for _ in range(34 * 4):  # six hours at a time: nobody is written to at night
            playing.sb.advance(playing.sb.clock() + DAY / 4)
            playing.settle()
        (mail,) = (tmp_path / "mailbox").glob("*.eml")
        link = playing.way_back()
        assert link
        for url in (link_in(mail), link):
            assert url.startswith(f"{playing.url}/pay/")
            with browser(url) as customer:
                assert "$20.00" in customer.get().text
        with browser(link) as customer:
            new_card(customer.press("update").headers["location"])
            for _ in range(15):
                playing.a_second()
            assert "Everything is paid" in customer.get().text
        assert playing.states() == {"recovered": 1}


def test_the_demo_lives_on_until_it_is_told_to_stop(tmp_path: Path) -> None:
    with demo.playing(tmp_path) as playing:
        stop = threading.Event()
        before = playing.sb.clock()
        living = threading.Thread(target=playing.live_on, args=(stop, 0.0))
        living.start()
        wait_until(lambda: playing.sb.clock() >= before + 3 * demo.SECOND_IS)
        stop.set()
        living.join(10)
        assert not living.is_alive()
