"""The names on the queues: each looks at rows, and does nothing that a sweep would not do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dramatiq import Actor, Broker

from worker import books, flow
from worker.app import App
from worker.broker import ACTORS

WORK: dict[str, Callable[[App], int]] = {
    "inbox": flow.handle_inbox,
    "actions": flow.perform_due,
    "books": books.keep,
}


def declare(broker: Broker, app: App) -> None:
    """Let the bells of this broker be answered with this app."""
    for queue, work in WORK.items():
        answer = partial(_answer, work, app)
        Actor(answer, broker=broker, actor_name=ACTORS[queue], queue_name=queue, priority=0, options={})


def _answer(work: Callable[[App], int], app: App) -> None:
    """How much was found is for the sweep to know; a message has no result."""
    work(app)
