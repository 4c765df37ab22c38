"""A byte for each server: how far it is, whether it may still be down, whether its health check is still to pass."""

from __future__ import annotations

import re
from typing import Final

from ecsbatch.model.state import RolloutState
from ecsbatch.policy.decide import unhealthy

STAGE: Final = 0x0F
"""The bits of a cell that are the server's `Stage`."""

NOT_BACK: Final = 0x10
"""It has its outcome, and was not seen up since, see `Counts`."""

NOT_HEALTHY: Final = 0x20
"""The cloud has restarted it, and its health check has not passed yet."""

_BLOCK: Final = 4096
"""Bytes that are compared in one go; most blocks of a large fleet are as they were."""

_DIFFERENT: Final = re.compile(rb"[^\x00]")


def cell_states(state: RolloutState) -> bytes:
    """Return a cell for each server of the plan's fleet."""
    cells = bytearray(state.stage)
    for i in state.held:
        cells[i] |= NOT_BACK
    for server in unhealthy(state):
        cells[state.plan.fleet.find(server)] |= NOT_HEALTHY
    return bytes(cells)


def changed(before: bytes, after: bytes) -> list[int]:
    """Return the indexes at which two rows of cells differ, in their order.

    Raises:
        ValueError: they are not of one fleet.
    """
    if len(before) != len(after):
        raise ValueError(f"There are {len(before):,} cells and {len(after):,}.")
    found: list[int] = []
    for start in range(0, len(after), _BLOCK):
        was, now = before[start : start + _BLOCK], after[start : start + _BLOCK]
        if was != now:
            found += [start + i for i in _differ(was, now)]
    return found


def _differ(was: bytes, now: bytes) -> list[int]:
    bits = int.from_bytes(was, "little") ^ int.from_bytes(now, "little")
    return [each.start() for each in _DIFFERENT.finditer(bits.to_bytes(len(now), "little"))]
