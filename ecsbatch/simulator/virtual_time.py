"""Virtual time: an event loop whose clock jumps to the next timer when nothing is ready.

A rollout of hours runs in seconds and always in the same order. When nothing is ready and no timer is set, no code of
the program can ever run again: the loop raises `Hang` instead of sleeping for ever, which finds every deadlock.

Files and sockets still work, in real time: the loop asks the real selector before each jump. What is to run in a thread
(`run_in_executor`, `asyncio.to_thread`) runs at once in the loop's own: a thread would end at an instant of real time.

A crash is simulated by `Killed`, raised out of `run` between two steps of the loop (`VirtualLoop.kill_after`) or from
inside a step, and then `abandon`. Time goes on after a crash with `VirtualLoop(start=dead_loop.time())`.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

EPOCH = 1_767_225_600.0
"""2026-01-01T00:00:00Z, where virtual wall clocks start unless told otherwise."""

CLOSE_ATTEMPTS = 100
"""A coroutine that awaits again while it is closed is closed again, this often."""

STEP = 1e-6
"""Seconds that each jump takes at least: a wait too short to change a floating-point clock must end all the same."""

T = TypeVar("T")


class Hang(RuntimeError):
    """Nothing is ready and nothing is scheduled, or the virtual time has passed what a life may take."""


class Killed(SystemExit):
    """The simulated ``kill -9``.

    It is a SystemExit because asyncio lets only SystemExit and KeyboardInterrupt out of a callback.
    """


class JumpingSelector(selectors.BaseSelector):
    """Waits by moving a virtual clock instead of sleeping."""

    def __init__(self, real: selectors.BaseSelector) -> None:
        self.now = 0.0
        self._real = real

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the real files that are ready; where none is, jump by `timeout` virtual seconds.

        Raises:
            Hang: nothing is ready and no timer is set.
        """
        ready = self._real.select(0)
        if ready:
            return ready
        if timeout is None:
            raise Hang("nothing scheduled")
        self.now += max(0.0, timeout) + STEP
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a real file."""
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Stop watching a real file."""
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a real file for something else."""
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        """Close the real selector."""
        self._real.close()

    def get_map(self) -> Any:
        """Return the watched files."""
        return self._real.get_map()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time.

    Args:
        start: what `time()` returns first, in seconds; a loop after a crash starts where the last one ended.
        max_time: seconds; `Hang` is raised once `time()` is beyond.
    """

    def __init__(self, *, start: float = 0.0, max_time: float | None = None) -> None:
        self._jumping = JumpingSelector(selectors.DefaultSelector())
        self._jumping.now = start
        self._max_time = max_time
        self._steps = 0
        self._kill_at: int | None = None
        super().__init__(self._jumping)
        # Two timers this near are one instant; the default is the resolution of the real clock.
        self._clock_resolution = 1e-9

    def __repr__(self) -> str:
        """Show the time and the steps taken."""
        return f"<VirtualLoop [Time: {self.time():.3f} s, {self._steps} steps]>"

    @property
    def steps(self) -> int:
        """How many rounds of callbacks the loop has run; it can be killed between two of them."""
        return self._steps

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now

    def kill_after(self, steps: int) -> None:
        """Raise `Killed` out of `run` after so many more rounds.

        No `finally` block runs because of it, as with a real `kill -9`.
        """
        self._kill_at = self._steps + steps

    def run_in_executor(self, _executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # typeshed spells the arguments with a TypeVarTuple
        """Call `func` now, in the loop's own thread; one that waits for something else in the loop waits for ever."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as e:  # noqa: BLE001 - whatever it is, the caller is told
            future.set_exception(e)
        return future

    def _run_once(self) -> None:
        if self._kill_at is not None and self._steps >= self._kill_at:
            self._kill_at = None
            raise Killed(f"killed at step {self._steps}")
        self._steps += 1
        if self._max_time is not None and self.time() > self._max_time:
            raise Hang(f"virtual time has passed {self._max_time} s\n{self._waiting()}")
        try:
            super()._run_once()  # type: ignore[misc]  # asyncio's own step, absent from the type stubs
        except Hang as hang:
            raise Hang(f"{hang}\n{self._waiting()}") from None

    def _waiting(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
        return "\n".join(f"  {task.get_name()} waits {_where(task)}" for task in tasks) or "  no task is left"


def _where(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack()
    if not frames:
        return "nowhere"
    code = frames[-1].f_code
    return f"in {code.co_qualname}, line {frames[-1].f_lineno} of {code.co_filename}"


class VirtualClock:
    """A `ecsbatch.clock.Clock` that shows a virtual loop's time.

    Args:
        time: a `VirtualLoop`, or a function that returns seconds.
        epoch: the wall time (seconds since 1970) at time 0.
        boot: the boot's name; after a restart of the machine it is another one.

    Attributes:
        wall_offset: seconds that are added to `wall()`; tests make the wall clock jump with it.
        suspended: seconds for which the machine was suspended, which only `boottime()` counts.
    """

    def __init__(
        self, time: asyncio.AbstractEventLoop | Callable[[], float], *, epoch: float = EPOCH, boot: str = "boot-1"
    ) -> None:
        self.wall_offset = 0.0
        self.suspended = 0.0
        self.boot = boot
        self._time = time.time if isinstance(time, asyncio.AbstractEventLoop) else time
        self._epoch = epoch

    def wall(self) -> float:
        """Return seconds since 1970."""
        return self._epoch + self._time() + self.wall_offset

    def monotonic(self) -> float:
        """Return the virtual time in seconds."""
        return self._time()

    def boottime(self) -> float:
        """Return the virtual time in seconds, with those of a suspend."""
        return self._time() + self.suspended

    def boot_id(self) -> str:
        """Return the boot's name."""
        return self.boot


def run(main: Coroutine[Any, Any, T], *, loop: VirtualLoop | None = None) -> T:
    """Run `main` in virtual time as `asyncio.run` does in real time: what is left is cancelled, the loop is closed.

    After `Killed` nothing is cancelled and the loop stays as the crash left it: the caller severs the sender and the
    store and calls `abandon(loop)`.

    Raises:
        Hang: nothing can run any more, or `max_time` has passed.
        Killed: the simulated crash.
    """
    virtual = loop or VirtualLoop()
    task = virtual.create_task(main)
    try:
        result = virtual.run_until_complete(task)
    except Killed:
        # A dead process logs nothing about the tasks that died with it.
        virtual.set_exception_handler(_say_nothing)
        raise
    except BaseException:
        _finish(virtual)
        raise
    _finish(virtual)
    return result


def _finish(loop: VirtualLoop) -> None:
    """Cancel the tasks that are left and close the loop; where a task refuses to end, abandon the loop."""
    try:
        leftovers = asyncio.all_tasks(loop)
        for task in leftovers:
            task.cancel()
        loop.run_until_complete(_gather(leftovers))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    except Hang:
        abandon(loop)
    else:
        loop.close()


async def _gather(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def abandon(loop: VirtualLoop) -> None:
    """Drop a loop after a crash: no callback and no task of it runs again, and nothing is logged about them.

    Python cannot drop a suspended coroutine without running its `finally` blocks. They run here, at once, with the
    loop closed: the caller first severs what they could reach, the sender and the store.
    """
    tasks = asyncio.all_tasks(loop)
    loop.set_exception_handler(_say_nothing)
    loop.close()
    for task in tasks:
        _close(task)


def _say_nothing(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    """Replace asyncio's handler, which logs tasks that were destroyed or whose exception nobody has asked for."""


def _close(task: asyncio.Task[Any]) -> None:
    coroutine = task.get_coro()
    for _ in range(CLOSE_ATTEMPTS):
        # A finally block may await again (RuntimeError) or fail on the closed loop: a dead process reports neither.
        with contextlib.suppress(BaseException):
            coroutine.close()
            return
