"""How a rollout goes: from servers and a `Strategy` to a `Plan` in numbers. Pure: same input, same plan.

Read `make_plan` first; what follows it are its steps, in their order.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any, Final, Literal

from ecsbatch.config.settings import Strategy
from ecsbatch.config.types import Amount
from ecsbatch.errors import Invalid, SelectionError, SelectionRefused
from ecsbatch.model.in_parts import Gathered, Sharing, in_order, kept, parts
from ecsbatch.model.outcome import SkipReason
from ecsbatch.model.plan import OUTSIDE_PERCENTAGES, Plan, Skip, Wave
from ecsbatch.model.servers import Fleet, Server, ServerView, restart_type
from ecsbatch.model.text import counted
from ecsbatch.planning.groups import LONGEST, SeenTags
from ecsbatch.planning.precheck import skip_reason

ONE_WAVE: Final = 20
"""Servers up to which ``waves = "auto"`` is one wave."""

AUTO_WAVES: Final = ("1", "1%", "10%", "100%")
"""The waves of ``waves = "auto"`` for more servers than that."""

MIN_READY_WITH_CHECK: Final = 10.0
"""Seconds that a server must stay healthy where a check is set and ``min_ready`` is not."""

LIMITS: Final = (
    "max_unavailable",
    "max_unavailable_per_domain",
    "max_failures",
    "max_failures_per_wave",
    "max_failures_per_domain",
)
"""The limits that may be changed while a run goes on."""

_Views = Mapping[str, ServerView]
_Verdict = tuple[SkipReason, bool]

_UNSEEN: Final = ServerView("")


def make_plan(
    servers: Sequence[Server],
    strategy: Strategy,
    *,
    views: _Views | None = None,
    excluded: Container[str] = (),
    restarted_recently: Container[str] = (),
    skip_updated_since: float | None = None,
    check: str = "",
    gate: str = "",
) -> Plan:
    """Return the plan of a strategy for servers.

    Args:
        servers: the targets, each once.
        strategy: what was asked for.
        views: what the cloud says of them, by id; a server without a view is planned for, precheck will look at it.
        excluded: ids to leave out by request.
        restarted_recently: ids to leave out since they were restarted already.
        skip_updated_since: seconds since 1970; the run leaves servers alone that change after the plan is made, too.
        check: the name of a health check that the caller brings itself, "" for the strategy's.
        gate: the name of a gate that the caller brings itself, "" for the strategy's.

    Raises:
        SelectionError: a server is named twice, or a domain that is needed is not known.
        SelectionRefused: there are no servers, or servers that are down already fill a budget.
    """
    views = views or {}
    fleet, seen = _as_seen(_fleet(servers), views)
    left_out = _left_out(fleet, seen, excluded, restarted_recently, precheck=strategy.precheck)
    todo = _numbers(i for i in range(len(fleet)) if i not in left_out) if left_out else range(len(fleet))
    _need_domains(fleet, todo, strategy)
    base = len(todo) + sum(verdict[0] not in OUTSIDE_PERCENTAGES for verdict in left_out.values())
    ordered, waves = _waves(fleet, _ordered(fleet, todo, strategy.order, views), strategy, base)
    tail, skips = _skips(left_out, len(ordered))
    check = check or strategy.check or ""
    default_ready = MIN_READY_WITH_CHECK if check else 0.0
    plan = Plan(
        fleet=_permuted(fleet, ordered, tail),
        waves=waves,
        skips=skips,
        type=restart_type(strategy.type),
        batch_size=strategy.batch_size,
        on_failure=strategy.on_failure,
        soak=strategy.soak,
        hold_after=_holds(strategy.hold_after, len(waves)),
        min_ready=default_ready if strategy.min_ready is None else strategy.min_ready,
        check=check,
        check_ca=strategy.check_ca,
        check_interval=strategy.check_interval,
        gate=gate or strategy.gate or "",
        gate_timeout=strategy.gate_timeout,
        server_timeout=strategy.server_timeout,
        on_unknown=strategy.on_unknown,
        precheck=strategy.precheck,
        skip_updated_since=skip_updated_since,
        max_not_found=Amount.parse(strategy.max_not_found).resolve(len(fleet)),
    )
    plan = _with_limits(plan, strategy, LIMITS)
    _refuse_full_budgets(plan, views)
    return plan


def resolve_limits(plan: Plan, **limits: int | str | None) -> Plan:
    """Return the plan with new values for some of its `LIMITS`, given as a `Strategy` takes them.

    Raises:
        Invalid: a value cannot be, or a name is none of `LIMITS`.
    """
    if stray := set(limits) - set(LIMITS):
        known = ", ".join(LIMITS)
        raise Invalid(f"{min(stray)} is none of the limits {known}.", field=min(stray), expected=known)
    given: dict[str, Any] = dict(limits)
    return _with_limits(plan, Strategy(**given), tuple(limits))


def interleave(groups: Iterable[Sequence[int]]) -> Sequence[int]:
    """Merge groups so that every prefix has each group's share of members, to less than one more or less.

    Taking the next member by the earliest deadline achieves this (R. Tijdeman, "The chairman assignment problem",
    1980): with N members in all, the k-th of a group of n may stand at position ⌊(k-1)N/n⌋+1 at the earliest and must
    at ⌈kN/n⌉ at the latest.
    """
    queues = [group for group in groups if group]
    if len(queues) == 1:
        return queues[0]
    total = sum(map(len, queues))
    merged = _numbers()
    due: list[tuple[int, int, int]] = []
    later: list[tuple[int, int, int]] = [(1, g, 0) for g in range(len(queues))]
    for position in range(1, total + 1):
        while later and later[0][0] <= position:
            _, g, k = heappop(later)
            heappush(due, (-(-(k + 1) * total // len(queues[g])), g, k))
        _, g, k = heappop(due)
        merged.append(queues[g][k])
        if k + 1 < len(queues[g]):
            heappush(later, ((k + 1) * total // len(queues[g]) + 1, g, k + 1))
    return merged


def _numbers(numbers: Iterable[int] = ()) -> array[int]:
    """Return servers' indexes in four bytes each; of a million a list would take forty each."""
    return array("i", numbers)


def _fleet(servers: Sequence[Server]) -> Fleet:
    """Return the targets in columns."""
    if not servers:
        raise SelectionRefused("No server is selected; an empty selection never means all.")
    try:
        fleet = servers if isinstance(servers, Fleet) else Fleet.of(servers)
    except ValueError:
        twice = next(id_ for id_, count in Counter(server.id for server in servers).items() if count > 1)
        raise SelectionError(f"Server {twice} is named twice; name each server once.") from None
    return fleet


def _as_seen(fleet: Fleet, views: _Views) -> tuple[Fleet, dict[int, _Verdict]]:
    """Return the servers with what is not given and the cloud says: domains, names, groups; and who should be skipped.

    All views are gone through once: of a million each is made when it is asked for (`ViewTable`).
    """
    if not views:
        return fleet, {}
    columns = domains, names, hosts = [Gathered[str](Sharing()) for _ in range(3)]
    tags, verdicts = SeenTags(), dict[int, _Verdict]()
    for part in parts(range(len(fleet))):
        of_part = list[str](), list[str](), list[str]()
        add_domain, add_name, add_host = (column.append for column in of_part)
        for i in part:
            view = views.get(fleet.ids[i]) or _UNSEEN
            add_domain(fleet.domain(i) or view.az)
            add_name(fleet.name(i) or view.name)
            add_host(view.host_id[:LONGEST])
            tags.add(view.tags)
            if view is not _UNSEEN and (verdict := skip_reason(view)):
                verdicts[i] = verdict
        for column, seen in zip(columns, of_part, strict=True):
            column.add(seen)
    return fleet.described(domains.kept(), names.kept(), hosts.kept(), tags.columns()), verdicts


def _left_out(
    fleet: Fleet,
    seen: Mapping[int, _Verdict],
    excluded: Container[str],
    recent: Container[str],
    *,
    precheck: bool,
) -> dict[int, _Verdict]:
    """Return the servers to skip, by index, with the reason; a request goes before what is ``seen``.

    A server that does not exist is one of these whatever was asked for: nothing is a share of it.
    """
    found: dict[int, _Verdict] = {}
    for i, server_id in enumerate(fleet.ids):
        verdict = seen.get(i)
        if server_id in excluded:
            found[i] = (SkipReason.EXCLUDED, False)
        elif verdict is not None and verdict[0] is SkipReason.NOT_FOUND:
            found[i] = verdict
        elif server_id in recent:
            # It may be down at this moment: the restart for which it is left alone need not be over.
            found[i] = (SkipReason.RESTARTED_RECENTLY, verdict is not None and verdict[1])
        elif precheck and verdict:
            found[i] = verdict
    return found


def _need_domains(fleet: Fleet, todo: Sequence[int], strategy: Strategy) -> None:
    """Check that domains are known where a limit or a wave depends on them.

    Raises:
        SelectionError: one is not known.
    """
    asked = [
        name
        for name, wanted in (
            ("waves", "domain" in strategy.waves),
            ("max_unavailable_per_domain", strategy.max_unavailable_per_domain is not None),
            ("max_failures_per_domain", strategy.max_failures_per_domain is not None),
        )
        if wanted
    ]
    unknown = [i for i in todo if not fleet.domain(i)] if asked else []
    if unknown:
        raise SelectionError(
            f"{asked[0]} asks for domains, and that of {len(unknown)} servers is not known (first "
            f"{fleet.label(unknown[0])}); add a column az to the list, or let the cloud be asked, as `Restarter.plan` "
            "does."
        )


def _ordered(fleet: Fleet, todo: Sequence[int], order: str, views: _Views) -> Sequence[int]:
    if order == "input":
        return todo
    if order == "oldest":
        return _oldest(fleet, todo, views)
    domains = [_spread_hosts(fleet, members, views) for _, members in _by_domain(fleet, todo)]
    return interleave(domains) if order == "spread" else _joined(domains)


def _joined(groups: Iterable[Sequence[int]]) -> array[int]:
    joined = _numbers()
    for group in groups:
        for part in parts(group):
            joined.extend(part)
    return joined


def _oldest(fleet: Fleet, todo: Sequence[int], views: _Views) -> Sequence[int]:
    unseen = next((fleet.label(i) for i in todo if fleet.ids[i] not in views), None)
    if unseen is not None:
        raise SelectionError(f"order = oldest needs the cloud's record of each server, and {unseen} has none here.")
    return in_order(kept((views.get(id_) or _UNSEEN).updated for id_ in fleet.ids), todo)


def _by_domain(fleet: Fleet, members: Sequence[int], *, by_name: bool = True) -> list[tuple[str, Sequence[int]]]:
    groups = list(_grouped(fleet.domains, members).items())
    return sorted(groups, key=itemgetter(0)) if by_name else groups


def _grouped(column: Sequence[str] | None, members: Sequence[int]) -> Mapping[str, Sequence[int]]:
    """Return servers by what a column has for each, in the order in which that comes; None: one "" for all."""
    if column is None:
        return {"": members} if members else {}
    groups: defaultdict[str, array[int]] = defaultdict(_numbers)
    for i in members:
        groups[column[i]].append(i)
    return groups


def _spread_hosts(fleet: Fleet, members: Sequence[int], views: _Views) -> Sequence[int]:
    """Keep servers of one physical host apart, so that they do not all boot, or all fail, at once."""
    if not views:
        return members
    hosts = _grouped(fleet.hosts, members)
    return interleave(hosts[host] for host in sorted(hosts))


def _waves(
    fleet: Fleet, ordered: Sequence[int], strategy: Strategy, base: int
) -> tuple[Sequence[int], tuple[Wave, ...]]:
    """Return the final order and its waves; for ``domain`` the rest is first ordered by domains."""
    sizes = strategy.waves
    if sizes == ("auto",):
        sizes = AUTO_WAVES if len(ordered) > ONE_WAVE else ("100%",)
    by_domain = sizes[-1] == "domain"
    if by_domain and strategy.order == "domain":
        ordered = interleave(members for _, members in _by_domain(fleet, ordered))
    cuts = _cuts(sizes[:-1] if by_domain else sizes, len(ordered), base, repeat=not by_domain)
    if by_domain:
        first = cuts[-1][0] if cuts else 0
        groups = _by_domain(fleet, ordered[first:], by_name=strategy.order != "input")
        ordered = _joined([ordered[:first], *(members for _, members in groups)])
        for domain, members in groups:
            first += len(members)
            cuts.append((first, domain))
    ends = [0, *(end for end, _ in cuts)]
    labels = [label for _, label in cuts]
    ranges = zip(pairwise(ends), labels, strict=True)
    return ordered, tuple(Wave(n, start, end, label) for n, ((start, end), label) in enumerate(ranges, 1))


def _cuts(sizes: Sequence[str], total: int, base: int, *, repeat: bool) -> list[tuple[int, str]]:
    """Return the end and the label of each wave; with ``repeat`` the last size is used again and again."""
    cuts: list[tuple[int, str]] = []
    end = 0
    while end < total and (repeat or len(cuts) < len(sizes)):
        label = sizes[min(len(cuts), len(sizes) - 1)]
        end = min(end + Amount.parse(label).resolve(base, minimum=1), total)
        cuts.append((end, label))
    return cuts


def _skips(left_out: Mapping[int, _Verdict], start: int) -> tuple[list[int], tuple[Skip, ...]]:
    """Return the skipped servers' indexes, reason by reason in the order of the list, and their `Skip` ranges."""
    groups: dict[_Verdict, list[int]] = {(reason, holds): [] for reason in SkipReason for holds in (False, True)}
    for i, verdict in left_out.items():
        groups[verdict].append(i)
    tail: list[int] = []
    skips: list[Skip] = []
    for (reason, holds), members in groups.items():
        if members:
            skips.append(Skip(reason.value, start + len(tail), start + len(tail) + len(members), holds))
            tail += members
    return tail, tuple(skips)


def _permuted(fleet: Fleet, ordered: Sequence[int], tail: Sequence[int]) -> Fleet:
    # A million servers in columns are not copied where the order is the list's own.
    if all(i == index for i, index in enumerate(chain(ordered, tail))):
        return fleet
    return fleet.arranged(_joined([ordered, tail]))


def _holds(asked: int | str | None, waves: int) -> tuple[int, ...]:
    """Return the numbers of the waves after which the run waits; never the last one, after which nothing is left."""
    if asked is None:
        return ()
    if asked == "each":
        return tuple(range(1, waves))
    return (int(asked),) if int(asked) < waves else ()


def _with_limits(plan: Plan, strategy: Strategy, names: Collection[str]) -> Plan:
    """Return the plan with the named limits as numbers: budgets are at least 1, failure limits may be 0."""
    minimum: Mapping[str, Literal[0, 1]] = {"max_unavailable": 1, "max_unavailable_per_domain": 1}
    resolved: dict[str, Any] = {}
    for name in names:
        given = getattr(strategy, name)
        amount = None if given is None else Amount.parse(given)
        least = minimum.get(name, 0)
        if amount is None:
            resolved[name] = None
        elif name.endswith("_per_domain"):
            resolved[name] = {d: amount.resolve(n, least) for d, n in plan.domain_bases().items()}
        elif name.endswith("_per_wave"):
            resolved[name] = tuple(amount.resolve(len(wave), least) for wave in plan.waves)
        else:
            resolved[name] = amount.resolve(plan.base, least)
    return replace(plan, **resolved)


def _refuse_full_budgets(plan: Plan, views: _Views) -> None:
    """Check that servers which are down already leave a slot of each budget.

    Raises:
        SelectionRefused: they do not, and the run could never start.
    """
    if not plan.waves or not plan.held:
        return
    down = [i for skip in plan.skips if skip.holds for i in range(skip.start, skip.end)]
    if plan.held >= plan.max_unavailable:
        raise SelectionRefused(_full("max_unavailable", plan.max_unavailable, plan, down, views))
    limits = plan.max_unavailable_per_domain or {}
    held = plan.held_by_domain()
    for domain in plan.domains():
        limit = limits.get(domain)
        if limit is not None and held.get(domain, 0) >= limit:
            of_it = [i for i in down if plan.fleet.domain(i) == domain]
            raise SelectionRefused(_full(f"max_unavailable_per_domain of {domain}", limit, plan, of_it, views))


def _full(limit: str, value: int, plan: Plan, down: Sequence[int], views: _Views) -> str:
    shown = ", ".join(f"{plan.fleet.label(i)} ({_state(views[plan.fleet.ids[i]])})" for i in down[:3])
    more = f" and {len(down) - 3} more" if len(down) > 3 else ""  # noqa: PLR2004  # the three that are shown
    are, fill = ("is", "fills") if len(down) == 1 else ("are", "fill")
    return (
        f"{counted(len(down), 'server')} {are} down or changing already and {fill} {limit} ({value}) alone: "
        f"{shown}{more}; mend or exclude them, or raise the limit."
    )


def _state(view: ServerView) -> str:
    return "/".join(part for part in (view.status, view.task_state) if part) or "no state"
