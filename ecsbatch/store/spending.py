"""Who spends the quotas of a store: what is taken and given back is counted by the minute, for an hour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.quota import quota_group
from ecsbatch.model.spending import HOUR, GroupSpending, RunSpending, Waiting
from ecsbatch.store import accounting
from ecsbatch.store import statements as sql
from ecsbatch.store.accounting import OutstandingGrant
from ecsbatch.store.database import Database
from ecsbatch.store.ledger import EVERY_GROUP, RunGrant

_MINUTE: Final = 60.0
_KEPT: Final = int(HOUR / _MINUTE)
"""Minutes that are kept, the one under way among them."""


@dataclass(slots=True)
class _Group:
    """What is known of one quota group."""

    grants: list[RunGrant] = field(default_factory=list[RunGrant])
    spent: defaultdict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    allowed: tuple[int, int] = (0, 0)


class Spending:
    """Counts what runs spend; call each method inside a transaction, with ``stamp`` in seconds since 1970."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._forgotten = 0

    def took(self, group: str, run_id: str, tokens: int, limit: int, stamp: float) -> None:
        """Count tokens that a run took of a group, which has ``limit`` in all; 0 where that is not known."""
        minute = int(stamp // _MINUTE)
        if minute != self._forgotten:
            self._database.execute(sql.FORGET_SPENT, {"before": minute - _KEPT})
            self._forgotten = minute
        row = {"name": quota_group(group), "run_id": run_id, "minute": minute, "tokens": tokens, "allowed": limit}
        self._database.execute(sql.SPEND, row)

    def groups(self, grants: Iterable[RunGrant], now: float, stamp: float) -> list[GroupSpending]:
        """Return who spends which quota; ``now`` is the time on the ledger's clock, by which ``grants`` are free."""
        groups: defaultdict[str, _Group] = defaultdict(_Group)
        for each in grants:
            if each.grant.free_at > now:
                groups[each.group].grants.append(each)
        since = int(stamp // _MINUTE) - _KEPT
        for name, run_id, minute, tokens, allowed in self._database.execute(sql.SPENT, {"since": since}):
            group = groups[name]
            group.spent[run_id] += tokens
            group.allowed = max(group.allowed, (minute, allowed)) if allowed else group.allowed
        everybody = groups.pop(EVERY_GROUP, _Group()).grants
        waits = self._waits(now)
        names = {*groups, *waits} or ({EVERY_GROUP} if everybody else set[str]())
        return [self._told(name, groups[name], everybody, waits.get(name, ()), now) for name in sorted(names)]

    def _told(
        self, name: str, group: _Group, everybody: Sequence[RunGrant], waits: Sequence[Waiting], now: float
    ) -> GroupSpending:
        limit = group.allowed[1] or None
        outstanding = [each.grant for each in (*group.grants, *everybody)]
        usage = accounting.usage(limit or 0, outstanding, now)
        now_by: defaultdict[str, list[OutstandingGrant]] = defaultdict(list)
        for each in group.grants:
            now_by[each.run_id].append(each.grant)
        runs = [
            RunSpending(
                run_id,
                self._holder(run_id),
                sum(grant.tokens for grant in now_by[run_id] if not grant.settled),
                sum(grant.tokens for grant in now_by[run_id] if grant.settled),
                max(0, group.spent[run_id]),
            )
            for run_id in {*group.spent, *now_by}
        ]
        runs = [run for run in runs if run.in_flight or run.cooling or run.last_hour]
        return GroupSpending(
            group=name,
            limit=limit,
            in_flight=sum(run.in_flight for run in runs),
            cooling=sum(run.cooling for run in runs),
            free=usage.free if limit else None,
            next_free_in=usage.next_free_in,
            last_hour=sum(run.last_hour for run in runs),
            runs=sorted(runs, key=lambda run: (-run.last_hour, run.run_id)),
            waits=waits,
            waited_out=usage.waited_out,
        )

    def _holder(self, run_id: str) -> str:
        row = self._database.execute(sql.HOLDER, {"run": run_id}).fetchone() if run_id else None
        return str(row[0]) if row is not None else ""

    def _waits(self, now: float) -> dict[str, list[Waiting]]:
        """Return who waits for tokens of each group, the next one first."""
        waits: defaultdict[str, list[Waiting]] = defaultdict(list)
        for name, wants, holder in self._database.execute(sql.TURNS_AND_HOLDERS, {"now": now}):
            waits[name].append(Waiting(holder or "", wants))
        return waits
