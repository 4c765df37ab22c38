"""Where a store's work is done: on a thread of its own, or at once in simulation, where a thread breaks virtual time.

Work is done in the order in which it was given. Writes that wait together become one transaction. `ThreadWorker` is
the one to read.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from ecsbatch.errors import StoreError
from ecsbatch.lazy_dataclass import dataclass

T = TypeVar("T")

GATHER = 0.05
"""Seconds for which a write that nobody waits for waits for others: each transaction costs the disk a sync, and half a
millisecond of CPU with it."""

_MOST_GATHERED = 64


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a group.

    Attributes:
        do: does it, inside the group's database transaction.
        run_id: the run that it is about, "" for none.
        urgent: True where the caller waits for it before it goes on.
        needs_savepoint: True where it may be refused after its first statement, which must then be undone.
        claims: True where it takes servers that others may want.
        quota_group: of which it takes tokens, "" for none.
    """

    do: Callable[[], Any]
    run_id: str = ""
    urgent: bool = True
    needs_savepoint: bool = True
    claims: bool = False
    quota_group: str = ""


CommitGroup = Callable[[Sequence[Write]], list[Any]]
"""Does writes in one transaction; returns for each its result or the exception that refused it."""


class Worker(Protocol):
    """Does work in the order in which it is given; a caller that is cancelled does not stop it."""

    def call(self, do: Callable[[], T]) -> asyncio.Future[T]:
        """Call a function outside any group's transaction."""
        ...

    def write(self, write: Write) -> asyncio.Future[Any]:
        """Do a write, in one transaction with the writes that wait beside it."""
        ...

    def shutdown(self, do: Callable[[], None]) -> asyncio.Future[None]:
        """Call a function after all work that was given before, and take no more work."""
        ...

    def sever(self) -> None:
        """Finish what is being done this moment and drop all other work; take no more."""
        ...


class InlineWorker:
    """Does everything at once, in its caller."""

    def __init__(self, commit_group: CommitGroup, url: str) -> None:
        self._commit_group = commit_group
        self._url = url
        self._stopped = False

    def call(self, do: Callable[[], T]) -> asyncio.Future[T]:
        """Call it now."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        _resolve([(future, _closed(self._url) if self._stopped else _result(do))])
        return future

    def write(self, write: Write) -> asyncio.Future[Any]:
        """Write it now, in a transaction of its own."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        _resolve([(future, _closed(self._url) if self._stopped else self._commit_group([write])[0])])
        return future

    def shutdown(self, do: Callable[[], None]) -> asyncio.Future[None]:
        """Call a function, and take no more work."""
        future = self.call(do)
        self._stopped = True
        return future

    def sever(self) -> None:
        """Take no more work."""
        self._stopped = True


@dataclass(frozen=True, slots=True)
class _Job:
    future: asyncio.Future[Any]
    do: Callable[[], Any] | None = None
    write: Write | None = None


class ThreadWorker:
    """Does everything on one thread of its own."""

    def __init__(self, commit_group: CommitGroup, url: str) -> None:
        self._commit_group = commit_group
        self._url = url
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._stopped = False
        self._severed = False
        # A daemon, since a store that nobody closed must not keep a process from ending.
        self._thread = threading.Thread(target=self._work, name="ecsbatch-store", daemon=True)
        self._thread.start()

    def call(self, do: Callable[[], T]) -> asyncio.Future[T]:
        """Call it after all work that was given before, outside any group's transaction."""
        return self._give(_Job(asyncio.get_running_loop().create_future(), do=do))

    def write(self, write: Write) -> asyncio.Future[Any]:
        """Do it after all work that was given before, in one transaction with the writes that wait beside it."""
        return self._give(_Job(asyncio.get_running_loop().create_future(), write=write))

    def shutdown(self, do: Callable[[], None]) -> asyncio.Future[None]:
        """Call a function after all work that was given before; then the thread ends."""
        future = self.call(do)
        self._stop()
        return future

    def sever(self) -> None:
        """Drop the work that waits, and wait for what is being done."""
        self._severed = True
        self._stop()
        self._thread.join()

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._jobs.put(None)
            self._hurry.set()

    def _give(self, job: _Job) -> asyncio.Future[Any]:
        # A process that was forked has the store, and not its thread.
        if self._stopped or not self._thread.is_alive():
            _resolve([(job.future, _closed(self._url))])
        else:
            self._jobs.put(job)
            if _urgent(job) or self._jobs.qsize() >= _MOST_GATHERED:
                self._hurry.set()
        return job.future

    def _work(self) -> None:
        going = True
        while going:
            jobs = self._waiting()
            going = None not in jobs
            self._do([job for job in jobs if job is not None])

    def _waiting(self) -> list[_Job | None]:
        """Wait for a job; return it with all that wait behind it, and with those that come soon where it is not urgent.

        The thread sleeps while jobs gather: to be woken by each would cost more than to do it.
        """
        jobs = [self._jobs.get()]
        if not _urgent(jobs[0]):
            self._hurry.wait(GATHER)
        # Before the queue is emptied: a job is put first, then hurried, so that no hurry is lost.
        self._hurry.clear()
        with suppress(queue.Empty):
            while True:
                jobs.append(self._jobs.get_nowait())
        return jobs

    def _do(self, jobs: Sequence[_Job]) -> None:
        group: list[_Job] = []
        for job in jobs:
            if job.write is not None:
                group.append(job)
                continue
            self._do_group(group)
            group = []
            self._do_alone(job)
        self._do_group(group)

    def _do_alone(self, job: _Job) -> None:
        if job.do is not None:
            _resolve_all([(job.future, _closed(self._url) if self._severed else _result(job.do))])

    def _do_group(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        if self._severed:
            _resolve_all([(job.future, _closed(self._url)) for job in jobs])
            return
        results = _results(self._commit_group, [job.write for job in jobs if job.write is not None])
        _resolve_all([(job.future, result) for job, result in zip(jobs, results, strict=True)])


def _urgent(job: _Job | None) -> bool:
    return job is None or job.write is None or job.write.urgent


_Resolved = Sequence[tuple[asyncio.Future[Any], Any]]


def _result(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except Exception as e:  # noqa: BLE001  # whatever it is, the waiter is told
        return e


def _results(commit_group: CommitGroup, writes: Sequence[Write]) -> Sequence[Any]:
    """Commit a group on the store's thread, which must not end: all callers would wait for ever."""
    try:
        return commit_group(writes)
    except BaseException as e:  # noqa: BLE001  # an intent is the caller's code, and may raise what it likes
        return [e] * len(writes)


def _closed(url: str) -> StoreError:
    return StoreError(f"The store {url} is closed: open it again, then resume.")


def _resolve_all(results: _Resolved) -> None:
    """Resolve futures on their own event loops, with one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for future, result in results:
        by_loop.setdefault(future.get_loop(), []).append((future, result))
    for loop, pairs in by_loop.items():
        # Nobody waits any more on a loop that was closed meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(results: _Resolved) -> None:
    for future, result in results:
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(_raisable(result))
        else:
            future.set_result(result)


def _raisable(failure: BaseException) -> Exception:
    """Return an exception that a future can carry: one such as `SystemExit` would end the caller's task or process."""
    if isinstance(failure, Exception) and not isinstance(failure, StopIteration):
        return failure
    refused = StoreError(f"A write was refused, its own code raised {type(failure).__name__}: report this.")
    refused.__cause__ = failure
    return refused
