"""A channel that hangs delays only itself: the others, and the threads of the worker, go on."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.channels.conftest import MESSAGE
from worker.channels import Handed, Message, Outcome
from worker.channels.fuse import Fuse


@dataclass
class Service:
    """Takes `seconds` of the clock for each message and answers `outcome`; remembers how often it was asked."""

    clock: list[float] = field(default_factory=lambda: [1_000.0])
    seconds: float = 0.0
    outcome: Outcome = Outcome.ACCEPTED
    asked: int = 0

    def send(self, message: Message) -> Handed:
        self.asked += 1
        self.clock[0] += self.seconds
        return Handed(self.outcome, "as the test wants it")


def fused() -> tuple[Service, Fuse]:
    service = Service()
    return service, Fuse(service, lambda: service.clock[0])


def test_a_channel_that_answers_is_asked_every_time() -> None:
    service, fuse = fused()
    for outcome in Outcome:
        service.outcome = outcome
        assert fuse.send(MESSAGE).outcome is outcome
    assert service.asked == len(Outcome)


def test_after_one_slow_failure_nobody_waits_for_it() -> None:
    service, fuse = fused()
    service.seconds, service.outcome = 25.0, Outcome.UNKNOWN
    assert fuse.send(MESSAGE).outcome is Outcome.UNKNOWN
    for _ in range(50_000):
        assert fuse.send(MESSAGE).outcome is Outcome.LATER  # certainly not handed over: it is tried again
    assert service.asked == 1


def test_when_the_rest_is_over_one_message_tries_it_and_each_failure_doubles_the_rest() -> None:
    service, fuse = fused()
    service.seconds, service.outcome = 10.0, Outcome.LATER
    fuse.send(MESSAGE)
    rests = []
    for asked in range(2, 9):
        rested = service.clock[0]
        while service.asked < asked:
            service.clock[0] += 1
            fuse.send(MESSAGE)
        rests.append(round(service.clock[0] - rested - service.seconds))
    assert rests == [30, 60, 120, 240, 480, 600, 600]


def test_a_channel_that_comes_back_is_used_again_at_once() -> None:
    service, fuse = fused()
    service.seconds, service.outcome = 10.0, Outcome.LATER
    fuse.send(MESSAGE)
    service.clock[0] += 31
    service.seconds, service.outcome = 0.1, Outcome.ACCEPTED
    assert [fuse.send(MESSAGE).outcome for _ in range(3)] == [Outcome.ACCEPTED] * 3
    service.outcome = Outcome.LATER  # a quick no is no reason to rest
    assert [fuse.send(MESSAGE).outcome for _ in range(3)] == [Outcome.LATER] * 3
    assert service.asked == 7


def test_a_slow_yes_is_no_failure() -> None:
    service, fuse = fused()
    service.seconds = 20.0
    assert [fuse.send(MESSAGE).outcome for _ in range(2)] == [Outcome.ACCEPTED] * 2


def test_while_one_message_tries_it_the_others_go_on_resting() -> None:
    service, fuse = fused()
    service.seconds, service.outcome = 10.0, Outcome.LATER
    fuse.send(MESSAGE)
    service.clock[0] += 31
    seen: list[Outcome] = []

    class Nested:
        def send(self, message: Message) -> Handed:
            seen.append(fuse.send(message).outcome)  # another thread, while this one waits
            return Handed(Outcome.ACCEPTED, "")

    fuse._channel = Nested()
    assert fuse.send(MESSAGE).outcome is Outcome.ACCEPTED
    assert seen == [Outcome.LATER]
