"""The ready stories under the shipped sequences: what each customer would have read, whatever the order of events."""

from __future__ import annotations

import pytest

from config.policies import HERE
from worker.rehearsal.rehearse import rehearse
from worker.rehearsal.story import EXAMPLES

# (policy, story): (state, messages)
READ = {
    ("standard", "outage"): ("recovered", 0),  # mended within the silent time: nobody is told, nobody thanked
    ("standard", "expired_card"): ("recovered", 2),
    ("standard", "pay_day"): ("recovered", 4),
    ("standard", "never_again"): ("lost", 6),
    ("gentle-b2b", "cancelled"): ("cancelled", 1),
    ("gentle-b2b", "never_again"): ("lost", 5),
    ("weekly", "updated_card"): ("recovered", 2),
    ("weekly", "never_pays"): ("lost", 4),
}


@pytest.mark.parametrize(("policy", "name"), READ)
def test_a_story_has_its_messages_in_all_three_passes(policy: str, name: str) -> None:
    found = rehearse(EXAMPLES[name], HERE / f"{policy}.toml", seed=1)
    assert found.same
    assert (found.straight.state[0], len(found.straight.messages)) == READ[policy, name]
