"""How long a plan takes: its pace, the limit that sets the pace, and what would make it faster."""

from __future__ import annotations

import math
from typing import Literal

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.plan import Plan
from ecsbatch.model.quota import Quota


@dataclass(frozen=True, slots=True)
class TimeModel:
    """How long a plan takes if every restart takes the typical time.

    Attributes:
        rate_per_s: servers per second inside a large wave; of the whole run where ``waves`` or ``restart`` bind.
        binds: the limit that sets the pace: ``quota``, ``max_unavailable``, ``max_unavailable_per_domain``,
            ``waves`` (restarts and soaks that follow one another) or ``restart`` (all servers go at once).
        seconds: from the first submit to the last server's return, without gates and holds.
        worst_case_down: servers down at the worst instant, including skipped ones that take a slot of the budget.
        what_would_change: one sentence on how it would go faster.
    """

    rate_per_s: float
    binds: Literal["quota", "max_unavailable", "max_unavailable_per_domain", "waves", "restart"]
    seconds: float
    worst_case_down: int
    what_would_change: str


def time_model(plan: Plan, quota: Quota, typical_restart: float) -> TimeModel:
    """Compute how long a plan takes under one quota.

    Args:
        plan: the plan.
        quota: the site's quota; all of it is taken to be free at the start.
        typical_restart: seconds from the request until a server is back.
    """
    cycle = max(typical_restart + plan.min_ready, 1e-3)
    slots, limit = _slots(plan)
    by_quota, by_budget = quota.limit / quota.window, slots / cycle
    paced, fixed = _durations(plan, quota, slots, cycle)
    worst = min(slots, plan.to_restart) + plan.held
    rate = min(by_quota, by_budget)
    if paced == 0 or fixed > paced:
        several = len(plan.waves) > 1
        sentence = (
            f"Fewer waves or a shorter soak: {len(plan.waves)} waves follow one another."
            if several
            else "Nothing: all servers restart at once."
        )
        over_all = min(plan.to_restart / (paced + fixed), by_quota) if plan.to_restart else rate
        return TimeModel(over_all, "waves" if several else "restart", paced + fixed, worst, sentence)
    if by_quota <= by_budget:
        sentence = "Only a larger quota: the budget would let more servers go."
        return TimeModel(rate, "quota", paced + fixed, worst, sentence)
    enough, largest = math.ceil(by_quota * cycle), max(len(wave) for wave in plan.waves)
    gain = f"make the quota ({quota}) bind" if enough < largest else "let each wave go at once"
    sentence = f"A --{limit.replace('_', '-')} that lets {min(enough, largest):,} servers be down at once would {gain}."
    return TimeModel(rate, limit, paced + fixed, worst, sentence)


def _slots(plan: Plan) -> tuple[int, Literal["max_unavailable", "max_unavailable_per_domain"]]:
    """Return how many servers can be down at once, and which budget says so."""
    total = max(plan.max_unavailable - plan.held, 1)
    if plan.max_unavailable_per_domain is None:
        return total, "max_unavailable"
    held = plan.held_by_domain()
    per_domain = sum(
        min(count, max(plan.max_unavailable_per_domain.get(domain, count) - held.get(domain, 0), 0))
        for domain, count in plan.domains().items()
    )
    if per_domain < min(total, plan.to_restart):
        return max(per_domain, 1), "max_unavailable_per_domain"
    return total, "max_unavailable"


def _durations(plan: Plan, quota: Quota, slots: int, cycle: float) -> tuple[float, float]:
    """Return the seconds of the run that quota or budget cost, and those that its waves and restarts take anyway."""
    paced = 0.0
    now, spent, spent_at = 0.0, 0, -math.inf
    for wave in plan.waves:
        carried = spent if now - spent_at < quota.window else 0
        windows = math.ceil((carried + len(wave)) / quota.limit) - 1
        by_quota = max(windows * quota.window - (now - spent_at if carried else 0.0), 0.0)
        by_budget = (math.ceil(len(wave) / slots) - 1) * cycle
        wait = max(by_quota, by_budget)
        spent = (carried + len(wave) - 1) % quota.limit + 1
        spent_at = spent_at if carried and not windows else now + wait
        paced += wait
        now += wait + cycle + (plan.soak if wave.end < plan.to_restart else 0.0)
    return paced, now - paced
