"""Listening for the signals that ask a command to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def listening(receive: Callable[[int], None]) -> Generator[None]:
    """Call a function with each signal while the block runs; a signal that is ignored (nohup) stays so."""
    loop = asyncio.get_running_loop()
    wanted = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in wanted:
        loop.add_signal_handler(number, receive, number)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)


async def until_signal() -> int:
    """Wait until a signal asks this process to end, and return its number."""
    asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def receive(number: int) -> None:
        if not asked.done():
            asked.set_result(number)

    with listening(receive):
        return await asked
