"""An audit of a run in a store: what it reads for that, and which other runs beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from ecsbatch.audit.stored import JournalTally, StoredRun, compare
from ecsbatch.model.events import BatchSubmitting
from ecsbatch.model.recorded import Recorded, decode
from ecsbatch.rollout.follower import pages

if TYPE_CHECKING:
    from ecsbatch.audit.receipt import Receipt
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.servers import Fleet
    from ecsbatch.store import DatabaseStore

_REACH: Final = 7_200.0
"""Seconds before and after a run in which another one's requests may share a window with its own: an hour of grace,
the longest timeouts and windows that are usual."""

_INTENT: Final = f'"event":"{BatchSubmitting.name}"'.encode()
_HEAD: Final = 160
"""Bytes of a line within which an event's name stands, before any text of the cloud's."""


async def audit_run(store: DatabaseStore, name: str, anchor: str = "") -> Receipt:
    """Replay a run's record and compare it with the rest of its store.

    Args:
        store: has the run.
        name: of the run, "" for the latest.
        anchor: the head of its record as somebody has noted it, "" for none.

    Raises:
        ConfigError: there is no such run.
        StoreError: the store cannot be read.
    """
    record = await store.run(name)
    others = await _meanwhile(store, record)
    fleet = await store.targets(record.run_id) if record.kind == "rollout" else None
    loop = asyncio.get_running_loop()
    # The audit reads page after page without ever waiting: on a thread, while the store answers from this loop.
    receipt, tally = await asyncio.to_thread(_replay_run, store, record, fleet, others, loop)
    unclaimed, overclaimed = await _claims_amiss(store, record, fleet)
    chain = await store.check_chain(record.run_id, anchor)
    steady = (await store.run(record.run_id)).seq == record.seq
    row = (record.seq, record.status.value, record.status.over, record.counts, record.plan)
    same = fleet is None or fleet.targets_hash() == record.targets_hash
    return compare(receipt, StoredRun(*row, chain, same, steady, anchor, unclaimed, overclaimed), tally)


def _replay_run(
    store: DatabaseStore,
    record: RunRecord,
    fleet: Fleet | None,
    others: list[RunRecord],
    loop: asyncio.AbstractEventLoop,
) -> tuple[Receipt, JournalTally]:
    from ecsbatch.audit.replay import audit as replay  # noqa: PLC0415 - imported when used

    spent: set[str] = set()
    tally = JournalTally()
    own = _tallied(_noting(pages(store, record.run_id, loop), spent), tally)
    beside = (_of_groups(pages(store, each.run_id, loop), spent) for each in others)
    return replay(own, fleet, beside=beside, run_id=record.run_id), tally


def _tallied(lines: Iterator[bytes], tally: JournalTally) -> Iterator[Recorded | bytes]:
    """Pass lines on, decoded where they can be, and tally them."""
    for line in lines:
        try:
            recorded = decode(line)
        except ValueError:
            recorded = None
        if recorded is not None:
            tally.feed(recorded.event)
        yield recorded or line


async def _claims_amiss(store: DatabaseStore, record: RunRecord, fleet: Fleet | None) -> tuple[list[str], list[str]]:
    """Return the servers that a run should have and has not, and those that it has and should not."""
    if fleet is None or record.status.over:
        return [], []
    unclaimed, overclaimed = await store.claims_amiss(record, fleet)
    # A run that has ended meanwhile has let its servers go.
    over = (await store.run(record.run_id)).status.over
    return ([], []) if over else ([server for _, server in unclaimed], [server for _, server in overclaimed])


async def _meanwhile(store: DatabaseStore, record: RunRecord) -> list[RunRecord]:
    """Return the other runs of the store that were going on near this one's time."""
    near = await store.runs_between(record.created_at - _REACH, await _ended(store, record) + _REACH)
    return [each for each in near if each.run_id != record.run_id]


async def _ended(store: DatabaseStore, record: RunRecord) -> float:
    """Return when a run's last event was stored."""
    for line in await store.lines(record.run_id, max(0, record.seq - 1), 1):
        try:
            last = decode(line)
        except ValueError:
            last = None
        if last is not None:
            return last.ts
    return float("inf")


def _noting(lines: Iterator[bytes], groups: set[str]) -> Iterator[bytes]:
    """Pass lines on, and note whose quota they spend."""
    for line in lines:
        if _is_intent(line):
            groups.add(_group(line))
        yield line


def _of_groups(lines: Iterator[bytes], groups: Collection[str]) -> Iterator[bytes]:
    """Pass lines on, without requests that spend another quota."""
    return (line for line in lines if not _is_intent(line) or _group(line) in groups)


def _is_intent(line: bytes) -> bool:
    return _INTENT in line[:_HEAD]


def _group(line: bytes) -> str:
    try:
        told: dict[str, Any] = orjson.loads(line)
    except ValueError:
        return ""
    # Older versions wrote the endpoint into it; a project is of one region.
    return str(told.get("group") or "").rpartition("/")[2] or str(told.get("site") or "")
