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

_PAUSES: Final = (1.0, 5.0)
"""Seconds before a listing is read again, and once more."""


class Contradiction(UnknownAnswer):
    """A listing that does not agree with itself; the fleet may have changed between its pages."""


async def read_again(read: Callable[[], Awaitable[T]]) -> T:
    """Return what ``read`` makes of a whole listing; where that contradicts itself, read it twice more.

    Raises:
        Contradiction: it still does.
        CloudError: it cannot be read.
    """
    for pause in _PAUSES:
        try:
            return await read()
        except Contradiction:
            await asyncio.sleep(pause)
    return await read()


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
