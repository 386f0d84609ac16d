"""Which network rules hold: the shipped ones, and what an operator put beside them or in their place."""

from __future__ import annotations

from collections.abc import Iterator

from config.network_rules import BadNetworkRules, network_rules
from config.own_rules import rules_with
from worker.doctor.finding import Answer, Level, Patient


def networks(patient: Patient) -> Iterator[Answer]:
    """One finding for each own rule; a warning for each that lets pass what the shipped one does not."""
    path = patient.settings.network_rules_path
    try:
        rules, shipped = rules_with(path), {rule.name for rule in network_rules()}
    except BadNetworkRules as error:
        yield Level.FAIL, str(error), "nothing is charged with it: mend the file, docs/network-rules.md describes it"
        return
    own = [rule for rule in rules if rule.own]
    beside = f" and {len(own)} of your own ({path})" if own else ""
    yield Level.OK, f"{len(rules) - len(own)} shipped rules{beside}", ""
    for rule in own:
        days = f"from {rule.since}" + (f" until {rule.until}" if rule.until else "")
        if rule.looser:
            said = f"{rule.name} is LOOSER than the shipped rule: {rule.looser} ({days}; {rule.source})"
            yield Level.WARN, said, "keep your acquirer's consent in writing: the networks' fees are yours"
        elif rule.name in shipped:
            yield Level.OK, f"{rule.name} takes the place of the shipped rule {days}: {rule.source}", ""
        else:
            yield Level.OK, f"{rule.name} is added {days}: {rule.source}", ""
