"""What has the leases of a store renewed each second: a thread, or a task of the event loop in virtual time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from ecsbatch.store.lease_keeper import BEAT


class Heart(Protocol):
    """Renews leases from the first one on until it is stopped."""

    def begin(self) -> None:
        """Go on with renewing: there is a lease."""
        ...

    def stop(self) -> None:
        """Renew nothing any more."""
        ...


class ThreadHeart:
    """Renews on a thread of its own, which no work of the store keeps waiting.

    Args:
        beat: renews once; what it raises nobody hears: trust has ended with it.
        idle: returns True where there is nothing to renew.
        end: called by the thread last, to close what ``beat`` uses.
        every: seconds between two renewals.
    """

    def __init__(
        self, beat: Callable[[], None], idle: Callable[[], bool], end: Callable[[], None], every: float = BEAT
    ) -> None:
        self._beat = beat
        self._idle = idle
        self._end = end
        self._every = every
        self._thread: threading.Thread | None = None
        self._awake = threading.Event()
        self._stopped = threading.Event()

    def begin(self) -> None:
        """Go on with renewing; the thread begins with the first lease."""
        self._awake.set()
        if self._thread is None and not self._stopped.is_set():
            # A daemon, since a store that nobody closed must not keep a process from ending.
            self._thread = threading.Thread(target=self._live, name="ecsbatch-leases", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread once its last renewal has ended, which is not waited for."""
        self._stopped.set()
        self._awake.set()

    def _live(self) -> None:
        try:
            while not self._stopped.wait(self._every):
                self._awake.clear()
                if self._idle():
                    # Where it was stopped before the clearing, nobody wakes it any more.
                    if not self._stopped.is_set():
                        self._awake.wait()
                else:
                    with suppress(Exception):  # whatever it is, the next renewal is tried
                        self._beat()
        finally:
            self._end()


class TaskHeart:
    """Renews in a task of the event loop that takes the first lease, for a store that works in its caller.

    Args:
        beat: renews once; what it raises nobody hears.
        idle: returns True where there is nothing to renew.
    """

    def __init__(self, beat: Callable[[], Awaitable[None]], idle: Callable[[], bool]) -> None:
        self._beat = beat
        self._idle = idle
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Go on with renewing."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._live(), name="ecsbatch-leases")

    def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            # A loop that was closed meanwhile runs nothing of it any more.
            with suppress(RuntimeError):
                self._task.cancel()

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            if self._idle():
                return
            with suppress(Exception):  # whatever it is, the next renewal is tried
                await self._beat()
