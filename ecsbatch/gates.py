"""What stands between two waves: a soak, a hold until somebody promotes, a gate that is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from ecsbatch.state import RolloutState

GateVerdict = Literal["go", "wait", "stop"]
Gate = Callable[[RolloutState], Awaitable[GateVerdict]]
"""Asked before each wave but the first: ``go``, ask again (``wait``), or ``stop``; raising is inconclusive."""
