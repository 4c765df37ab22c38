"""Asks again where the cloud fails to answer: unlike a submit, reading may be repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ecsbatch.errors import NotAccepted, UnknownAnswer

T = TypeVar("T")

WAITS: Final = (1.0, 2.0, 4.0)
"""Seconds before each further attempt; the cloud may ask for more."""

LONGEST_WAIT: Final = 60.0


async def read_patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what ``ask`` returns; where the cloud fails to answer, ask up to three times more after a pause.

    Raises:
        CloudError: the last attempt's error, or one at once that says more than that there was no answer.
    """
    for wait in WAITS:
        try:
            return await ask()
        except (UnknownAnswer, NotAccepted) as e:
            wanted = (e.retry_after or 0.0) if isinstance(e, NotAccepted) else 0.0
        await asyncio.sleep(min(max(wait, wanted), LONGEST_WAIT))
    return await ask()
