"""Tasks that belong together: none of them is meant to end, and one that does ends all.

A `asyncio.TaskGroup` takes a child that was cancelled for one that is done, so that a worker which somebody's stray
cancellation has ended would be missed by nobody, and whoever waits for its work would wait for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Generic, NoReturn, TypeVar

from ecsbatch.errors import EngineStopped

T = TypeVar("T")

CANCEL_AGAIN: Final = 3.0
"""Seconds after which a worker that goes on is cancelled once more: `wait_for` of Python 3.11 may lose the first."""


async def work_together(workers: Mapping[str, Coroutine[Any, Any, None]]) -> NoReturn:
    """Run workers, by their tasks' names, until cancelled, or until one of them ends; the others are ended then.

    Raises:
        EngineStopped: one ended by itself, or was cancelled by somebody else.
        BaseException: whatever one of them raised.
    """
    tasks = [asyncio.create_task(work, name=name) for name, work in workers.items()]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        raise _fault([task for task in tasks if task.done()])
    finally:
        await _end(tasks)


class WorkersOnDemand(Generic[T]):
    """Works on items, on as many at once as wait; a worker is made when it is needed, and ends when nothing waits.

    Attributes:
        name: of its tasks.
    """

    def __init__(self, name: str, most: int, work: Callable[[T], Coroutine[Any, Any, None]]) -> None:
        """Work on at most ``most`` items at once; the others wait in their order."""
        self.name = name
        self._most = most
        self._work = work
        self._waiting: deque[T] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: asyncio.Future[BaseException] | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def put(self, item: T) -> None:
        """Have an item worked on, as soon as there is a worker for it."""
        self._waiting.append(item)
        self._add_worker()

    async def run(self) -> NoReturn:
        """Work until cancelled, or until a worker breaks; what was put before waits for it.

        Raises:
            EngineStopped: a worker was cancelled by somebody else.
            BaseException: whatever the work raised.
        """
        self._fault = asyncio.get_running_loop().create_future()
        for _ in range(len(self._waiting)):
            self._add_worker()
        try:
            raise await self._fault
        finally:
            self._fault = None
            await _end(list(self._tasks))

    def _add_worker(self) -> None:
        if self._fault is not None and self._waiting and len(self._tasks) < self._most:
            task = asyncio.create_task(self._until_nothing_waits(), name=self.name)
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _until_nothing_waits(self) -> None:
        while self._waiting:
            await self._work(self._waiting.popleft())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._fault is None or self._fault.done():
            return
        if task.cancelled() or task.exception() is not None:
            self._fault.set_result(_fault([task]))
        else:
            self._add_worker()  # for what was put between its last look and its end


def _fault(ended: Sequence[asyncio.Task[None]]) -> BaseException:
    """Return why workers ended: an error rather than a cancellation that came with it."""
    faults = [fault for task in ended if not task.cancelled() and (fault := task.exception()) is not None]
    if faults:
        return faults[0]
    how = "was cancelled from outside" if ended[0].cancelled() else "ended by itself"
    return EngineStopped(f"the engine's task {ended[0].get_name()!r} {how}")


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel all, and wait until the last has ended, however often we are cancelled meanwhile."""
    interrupted = False
    while going := [task for task in tasks if not task.done()]:
        for task in going:
            task.cancel()
        try:
            await asyncio.wait(going, timeout=CANCEL_AGAIN)
        except asyncio.CancelledError:
            interrupted = True
    for task in tasks:
        if not task.cancelled():
            task.exception()
    if interrupted:
        raise asyncio.CancelledError


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Do what must not be left half done, and return its result; cancellations meanwhile take effect after it.

    Raises:
        CancelledError: we were cancelled meanwhile; the work is done all the same.
        BaseException: whatever the work raised.
    """
    task = asyncio.create_task(work)
    interrupted = False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            interrupted = True
    if interrupted:
        if not task.cancelled():
            task.exception()
        raise asyncio.CancelledError
    return task.result()
