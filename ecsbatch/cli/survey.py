"""From servers that are meant to a plan that a person can read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import field, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ecsbatch.cli.candidates import remember
from ecsbatch.cli.wiring import make_client, make_store, store_exists
from ecsbatch.errors import SelectionRefused
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.conflicts import ServersClaimed
from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import Server, ServerView, Site
from ecsbatch.model.store_url import shown
from ecsbatch.model.text import counted, printable
from ecsbatch.planning.selection import Selection
from ecsbatch.planning.strategy import make_plan
from ecsbatch.planning.time_model import time_model
from ecsbatch.views.plan import PlanView, freeze_warnings, plan_warnings

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.model.freeze import Freeze
    from ecsbatch.model.run import Claim, RunRecord
    from ecsbatch.store import DatabaseStore

StoreUse: TypeAlias = Literal["write", "read", "none"]

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
        conflict: other runs have some of the servers that are meant; None where none has, or nobody has looked.
        restarted_lately: ids that our runs have restarted within the last hour; none where those are left out.
        idle_excludes: how many ids of --exclude are none of the servers.
        frozen: the freeze of the store, None where there is none or nobody has looked.
    """

    # A loop that ends writes the repr of what its task has returned, and drops it: lists of servers are not in it.
    servers: Sequence[Server] = field(repr=False)
    views: Mapping[str, ServerView] = field(repr=False)
    site: Site
    inventory: int | None = None
    excluded: frozenset[str] = field(default=frozenset(), repr=False)
    recent: frozenset[str] = field(default=frozenset(), repr=False)
    claimed: Mapping[str, int] = field(default_factory=dict[str, int])
    skip_updated_since: float | None = None
    conflict: ServersClaimed | None = None
    restarted_lately: Container[str] = field(default=(), repr=False)
    idle_excludes: int = 0
    frozen: Freeze | None = None

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
        conflict: other runs have some of its servers; None where none has.
    """

    view: PlanView
    views: Mapping[str, ServerView] = field(repr=False)
    site: Site
    inventory: int | None
    conflict: ServersClaimed | None = None


async def survey(
    selection: Selection,
    context: CliContext,
    *,
    count: bool = False,
    store: StoreUse = "write",
    run_id: str = "",
) -> Survey:
    """Look at the servers that are meant, and at what the store knows of them; nothing is restarted.

    Args:
        selection: who is meant.
        context: of the command: where the servers are, and which store is used.
        count: the project's number of servers is wanted.
        store: what for: one that will be written to is opened to see that it can be; one that is only read need not be
            there; and without any use it is read only where the selection asks for what it knows.
        run_id: the run that this is for; its own servers are no other run's.

    Raises:
        ConfigError: a setting is missing or malformed.
        SelectionRefused: nothing is left.
        CloudError: not everything could be seen.
        StoreError: the store cannot be opened.
    """
    from ecsbatch.cli.looking import look_progress  # noqa: PLC0415 - imported when used
    from ecsbatch.ecs.inventory import find  # noqa: PLC0415 - the same

    async with AsyncExitStack() as stack:
        # Whatever is wrong with the store is told before anything is looked at or asked.
        known = _store_for(store, selection, context)
        if known is not None:
            await stack.enter_async_context(known)
        ecs = await stack.enter_async_context(make_client(context.settings))
        async with look_progress(context) as progress:
            seen = await find(ecs, selection, count=count, told=progress.note)
        selection = replace(selection, excluded=selection.excluded | seen.excluded)
        recent = selection.updated(seen.views.values())
        servers, claimed, conflict, lately = seen.servers, dict[str, int](), None, set[str]()
        frozen = await known.frozen() if known is not None else None
        if known is not None:
            if (since := selection.restarted_since) is not None:
                # What is on record is stamped by the store's clock, which may be another machine's.
                ahead = known.wall() - time.time() if selection.restarted_ago else 0.0
                recent |= await known.restarted_since(since + ahead)
            else:
                lately = await known.restarted_since(known.wall() - RECENTLY)
            if selection.exclude_claimed:
                servers, claimed = await _unclaimed(known, servers, run_id)
            else:
                wanted = [server for server in servers if server.id not in selection.excluded]
                conflict = await _conflict(known, wanted, run_id)
    excluded = frozenset(server.id for server in servers if server.id in selection.excluded)
    found = Survey(servers, seen.views, ecs.site, seen.in_project, excluded, frozenset(recent), claimed)
    idle = len(selection.excluded.difference(server.id for server in seen.servers))
    found = replace(found, frozen=frozen, idle_excludes=idle, skip_updated_since=selection.updated_since)
    return replace(found, conflict=conflict, restarted_lately=lately)


def _store_for(use: StoreUse, selection: Selection, context: CliContext) -> DatabaseStore | None:
    if use == "write":
        return make_store(context.store_url)
    asked = use == "read" or selection.exclude_claimed or selection.restarted_since is not None
    return make_store(context.store_url, read_only=True) if asked and store_exists(context.store_url) else None


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


async def _conflict(store: DatabaseStore, servers: Sequence[Server], run_id: str) -> ServersClaimed | None:
    """Return what the store would raise once a plan was read and agreed to."""
    _, others = await _claimed(store, servers, run_id)
    if not others:
        return None
    _, most = max(others.values(), key=lambda other: other[0])
    return ServersClaimed(most, {run: n for run, (n, _) in others.items()})


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
    """Plan the restart of what was found; a shell completes what was seen of it from then on.

    Raises:
        SelectionError: see `make_plan`.
    """
    remember(found.views, context.store_url)
    plan = make_plan(
        found.servers,
        context.settings.strategy,
        views=found.views,
        excluded=found.excluded,
        restarted_recently=found.recent,
        skip_updated_since=found.skip_updated_since,
    )
    return prepared_as(plan, found, context, hold_after=context.settings.strategy.hold_after)


def prepared_as(plan: Plan, found: Survey, context: CliContext, *, hold_after: int | str | None = None) -> PreparedPlan:
    """Put a plan beside what surrounds it here and now.

    Args:
        plan: what is to be done.
        found: its servers, as they are now.
        context: of the command.
        hold_after: as it was asked for, where the plan was made just now.

    Raises:
        ConfigError: the default store's folder cannot be made.
    """
    from ecsbatch.rollout.hooks import GivenHooks, cannot_be_asked  # noqa: PLC0415 - imported when used

    engine, site = context.settings.engine, found.site
    lately = sum(id_ in found.restarted_lately for id_ in islice(plan.fleet.ids, plan.to_restart))
    view = PlanView(
        plan,
        time_model(plan, engine.quota, engine.typical_restart),
        engine.quota,
        engine.typical_restart,
        printable(f"{site.region or site.endpoint}, project {site.project_id}"),
        shown(context.store_url),
        found.claimed,
        found.conflict.runs if found.conflict is not None else {},
        [
            *freeze_warnings(found.frozen, time.time()),
            *plan_warnings(plan, hold_after, cannot_be_asked(plan, GivenHooks()), lately, found.idle_excludes),
        ],
        found.frozen,
    )
    return PreparedPlan(view, found.views, site, found.inventory, found.conflict)
