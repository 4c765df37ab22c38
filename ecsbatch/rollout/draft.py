"""`Draft`: what a rollout was asked to be, until it begins: which servers, how, with which check and gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from functools import partial

from ecsbatch.config.settings import Strategy
from ecsbatch.engine.ports import Cloud
from ecsbatch.errors import ConfigError, SelectionError
from ecsbatch.host_loop import aside
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import Fleet, Server
from ecsbatch.planning.selection import as_fleet, in_short
from ecsbatch.planning.strategy import make_plan
from ecsbatch.rollout.hooks import WITHOUT, GivenHooks, hooks_of
from ecsbatch.rollout.needs import A_CALLABLE
from ecsbatch.rollout.targets import needs_lookup, plan, refuse_stale, resolve


def listed(servers: Plan | Iterable[Server | str]) -> Plan | Sequence[Server | str]:
    """Return what was given so that nobody can change it until the rollout begins.

    Raises:
        SelectionError: it is no list.
    """
    if not isinstance(servers, Iterable | Plan):  # pyright: ignore[reportUnnecessaryIsInstance] - from JSON
        raise SelectionError(
            f"{in_short(servers)} is no list of servers: give a list of ids, names or servers, or a plan."
        )
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
        plan = replace(self.servers, basis=None) if isinstance(self.servers, Plan) else self._made(self.servers)
        plan, given = self.given.name_in(plan), self.given.speaking_for(plan)
        hooks_of(plan, given)  # what cannot be asked is refused before anything is stored
        return plan, given

    def settle_unasked(self) -> tuple[Plan, GivenHooks]:
        """Return what `settle` does, where the cloud need not be asked who is meant.

        Raises:
            SelectionError: it has to be asked, or as `settle`.
            ConfigError: as `settle`.
        """
        if not isinstance(self.servers, Plan) and needs_lookup(self.servers):
            raise SelectionError("Servers are given by their names, which are looked up when the rollout begins.")
        return self.settle()

    async def refuse_stale(self, clouds: Mapping[str, Cloud], now: float) -> None:
        """Look at the servers of a plan that was made a while ago; arguments and errors are those of `refuse_stale`."""
        if isinstance(self.servers, Plan):
            await refuse_stale(clouds, self.servers, now)

    async def settled(self, clouds: Mapping[str, Cloud]) -> tuple[Plan, GivenHooks]:
        """Return what `settle` does, of servers that may be given by name; what takes long is done beside the loop.

        Args:
            clouds: where names are looked for, by the keys of their sites.

        Raises:
            CloudError: not everything could be seen that has to be.
        """
        if isinstance(self.servers, Plan):
            return await aside(self.settle, len(self.servers.fleet))
        servers, many = self.servers, len(self.servers)
        if await aside(partial(needs_lookup, servers), many):
            servers = await resolve(clouds, servers)
        return await aside(replace(self, servers=servers).settle, many)

    async def looked_at(self, clouds: Mapping[str, Cloud], now: float) -> Plan:
        """Return the plan of the servers as the cloud shows them ``now``, in seconds since 1970.

        Raises:
            EcsbatchError: as `ecsbatch.rollout.targets.plan`.
        """
        if isinstance(self.servers, Plan):
            raise ConfigError("This is a plan already: give the servers that are to be planned for.")
        strategy, check = self._wanted()
        made = await plan(clouds, self.servers, strategy, now=now, check=check)
        return self.given.name_in(made)

    def _made(self, servers: Sequence[Server | str]) -> Plan:
        strategy, check = self._wanted()
        return make_plan(as_fleet(servers), strategy, check=check)

    def _wanted(self) -> tuple[Strategy, str]:
        """Return the strategy, without a check where the program wants none, and the name of the program's own."""
        check = self.given.check
        if check is WITHOUT:
            return replace(self.strategy, check=None), ""
        return self.strategy, "" if check is None else A_CALLABLE
