"""`Draft`: what a rollout was asked to be, until it begins: which servers, how, with which check and gate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ecsbatch.config.settings import Strategy
from ecsbatch.engine.workers import off_the_loop
from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import Fleet, Server
from ecsbatch.planning.selection import as_fleet
from ecsbatch.planning.strategy import make_plan
from ecsbatch.rollout.hooks import A_CALLABLE, WITHOUT, GivenHooks, hooks_of


def listed(servers: Plan | Iterable[Server | str]) -> Plan | Sequence[Server | str]:
    """Return what was given so that nobody can change it until the rollout begins."""
    return servers if isinstance(servers, Plan | Fleet | str) else tuple(servers)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a new rollout was asked to be.

    Attributes:
        servers: a plan, which is carried out as it is, or servers to make one of.
        strategy: how servers are restarted; a plan says it itself.
        given: the check and the gate that the program brings.
    """

    servers: Plan | Sequence[Server | str]
    strategy: Strategy = field(default_factory=Strategy)
    given: GivenHooks = field(default_factory=GivenHooks)

    def settle(self) -> tuple[Plan, GivenHooks]:
        """Return the plan, which says what the program brings, and what that is; nothing is waited for.

        Raises:
            ConfigError: the check or the gate cannot be asked.
            SelectionError: it is not clear which servers are meant, or they must not be restarted so.
        """
        plan = self.servers if isinstance(self.servers, Plan) else self._made(self.servers)
        plan, given = self.given.name_in(plan), self.given.speaking_for(plan)
        hooks_of(plan, given)  # what cannot be asked is refused before anything is stored
        return plan, given

    async def settled(self) -> tuple[Plan, GivenHooks]:
        """Return the same; a plan for many servers is made beside the event loop."""
        many = len(self.servers.fleet) if isinstance(self.servers, Plan) else len(self.servers)
        return await off_the_loop(self.settle, many)

    def _made(self, servers: Sequence[Server | str]) -> Plan:
        strategy, check = self.strategy, self.given.check
        if check is WITHOUT:
            strategy = replace(strategy, check=None)
        brought = check is not None and check is not WITHOUT
        return make_plan(as_fleet(servers), strategy, check=A_CALLABLE if brought else "")
