"""The simulated worlds without the luck of a run: what a policy is expected to win of each case.

A few large invoices decide a run of a world, which hides what a change of the engine does: one run of 4,000 cases is
some three points off either way, and two policies differ by less. Here every attempt is refused, so that each case
shows the whole plan, and the chance of each attempt is worked out from the case's hidden parameters, over all draws of
money, outage and bank. The money counts by those chances. Refusals read as the case's own cause would make them. Only a
measuring instrument: the engine sees what it sees in any run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import erf, exp, log, sqrt
from typing import Any

import numpy as np

FUNDS, RISK, OUTAGE, STALE, DEAD, SCA, LEAVING = range(7)
SLOT_H = 3


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a policy: money by case, and per case attempts; violations per 1,000 cases."""

    net: Any
    attempts: float
    violations: float


def expected_world(module: Any) -> Any:
    """The class `World` of the module `world`, with `expected(policy, net)` beside `run`."""

    class Expected(module.World):  # type: ignore[misc]
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.tried: dict[int, list[tuple[float, tuple[float, ...], bool]]] = {}
            self.steps = self.money_steps()

        def p_success(self, i: int, tau: float, before: list[float], updated: bool) -> tuple[float, str]:
            """Refused, whatever it is; what was tried is noted."""
            self.tried.setdefault(i, []).append((tau, tuple(before), updated))
            match self.l_cause[i]:
                case 0:
                    return 0.0, "funds"
                case 1:
                    return 0.0, "risk_perm" if self.l_perm[i] else "risk"
                case 2:
                    return 0.0, "technical"
                case 3 | 4 as cause:
                    return 0.0, "risk" if updated else ("stale" if cause == STALE else "dead")
                case 5:
                    return 0.0, "sca"
                case _:
                    return 0.0, "leaving" if self.l_blocked[i] else "funds"

        def expected(self, policy: Any, net: Any) -> Played:
            """`net`: money by case of a result of `run`."""
            self.tried.clear()
            result = self.run(policy)
            money, attempts = net(self, result), 0.0
            for i, tried in self.tried.items():
                left, spent, won = 1.0, 0.0, 0.0
                for number, ((tau, _, _), chance) in enumerate(zip(tried, self.chances(i, tried), strict=True), 1):
                    spent += self.p["attempt_cost"]
                    won += chance * (self.worth(i, tau) - spent)
                    left -= chance
                    attempts += chance * number
                    spent += self.returned(i)
                money[i] = won + left * money[i]
                attempts += left * len(tried)
            violations = 1000 * float(result.viol.sum()) / self.n
            return Played(money, attempts / self.n, violations)

        def chances(self, i: int, tried: list[tuple[float, tuple[float, ...], bool]]) -> Iterator[float]:
            """Of each attempt: that it succeeds and none before it did."""
            p, cause = self.p, self.l_cause[i]
            if self.short_of_money(i):
                yield from self.money_chances(i, tried)
                return
            left, last, over = (0.0 if cause == RISK and self.l_perm[i] else 1.0), 0.0, 0.0
            ready = 0.0  # of an outage that ended without an approval
            for tau, before, updated in tried:
                if cause == RISK:
                    left *= exp(-p["abandon"] * (tau - last) / 24)
                    half = self.l_half[i]
                    caution = self.l_k0[i] * 2 ** (-tau / half)
                    caution += sum(p["risk_delta"] * 2 ** (-(tau - at) / half) for at in before)
                    chance = left * self.passes(i, tau, before) / (1 + exp(caution - self.l_eta[i]))
                elif cause == OUTAGE:
                    ended = 0.5 * (1 + erf(log(max(tau, 1e-6) / p["tech_median_h"]) / (p["tech_sigma"] * sqrt(2))))
                    ready, over = ready + ended - over, ended
                    chance = ready * p["tech_after"] * self.passes(i, tau, before)
                    ready -= chance
                else:
                    chance = left * super().p_success(i, tau, list(before), updated)[0]
                left, last = left - chance, tau
                yield chance

        def money_chances(self, i: int, tried: list[tuple[float, tuple[float, ...], bool]]) -> Iterator[float]:
            keeps = exp(-self.p["abandon"] * SLOT_H / 24) if self.l_cause[i] == FUNDS else 1.0
            steps, slot, enough, short = self.steps[self.l_path_row[i]].tolist(), 0, 0.0, 1.0
            for tau, before, _ in tried:
                for fills, stays in steps[slot : self.slot(i, tau)]:
                    enough, short = (
                        keeps * (enough * stays + short * fills),
                        keeps * (enough * (1 - stays) + short * (1 - fills)),
                    )
                slot = self.slot(i, tau)
                chance = enough * self.p["p_ok"] * self.passes(i, tau, before)
                enough -= chance
                yield chance

        def money_steps(self) -> Any:
            """By case short of money, by slot after the first: the chance that money comes, and that it stays."""
            who = np.nonzero(self.path_row >= 0)[0]
            leaves, found = self.cause[who] == LEAVING, np.zeros((len(who), self.nslots - 1, 2))
            for slot in range(1, self.nslots):
                up, down, pays = self._rates(who, slot)
                found[:, slot - 1, 0] = np.where(leaves, 0.35 * up, up)
                found[:, slot - 1, 1] = 1 - down + np.where(pays & ~leaves, np.minimum(down, self.q[who]), 0.0)
            return found

        def short_of_money(self, i: int) -> bool:
            return self.l_cause[i] == FUNDS or (self.l_cause[i] == LEAVING and not self.l_blocked[i])

        def slot(self, i: int, tau: float) -> int:
            return min(int((tau + (24.0 if self.l_sepa[i] else 0.0)) / SLOT_H), int(self.nslots) - 1)

        def passes(self, i: int, tau: float, before: tuple[float, ...]) -> float:
            """What the hour and attempts just before do to an approval."""
            p = self.p
            lately = sum(2.0 ** (-(tau - at) / (24 * p["vel_half_d"])) for at in before)
            return float(self.tod(i, tau) * exp(-p["vel_harm"] * p["vel_delta"] * lately))

        def worth(self, i: int, tau: float) -> float:
            """Of a success, less what it costs the customer's goodwill."""
            p, amount = self.p, self.l_amount[i]
            won = amount * (1 - p["delay_cost"] * tau / 24)
            if self.l_cause[i] == LEAVING:
                return float((1 - p["dispute_p"]) * won - p["dispute_p"] * p["dispute_cost"])
            if self.l_cause[i] == FUNDS and self.l_funding[i] != 0:
                late = 2.2 if self.since[self.l_path_row[i], self.slot(i, tau)] > 24 else 0.4
                won -= p["od_base"] * late * (0.5 + self.l_sev[i]) * (p["goodwill_od"] + 0.3 * amount)
            return float(won)

        def returned(self, i: int) -> float:
            """What a refused debit costs."""
            if not self.l_sepa[i]:
                return 0.0
            return float(self.p["sepa_fail_cost"] + (0.15 * self.p["goodwill_od"] if self.short_of_money(i) else 0.0))

    return Expected
