"""What is to be done with the exit code once a command is over, and when the command began."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_BEGAN: Final = time.time_ns()
_WAITING: Final = list[Callable[[int], None]]()


def began_at() -> int:
    """Return when this program began, nanoseconds since 1970."""
    return _BEGAN


def when_over(call: Callable[[int], None]) -> None:
    """Have something called with the exit code."""
    _WAITING.append(call)


def over(code: int) -> None:
    """Call all that waits for the command's end, once."""
    while _WAITING:
        _WAITING.pop()(code)
