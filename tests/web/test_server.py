"""The real server on loopback: races, slow and greedy senders, orderly ends, and headers on every answer."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from tests.web.harness import SECRET, an_app, count, event, in_process, rows, sign, wait_until
from tests.web.process import started
from worker import migrate
from worker.app import App
from worker.web import server

HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
}


@contextmanager
def serving(app: App, pages: Sequence[BaseRoute] = ()) -> Iterator[str]:
    url, stop = server.start_in_thread(app, pages)
    try:
        yield url
    finally:
        stop()
        app.db.close()


def connected(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=15)


def request(body: bytes, signature: str | None = None, path: str = "/webhooks/stripe") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\nconnection: close\r\n"
    head += f"stripe-signature: {signature or sign(body)}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def exchanged(url: str, sent: bytes) -> bytes:
    """The whole answer to what is sent on one connection, until the server closes it."""
    with connected(url) as line:
        line.sendall(sent)
        answer = b""
        while part := line.recv(65_536):
            answer += part
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_one_event_delivered_fifty_times_at_once_is_one_row(database_url: str) -> None:
    first, second = an_app(database_url), an_app(database_url)
    with serving(first) as one, serving(second) as other, ThreadPoolExecutor(50) as pool:
        versions = [event("evt_flood"), event("evt_flood", api_version="2022-11-15")]
        sent = [(one if n % 2 else other, request(versions[n // 2 % 2])) for n in range(50)]
        answers = list(pool.map(lambda item: exchanged(*item), sent))
        assert [status(answer) for answer in answers] == [200] * 50
        assert len(rows(first.db, "evt_flood")) == 1


def test_many_events_at_once_from_two_processes_are_all_kept(pg_database: str) -> None:
    first, second = an_app(pg_database), an_app(pg_database)
    with serving(first) as one, serving(second) as other, ThreadPoolExecutor(16) as pool:
        # Both get the same events in opposite orders: batches that overlap must not block each other.
        ids = [f"evt_{n:03}" for n in range(100)]
        sent = [(one, request(event(i))) for i in ids] + [(other, request(event(i))) for i in reversed(ids)]
        assert {status(answer) for answer in pool.map(lambda item: exchanged(*item), sent)} == {200}
        assert count(first.db) == 100


@pytest.fixture
def web(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.8)
    with serving(an_app(sqlite_url)) as url:
        yield url


WHOLE = request(event(), "t=1,v1=2")
TRICKLES = {
    "nothing at all": b"",
    "half a request line": b"POST /webh",
    "a head without an end": WHOLE[:120],
    "empty lines": b"\r\n\r\n",
    "half a body": WHOLE[:-20],
    "a chunk without an end": (
        b"POST /webhooks/stripe HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\n10\r\nabc"
    ),
}


@pytest.mark.parametrize("beginning", TRICKLES.values(), ids=TRICKLES)
def test_a_request_that_does_not_come_to_its_end_is_closed(web: str, beginning: bytes) -> None:
    with connected(web) as line:
        line.sendall(beginning)
        line.settimeout(5)
        with suppress(ConnectionResetError):  # closed without a word
            assert b" 200 " not in line.recv(1_000)


def test_a_second_request_has_deadlines_too(web: str) -> None:
    with connected(web) as line:
        line.sendall(request(event()).replace(b"connection: close", b"connection: keep-alive"))
        assert status(line.recv(1_000)) == 200
        line.sendall(b"\r\n")
        line.settimeout(5)
        with suppress(ConnectionResetError):
            assert line.recv(1_000) == b""


def test_an_answer_comes_in_one_piece(web: str) -> None:
    with connected(web) as line:
        for n in range(20):
            line.sendall(request(event(f"evt_{n}")).replace(b"connection: close", b"connection: keep-alive"))
            assert line.recv(1_000).endswith(b"\r\n\r\nstored\n")


def test_slow_senders_do_not_delay_a_real_one(web: str) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connected(web)).sendall(WHOLE[:60])
        began = time.monotonic()
        assert status(exchanged(web, request(event()))) == 200
        assert time.monotonic() - began < 1.0


def test_an_endless_chunked_body_is_refused_early(web: str) -> None:
    head = b"POST /webhooks/stripe HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
    head += b"transfer-encoding: chunked\r\n\r\n"
    sent = 0
    with connected(web) as line:
        line.sendall(head)
        try:
            while sent < 100 * 65_536:
                line.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
                sent += 65_536
        except OSError:
            pass
    assert sent < 60 * 65_536  # the limit is 8 of these; the rest is what lay in the buffers of the system


def test_a_head_without_measure_is_refused(web: str) -> None:
    assert status(exchanged(web, b"GET / HTTP/1.1\r\nhost: t\r\nx-long: " + b"x" * 40_000 + b"\r\n\r\n")) == 400


def test_a_stop_answers_what_is_under_way(sqlite_url: str) -> None:
    app = an_app(sqlite_url)
    url, stop = server.start_in_thread(app)
    with ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(exchanged, url, request(event(f"evt_{n}"))) for n in range(64)]
        wait_until(lambda: any(answer.done() for answer in answers))
        pool.submit(stop)
        acknowledged = 0
        for answer in answers:
            with suppress(OSError, IndexError):  # came too late, and was told nothing
                acknowledged += status(answer.result()) == 200
    assert 0 < acknowledged <= count(app.db)
    app.db.close()


def test_a_taken_port_is_an_error(sqlite_url: str) -> None:
    with serving(an_app(sqlite_url)) as url, pytest.raises(RuntimeError, match="cannot listen"):
        server.start_in_thread(an_app(sqlite_url, web_port=urlsplit(url).port))


def test_the_process_ends_in_order_on_sigterm(sqlite_url: str) -> None:
    with started(sqlite_url, SECRET) as (url, process):
        assert status(exchanged(url, request(event()))) == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


# --- what holds for every answer ------------------------------------------------------------------------------------


def broken(_: Request) -> Response:
    raise RuntimeError("select * from customer at /srv/secret.py")


def framed(_: Request) -> Response:
    return PlainTextResponse("page", headers={"Content-Security-Policy": "default-src 'self'"})


PAGES = [Route("/broken", broken), Route("/page", framed)]
ADDRESSES = {
    "/healthz": 200,
    "/readyz": 200,
    "/metrics": 200,
    "/page": 200,
    "/nothing-here": 404,
    "/broken": 500,
    "/webhooks/stripe": 405,
}


@pytest.mark.parametrize(("path", "expected"), ADDRESSES.items())
def test_every_answer_has_the_headers(sqlite_url: str, path: str, expected: int) -> None:
    with in_process(an_app(sqlite_url, public_url="https://pay.example"), PAGES) as client:
        answer = client.request("GET", path)
        own = {"content-security-policy": "default-src 'self'"} if path == "/page" else {}
        assert answer.status == expected
        assert answer.headers.items() >= {**HEADERS, **own, "strict-transport-security": "max-age=31536000"}.items()


def test_a_stored_event_is_answered_with_the_headers(sqlite_url: str) -> None:
    with in_process(an_app(sqlite_url)) as client:
        for _ in range(2):
            answer = client.post(event())
            assert answer.headers.items() >= HEADERS.items()
            assert len(answer.headers) == len(HEADERS) + 2


def test_an_error_tells_a_reference_and_nothing_else(sqlite_url: str, logged: list[Any]) -> None:
    with in_process(an_app(sqlite_url), PAGES) as client:
        answer = client.request("GET", "/broken")
    reference = answer.text.strip().rpartition(" ")[2]
    assert answer.text == f"Something went wrong. Reference: {reference}\n"
    (line,) = logged
    assert (line["reference"], line["route"], str(line["exc_info"])[:6]) == (reference, "/broken", "select")


# --- health ---------------------------------------------------------------------------------------------------------


def test_a_process_with_everything_is_ready(database_url: str) -> None:
    with in_process(an_app(database_url)) as client:
        assert json.loads(client.request("GET", "/healthz").body) == {"status": "ok"}
        answer = client.request("GET", "/readyz")
        assert (answer.status, json.loads(answer.body)["checks"]) == (
            200,
            {"database": "ok", "schema": "ok", "writer": "ok"},
        )


def test_a_process_without_its_tables_is_alive_and_not_ready(database_url: str) -> None:
    app = an_app(database_url)
    migrate.downgrade(app.db)
    with in_process(app) as client:
        assert client.request("GET", "/healthz").status == 200
        answer = client.request("GET", "/readyz")
        assert (answer.status, json.loads(answer.body)["checks"]["schema"]) == (503, "failed")
        assert client.post(event()).status == 503
