"""Which rollouts of a store nobody has any more, so that whoever starts anew should go on with them."""

from __future__ import annotations

from typing import Final

from ecsbatch.engine.ports import Store
from ecsbatch.model.events import RunFinished, RunStopped
from ecsbatch.model.outcome import HANDED_OVER, RunStatus
from ecsbatch.model.run import RunRecord

CLOSED: Final = "closed"
"""Why a rollout has stopped whose engine was closed."""

CANCELLED: Final = "cancelled"
"""Why a rollout has stopped whose task was cancelled."""

_READ_AT_ONCE: Final = 250
"""Events that are read in one go."""


async def orphans(store: Store) -> list[RunRecord]:
    """Return the rollouts whose process is gone, the oldest first; raises StoreError."""
    found = [record for record in await store.open_rollouts() if await _is_orphan(store, record)]
    return found[::-1]


async def _is_orphan(store: Store, record: RunRecord) -> bool:
    if record.status is not RunStatus.INTERRUPTED:
        return record.status is RunStatus.ORPHANED
    return await why_interrupted(store, record) in {CLOSED, CANCELLED, HANDED_OVER}


async def why_interrupted(store: Store, record: RunRecord) -> str:
    """Return the word for why an interrupted run has stopped, "" where its record has none; raises StoreError.

    Its stop need not be the last event: what was seen of its servers while that was on its way to the disk stands
    behind it.
    """
    until, piece = record.seq, 1
    while until > 0:
        after = max(until - piece, 0)
        for recorded in reversed(await store.events(record.run_id, after, until - after)):
            if recorded.seq <= until and isinstance(recorded.event, RunStopped | RunFinished):
                return recorded.event.reason if isinstance(recorded.event, RunStopped) else ""
        until, piece = after, _READ_AT_ONCE
    return ""
