"""Who is meant, and how they are: servers by id or name, looked at where they are, and the plan that is made of them.

Three steps for whoever takes servers from a program: `needs_lookup` tells whether the cloud has to be asked who is
meant, `resolve` asks it, and `plan` looks at all of them and makes the plan. `refuse_stale` looks once more before a
plan is begun that was made a while ago.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Final, TypeVar

from ecsbatch.config.settings import Strategy
from ecsbatch.engine.ports import Cloud
from ecsbatch.errors import ConfigError, PlanStale, SelectionError
from ecsbatch.host_loop import aside
from ecsbatch.model.plan import Plan, PlanBasis
from ecsbatch.model.servers import Fleet, Server, ServerView, labelled
from ecsbatch.model.text import counted
from ecsbatch.model.view_table import PackedViews, SeenFleet
from ecsbatch.planning.drift import Drifted, find_drift
from ecsbatch.planning.lookup import refuse_not_found, resolve_names
from ecsbatch.planning.selection import as_fleet, in_short, is_uuid
from ecsbatch.planning.strategy import make_plan

FRESH: Final = 300.0
"""Seconds for which a plan is begun without looking again: each server is looked at before it is sent anyway."""

TOO_OLD: Final = 86_400.0
"""Seconds after which a plan is not begun any more, however its servers are: who agreed to it meant another day."""

_LONGEST_NAME: Final = 128
_NAMED: Final = 5
"""Servers that a message names."""

_TOLD: Final = 100
"""Servers that a program is told of."""

Targets = Sequence[Server | str]
Views = Mapping[str, ServerView]

T = TypeVar("T")


def needs_lookup(servers: Targets) -> bool:
    """Tell whether the cloud has to be asked who is meant: somebody is named by anything but an id.

    A text is an id where it is a UUID, else a name; a `Server` is meant by its name where its id is "".
    """
    if isinstance(servers, str):
        return False  # a mistake, which `as_fleet` refuses
    if isinstance(servers, Fleet):
        return "" in servers.ids
    return not all(is_uuid(each) if isinstance(each, str) else _has_id(each) for each in servers)


async def resolve(clouds: Mapping[str, Cloud], servers: Targets) -> Fleet:
    """Return the servers that are meant, with their ids; nothing is asked where nobody is meant by a name.

    A name is looked for at the server's site, and where it has none at all of them. Who was meant by a name comes with
    its zone as its domain.

    Args:
        clouds: the client of each site, by the key that servers name as their ``site``.
        servers: ids, names, or a `Server` each.

    Raises:
        SelectionError: a name is no server's or several servers', a server is named twice, or something is no server.
        ConfigError: a server is at a site that has no client.
        CloudError: not everything could be seen.
    """
    return (await _resolved(clouds, servers))[0]


async def plan(
    clouds: Mapping[str, Cloud],
    servers: Targets,
    strategy: Strategy,
    *,
    now: float,
    check: str = "",
    gate: str = "",
) -> Plan:
    """Look at all servers, and make the plan of those that can be restarted; nothing is sent.

    Percentages are of the servers that exist; zone and name are the cloud's where they are not given. The plan
    remembers what was seen, see `refuse_stale`.

    Args:
        clouds: the client of each site, by the key that servers name as their ``site``.
        servers: ids, names, or a `Server` each.
        strategy: how to restart them.
        now: seconds since 1970.
        check: the name of a health check that the program brings, "" for the strategy's.
        gate: the name of a gate that the program brings, "" for the strategy's.

    Raises:
        SelectionError: it is not clear which servers are meant, or a domain that is needed is not known.
        SelectionRefused: there are none, more than ``max_not_found`` do not exist, those that are down already fill a
            budget, or it cannot be found out whether some exist.
        ConfigError: a server is at a site that has no client.
        CloudError: not everything could be seen.
    """
    fleet, seen = await _resolved(clouds, servers)
    views = await _merged([seen, await _look(clouds, fleet, seen)], len(fleet))

    def made() -> Plan:
        plan = make_plan(fleet, strategy, views=views, check=check, gate=gate)
        refuse_not_found(plan)
        return replace(plan, basis=PlanBasis(now, SeenFleet(plan.fleet, views)))

    return await aside(partial(_then_forget, made, views), len(fleet))


async def refuse_stale(clouds: Mapping[str, Cloud], plan: Plan, now: float) -> Plan:
    """Look again at the servers of a plan that was made a while ago; return the plan without what it remembers.

    Nothing is asked about a plan that is at most `FRESH` seconds old, nor about one without a basis.

    Args:
        clouds: the client of each site.
        plan: the plan that is to be begun.
        now: seconds since 1970.

    Raises:
        PlanStale: its servers are not as they were, or it is older than `TOO_OLD`.
        ConfigError: a server is at a site that has no client.
        CloudError: not everything could be seen.
    """
    if plan.basis is None:
        return plan
    age = now - plan.basis.at
    if age > TOO_OLD:
        raise PlanStale(f"The plan is {age / 3600:.0f} hours old. Nothing was sent: plan again.")
    if age > FRESH and (found := await drifted(clouds, plan)):
        raise _stale(found, len(plan.fleet))
    return replace(plan, basis=None)


async def drifted(clouds: Mapping[str, Cloud], plan: Plan) -> list[Drifted]:
    """Return the servers of a plan that are not as it saw them, by the rules of `ecsbatch.planning.drift`.

    Raises:
        ConfigError: a server is at a site that has no client.
        CloudError: not everything could be seen.
    """
    if plan.basis is None:
        return []
    now = await _look(clouds, plan.fleet)
    find = partial(find_drift, plan, plan.basis.views, now)
    return await aside(partial(_then_forget, find, now), len(plan.fleet))


def _has_id(server: object) -> bool:
    return not isinstance(server, Server) or bool(server.id)  # what is no server is refused by `as_fleet`


def as_target(given: str | Server, clouds: Mapping[str, Cloud]) -> Server:
    """Return a server that is meant by its name, to be looked for at its site, or at all where it names none.

    Raises:
        SelectionError: this is no name.
        ConfigError: its site has no client.
    """
    server = _named(given) if isinstance(given, str) else given
    if not _has_id(server):
        _refuse_no_name(server.name)
        _refuse_no_site(clouds, server.site, also="")
    return server


async def _resolved(clouds: Mapping[str, Cloud], servers: Targets) -> tuple[Fleet, Views]:
    """Return the servers that are meant, and what was seen of them meanwhile."""
    many = len(servers)
    if not await aside(partial(needs_lookup, servers), many):
        return await aside(partial(as_fleet, servers), many), {}
    given = await aside(lambda: [as_target(each, clouds) for each in servers], many)
    seen = await _look_for(clouds, [each for each in given if not _has_id(each)])
    return await aside(partial(_met, given, seen), many)


def _met(given: Sequence[Server], seen: Mapping[str, Sequence[ServerView]]) -> tuple[Fleet, Views]:
    fleet = as_fleet(resolve_names(given, seen))
    views = (view for views in seen.values() for view in views)
    return fleet, {view.id: view for view in views if fleet.index_of(view.id) is not None}


async def _look_for(clouds: Mapping[str, Cloud], servers: Sequence[Server]) -> dict[str, Sequence[ServerView]]:
    """Look for servers by their names, each at its site; return what was seen at each site that was asked."""
    names = {site: {each.name for each in servers if each.site in {"", site}} for site in clouds}

    async def look_for(site: str) -> Sequence[ServerView]:
        return await clouds[site].look_for(names[site])

    return await _at_each([site for site, wanted in names.items() if wanted], look_for)


def _named(text: str) -> Server:
    return Server(text) if is_uuid(text) else Server("", name=text)


def _by_site(fleet: Fleet, seen: Collection[str]) -> Mapping[str, Sequence[str]]:
    """Return the ids that are not ``seen`` yet, by site; tuples, since every collection goes through lists."""
    if fleet.sites is None and not seen:
        return {"": fleet.ids}
    unseen: dict[str, list[str]] = {}
    for index, server_id in enumerate(fleet.ids):
        if server_id not in seen:
            unseen.setdefault(fleet.site(index), []).append(server_id)
    return {site: tuple(ids) for site, ids in unseen.items()}


def _then_forget(do: Callable[[], T], views: Views) -> T:
    """Return what a function returns that is the last one to need these views; they go beside the loop, not in it."""
    try:
        return do()
    finally:
        if isinstance(views, PackedViews):
            views.clear()


async def _merged(seen: Sequence[Views], servers: int) -> Views:
    """Return several sights of so many servers as one; of a server that is in two of them the later one counts."""
    some = [views for views in seen if views]
    if len(some) == 1:
        return some[0]

    return await aside(lambda: {server: view for views in some for server, view in views.items()}, servers)


async def _look(clouds: Mapping[str, Cloud], fleet: Fleet, seen: Collection[str] = ()) -> Views:
    """Look at the servers of a fleet that are not ``seen`` yet, at their sites.

    Raises:
        ConfigError: a server is at a site that has no client.
        CloudError: not everything could be seen.
    """
    unseen = await aside(partial(_by_site, fleet, seen), len(fleet))
    for site in unseen:
        _refuse_no_site(clouds, site)

    async def look(site: str) -> Mapping[str, ServerView]:
        return await clouds[site].look_at_all(unseen[site])

    return await _merged(list((await _at_each(unseen, look)).values()), len(fleet))


async def _at_each(sites: Iterable[str], ask: Callable[[str], Awaitable[T]]) -> dict[str, T]:
    """Ask at all sites at once; the first error of one ends it."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {site: group.create_task(_asked(ask, site), name=f"look-{site}") for site in sites}
    except ExceptionGroup as failed:  # not `except*`: what that raises is a group itself in Python 3.11.2
        raise failed.exceptions[0] from None
    return {site: task.result() for site, task in tasks.items()}


async def _asked(ask: Callable[[str], Awaitable[T]], site: str) -> T:
    return await ask(site)


def _refuse_no_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise SelectionError(f"{in_short(name)} is no server's id and no name: give one of them.")


def _refuse_no_site(clouds: Mapping[str, Cloud], site: str, also: str | None = None) -> None:
    if site not in clouds and site != also:
        named = f"the site {site!r}, which" if site else "no site, and"
        raise ConfigError(f"A server names {named} is none of this Restarter's ({', '.join(map(repr, clouds))}).")


def _stale(found: Sequence[Drifted], total: int) -> PlanStale:
    shown = ", ".join(f"{labelled(each.server, each.name)} {each.kind}" for each in found[:_NAMED])
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    return PlanStale(
        f"{counted(len(found), 'server')} of the plan's {total:,} changed since it was made: {shown}{more}. "
        "Nothing was sent: plan again.",
        drift=[asdict(each) for each in found[:_TOLD]],
        drifted=len(found),
    )
