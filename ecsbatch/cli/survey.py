"""From servers that are meant to a plan that a person can read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from ecsbatch.cli.wiring import make_client, make_store
from ecsbatch.errors import SelectionRefused
from ecsbatch.model.conflicts import ServersClaimed
from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import Server, ServerView, Site
from ecsbatch.model.text import counted, printable
from ecsbatch.planning.selection import Selection
from ecsbatch.planning.strategy import make_plan
from ecsbatch.planning.time_model import time_model
from ecsbatch.views.plan import PlanView

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.model.run import Claim, RunRecord
    from ecsbatch.store import DatabaseStore


RECENTLY: Final = 3600.0
"""Seconds for which a restart of ours is worth a word in the next plan."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The servers that are meant, as they were found.

    Attributes:
        servers: those of them that no other run has, where that was asked for.
        views: what the cloud says of each.
        site: where they are.
        inventory: servers in the project; None where nothing told.
        excluded, recent: ids to be left alone, by request and since they were restarted or changed already.
        claimed: servers that other runs have and that were left out for it, by run.
        skip_updated_since: what changes from then on is to be left alone as well, seconds since 1970.
        recently_restarted: how many of them our runs have restarted within the last hour; 0 where those are left out.
    """

    servers: Sequence[Server]
    views: Mapping[str, ServerView]
    site: Site
    inventory: int | None = None
    excluded: frozenset[str] = field(default=frozenset(), repr=False)
    recent: frozenset[str] = field(default=frozenset(), repr=False)
    claimed: Mapping[str, int] = field(default_factory=dict[str, int])
    skip_updated_since: float | None = None
    recently_restarted: int = 0

    @property
    def left(self) -> list[Server]:
        """The servers that are not to be left alone."""
        return [s for s in self.servers if s.id not in self.excluded and s.id not in self.recent]


@dataclass(frozen=True, slots=True)
class PreparedPlan:
    """A plan to be shown, and what it was made from.

    Attributes:
        view: the plan, and what surrounds it.
        views, site: what the cloud says of its servers, and where they are.
        inventory: how many servers the project has, None where nothing told.
        recently_restarted: how many of the plan's our runs have restarted within the last hour.
    """

    view: PlanView
    views: Mapping[str, ServerView]
    site: Site
    inventory: int | None
    recently_restarted: int = 0


async def survey(
    selection: Selection,
    context: CliContext,
    *,
    count: bool = False,
    opened: bool = True,
    refuse_claimed: bool = False,
    run_id: str = "",
) -> Survey:
    """Look at the servers that are meant, and at what the store knows of them; nothing is restarted.

    Args:
        selection: who is meant.
        context: of the command: where the servers are, and which store is used.
        count: the project's number of servers is wanted.
        opened: the store will be written to: it is opened once, to see that it can be.
        refuse_claimed: servers that other runs have are refused, unless they are to be left out.
        run_id: the run that this is for; its own servers are no other run's.

    Raises:
        ConfigError: a setting is missing or malformed.
        SelectionRefused: nothing is left.
        ServersClaimed: other runs have some of the servers.
        CloudError: not everything could be seen.
        StoreError: the store cannot be opened.
    """
    from ecsbatch.cli.looking import look_progress  # noqa: PLC0415 - imported when used
    from ecsbatch.ecs.inventory import find  # noqa: PLC0415 - the same

    async with AsyncExitStack() as stack:
        store: DatabaseStore | None = None
        # Whatever is wrong with the store is told before anything is looked at or asked.
        if opened or selection.exclude_claimed or selection.restarted_since is not None:
            store = await stack.enter_async_context(make_store(context.store_url))
        ecs = await stack.enter_async_context(make_client(context.settings))
        async with look_progress(context) as progress:
            seen = await find(ecs, selection, count=count, told=progress.note)
        selection = replace(selection, excluded=selection.excluded | seen.excluded)
        recent = selection.updated(seen.views.values())
        servers, claimed, recently_restarted = seen.servers, dict[str, int](), 0
        if store is not None and selection.restarted_since is None:
            ours = await store.restarted_since(time.time() - RECENTLY)
            recently_restarted = sum(server.id in ours for server in servers)
        if store is not None:
            if selection.restarted_since is not None:
                recent |= await store.restarted_since(selection.restarted_since)
            if selection.exclude_claimed:
                servers, claimed = await _unclaimed(store, servers, run_id)
            elif refuse_claimed:
                wanted = [server for server in servers if server.id not in selection.excluded]
                await _refuse_claimed(store, wanted, run_id)
    excluded = frozenset(server.id for server in servers if server.id in selection.excluded)
    found = Survey(servers, seen.views, ecs.site, seen.in_project, excluded, frozenset(recent), claimed)
    return replace(found, skip_updated_since=selection.updated_since, recently_restarted=recently_restarted)


async def _unclaimed(
    store: DatabaseStore, servers: Sequence[Server], run_id: str
) -> tuple[list[Server], dict[str, int]]:
    """Leave out the servers that other runs have.

    They are left out of the plan, not skipped by it: a run claims every server that it accounts for.

    Raises:
        SelectionRefused: nothing is left.
    """
    owners, others = await _claimed(store, servers, run_id)
    left = [server for server in servers if owners.get((server.site, server.id), "") not in others]
    if not left:
        runs = ", ".join(others)
        raise SelectionRefused(
            f"All of {counted(len(servers), 'server')} belong to other runs ({runs}): wait for them, or abort them."
        )
    return left, {run: n for run, (n, _) in others.items()}


async def _refuse_claimed(store: DatabaseStore, servers: Sequence[Server], run_id: str) -> None:
    """Tell now what the store would refuse once a plan was read and agreed to.

    Raises:
        ServersClaimed: other runs have some of the servers.
    """
    _, others = await _claimed(store, servers, run_id)
    if others:
        _, most = max(others.values(), key=lambda other: other[0])
        raise ServersClaimed(most, {run: n for run, (n, _) in others.items()})


async def _claimed(
    store: DatabaseStore, servers: Sequence[Server], run_id: str
) -> tuple[Mapping[Claim, str], dict[str, tuple[int, RunRecord]]]:
    """Return who has which server, and the other runs among them, each with how many it has."""
    owners = await store.claimed([(server.site, server.id) for server in servers])
    others: dict[str, tuple[int, RunRecord]] = {}
    for owner, number in Counter(owners.values()).items():
        record = await store.run(owner)
        # The single restarts of a program that is gone have nothing to resume: their claims are void.
        if owner != run_id and not (record.kind == "direct" and not record.held):
            others[owner] = number, record
    return owners, others


def prepare(found: Survey, context: CliContext) -> PreparedPlan:
    """Plan the restart of what was found.

    Raises:
        SelectionError: see `make_plan`.
    """
    plan = make_plan(
        found.servers,
        context.settings.strategy,
        views=found.views,
        excluded=found.excluded,
        restarted_recently=found.recent,
        skip_updated_since=found.skip_updated_since,
    )
    view = view_of(plan, context, found.site, found.claimed)
    return PreparedPlan(view, found.views, found.site, found.inventory, found.recently_restarted)


def view_of(plan: Plan, context: CliContext, site: Site, claimed: Mapping[str, int] | None = None) -> PlanView:
    """Put a plan beside what surrounds it here and now.

    Args:
        plan: what is to be done.
        context: of the command.
        site: where the servers are.
        claimed: servers that were left out since other runs have them, by run.

    Raises:
        ConfigError: the default store's folder cannot be made.
    """
    engine = context.settings.engine
    return PlanView(
        plan,
        time_model(plan, engine.quota, engine.typical_restart),
        engine.quota,
        engine.typical_restart,
        printable(f"{site.region or site.endpoint}, project {site.project_id}"),
        context.store_url,
        claimed or {},
    )
