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


@contextmanager
def asked_to_end() -> Generator[asyncio.Future[int]]:
    """Give a future of the number of the first signal that asks this process to end while the block runs."""
    asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def receive(number: int) -> None:
        if not asked.done():
            asked.set_result(number)

    with listening(receive):
        yield asked
