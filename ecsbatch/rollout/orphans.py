"""Which rollouts of a store nobody has any more, so that whoever starts anew should go on with them."""

from __future__ import annotations

from typing import Final

from ecsbatch.engine.ports import Store
from ecsbatch.model.events import RunStopped
from ecsbatch.model.outcome import HANDED_OVER, RunStatus
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import RunRecord

CLOSED: Final = "closed"
"""Why a rollout has stopped whose engine was closed."""

CANCELLED: Final = "cancelled"
"""Why a rollout has stopped whose task was cancelled."""


async def orphans(store: Store) -> list[str]:
    """Return the ids of the rollouts whose process is gone, the oldest first; raises StoreError."""
    found = [record.run_id for record in await store.open_rollouts() if await _is_orphan(store, record)]
    return found[::-1]


async def _is_orphan(store: Store, record: RunRecord) -> bool:
    if record.status is not RunStatus.INTERRUPTED:
        return record.status is RunStatus.ORPHANED
    return ended_with_process(await store.events(record.run_id, record.seq - 1))


def ended_with_process(last: list[Recorded]) -> bool:
    """Tell by a run's last event whether it was broken off with its process, and not by somebody's word."""
    event = last[-1].event if last else None
    return isinstance(event, RunStopped) and event.reason in {CLOSED, CANCELLED, HANDED_OVER}


def was_handed_over(last: list[Recorded]) -> bool:
    """Tell by a run's last event whether its process has left it for another one to go on with."""
    event = last[-1].event if last else None
    return isinstance(event, RunStopped) and event.reason == HANDED_OVER
