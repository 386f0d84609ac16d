"""A closed loop of signed webhook deliveries: every connection sends its next event when it has the last answer.

`python -m benchmarks.webhook_load --url http://127.0.0.1:8080/webhooks/stripe --secret whsec_x` prints one JSON object.
Every event has an id of its own and is signed before the clock starts, so that the load costs little processor time.
It runs in a process of its own, as a sender does. `wrk` with a script would replace it, where it can be installed.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

BODY_BYTES = 4_096
CREATED = 1_795_000_000


def body(event_id: str) -> bytes:
    """An `invoice.payment_failed` event of 4 KB, printed with two spaces as Stripe does."""
    line = {
        "id": "il_bench",
        "object": "line_item",
        "amount": 4900,
        "currency": "usd",
        "description": "1 × Team (at $49.00 / month)",
        "parent": {
            "type": "subscription_item_details",
            "subscription_item_details": {"subscription": "sub_bench", "subscription_item": "si_bench"},
        },
        "period": {"start": CREATED, "end": CREATED + 2_592_000},
        "pricing": {
            "type": "price_details",
            "price_details": {"price": "price_bench", "product": "prod_bench"},
            "unit_amount_decimal": "4900",
        },
        "quantity": 1,
    }
    invoice = {
        "id": event_id.replace("evt_", "in_"),
        "object": "invoice",
        "amount_due": 4900,
        "amount_paid": 0,
        "amount_remaining": 4900,
        "attempt_count": 1,
        "attempted": True,
        "auto_advance": True,
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "created": CREATED,
        "currency": "usd",
        "customer": "cus_bench",
        "customer_address": {"city": "Springfield", "country": "US", "line1": "1 Main St", "postal_code": "12345"},
        "customer_email": "payer@example.com",
        "default_payment_method": None,
        "hosted_invoice_url": "https://invoice.stripe.com/i/acct_bench/test_" + "h" * 80,
        "lines": {"object": "list", "data": [line], "has_more": False, "total_count": 1},
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": CREATED + 259_200,
        "number": "BENCH-0001",
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_bench"}},
        "status": "open",
        "status_transitions": {"finalized_at": CREATED, "paid_at": None, "voided_at": None},
        "subtotal": 4900,
        "total": 4900,
    }
    event = {
        "id": event_id,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": CREATED,
        "data": {"object": invoice},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "invoice.payment_failed",
    }
    missing = BODY_BYTES - len(json.dumps(event, indent=2, ensure_ascii=False).encode()) - len('"note": ""') - 12
    invoice["metadata"] = {"note": "n" * missing}
    return json.dumps(event, indent=2, ensure_ascii=False).encode()


def sign(secret: str, payload: bytes, at: int) -> str:
    mac = hmac.digest(secret.encode(), str(at).encode() + b"." + payload, "sha256")
    return f"t={at},v1={mac.hex()}"


def requests(url: str, secret: str, run: str, count: int) -> tuple[list[str], list[bytes]]:
    """`count` event ids of this run, and for each the whole HTTP request."""
    place, now = urlsplit(url), int(time.time())
    head = (
        f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json; charset=utf-8\r\n"
        "User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\nAccept: */*; q=0.5, application/xml\r\n"
    )
    model, placeholder = body("evt_" + "0" * 24), b"_" + b"0" * 24
    names = [f"{run}{n:0{24 - len(run)}d}" for n in range(count)]
    made = []
    for name in names:
        payload = model.replace(placeholder, b"_" + name.encode())
        more = f"Stripe-Signature: {sign(secret, payload, now)}\r\nContent-Length: {len(payload)}\r\n\r\n"
        made.append((head + more).encode() + payload)
    return [f"evt_{name}" for name in names], made


@dataclass
class Load:
    """What is left to send, and what came back. Times are seconds."""

    sends: list[bytes]
    deadline: float
    next: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    running: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> int | None:
        if self.next >= len(self.sends) or time.perf_counter() > self.deadline:
            return None
        self.next += 1
        return self.next - 1

    def ended(self) -> None:
        self.running -= 1
        if not self.running:
            self.done.set()


class Sender(asyncio.Protocol):
    """One keep-alive connection; reads answers of known length or in chunks, and opens again when it is closed."""

    def __init__(self, load: Load, host: str, port: int) -> None:
        self.load, self.host, self.port = load, host, port
        self.transport: asyncio.Transport | None = None
        self.current: int | None = None
        self.came = b""
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is none by inheritance
        self.send()

    def send(self) -> None:
        assert self.transport is not None
        self.came, self.current = b"", self.load.take()
        if self.current is None:
            self.transport.close()
            return
        self.sent_at = time.perf_counter()
        self.transport.write(self.load.sends[self.current])

    def data_received(self, data: bytes) -> None:
        self.came += data
        head, gap, rest = self.came.partition(b"\r\n\r\n")
        if not gap:
            return
        _, named, length = head.lower().partition(b"content-length:")
        whole = len(rest) >= int(length.split(b"\r\n", 1)[0]) if named else rest.endswith(b"0\r\n\r\n")
        if not whole:
            return
        assert self.current is not None
        status = head[9:12].decode()
        self.load.answers[status] += 1
        self.load.latencies.append(time.perf_counter() - self.sent_at)
        if status[0] == "2":
            self.load.acknowledged.append(self.current)
        if b"connection: close" in head.lower():
            self.current = None
            assert self.transport is not None
            self.transport.close()
        else:
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if self.current is not None:
            self.load.answers["lost"] += 1
        if self.load.next < len(self.load.sends) and time.perf_counter() < self.load.deadline:
            asyncio.get_running_loop().create_task(self.open())
        else:
            self.load.ended()

    async def open(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, self.host, self.port)
        except OSError:
            self.load.answers["unreachable"] += 1
            self.load.ended()


async def run(url: str, sends: list[bytes], connections: int, seconds: float) -> tuple[Load, float]:
    """Send until `seconds` are over or nothing is left; returns the load and the seconds it took."""
    place = urlsplit(url)
    began = time.perf_counter()
    load = Load(sends, began + seconds, running=connections)
    for _ in range(connections):
        await Sender(load, place.hostname or "", place.port or 80).open()
    try:
        await asyncio.wait_for(load.done.wait(), seconds + 10)
    except TimeoutError:
        load.answers["unanswered"] += load.running
    return load, time.perf_counter() - began


async def main(options: argparse.Namespace) -> int:
    name = options.run or secrets.token_hex(4)
    if options.warm_up:
        _, warm = requests(options.url, options.secret, f"w{name}", options.warm_up)
        await run(options.url, warm, min(options.connections, 8), 30)
    ids, sends = requests(options.url, options.secret, name, options.most)
    load, took = await run(options.url, sends, options.connections, options.seconds)
    if options.ids:
        Path(options.ids).write_text("\n".join(ids[n] for n in load.acknowledged))
    times = sorted(load.latencies) or [float("nan")]
    found = {
        "acknowledged": len(load.acknowledged),
        "seconds": round(took, 3),
        "per_second": round(len(load.acknowledged) / took, 1),
        "p50_ms": round(times[len(times) // 2] * 1e3, 2),
        "p99_ms": round(times[int((len(times) - 1) * 0.99)] * 1e3, 2),
        "answers": dict(load.answers),
        "exhausted": load.next >= len(sends),
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if set(load.answers) <= {"200", "201"} else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--most", type=int, default=40_000, help="events signed before the start")
    parser.add_argument("--warm-up", type=int, default=200, help="events sent before the clock starts")
    parser.add_argument("--run", default="", help="letters that make the ids of this run its own")
    parser.add_argument("--ids", default="", help="file for the ids of the acknowledged events")
    sys.exit(uvloop.run(main(parser.parse_args())))
