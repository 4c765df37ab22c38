"""Samples of what each thread spends its CPU time on.

The kernel counts the CPU time of the process and sends SIGPROF after each `INTERVAL` of it. The handler looks at the
CPU clock of each thread, and charges what it has moved since the last look to what the thread is doing now: the sum is
exact however late a signal comes, chance is only in which of its functions are charged. Threads besides the main one
are seen where they give the interpreter away: the time of each is right as a whole, and rather at its calls of a
database within it.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from types import CodeType, FrameType
from typing import Any, Final, TypeAlias

INTERVAL: Final = 0.002
"""Seconds of CPU time between two samples; most kernels count in steps of 4 ms, and make it that."""

_PATIENT: Final = 100
"""Samples within one turn of an event loop after which they become rare.

Each signal is a byte in a socket which the loop empties between its turns. It takes 278: the byte of a Ctrl-C that
comes behind them would be lost.
"""

_RAREST: Final = 15
"""Doublings of the interval after which it stays: more than a minute of CPU time."""

MOST_KEPT: Final = 100_000
"""Samples of a thread, of some minutes of CPU time, that are kept one by one; then those of one stack become one."""

BEFORE: Final = "(before the profile began)"
COLLECTOR: Final = "(garbage collector)"

Step: TypeAlias = CodeType | str
"""A function that was running, or a name for what is none."""


class CallTree:
    """Stacks as a tree of calls: a stack is the number of the node at its end."""

    def __init__(self) -> None:
        self._nodes = dict[tuple[int, int], int]()
        self._steps = list[tuple[int, Step]]()

    def add(self, parent: int, step: Step) -> int:
        """Return the node of a call below another, -1 for none."""
        # By its identity: the hash of a code object is made of all that is in it.
        key = (parent, id(step))
        node = self._nodes.get(key)
        if node is None:
            self._steps.append((parent, step))
            node = self._nodes[key] = len(self._steps) - 1
        return node

    def add_stack(self, frame: FrameType | None) -> int:
        """Return the node of a frame, and of all that it was called by."""
        steps = list[Step]()
        while frame is not None:
            steps.append(frame.f_code)
            frame = frame.f_back
        node = -1
        for step in reversed(steps):
            node = self.add(node, step)
        return node

    def stack(self, node: int) -> list[Step]:
        """Return the calls that lead to a node, the outermost first."""
        steps = list[Step]()
        while node >= 0:
            node, step = self._steps[node]
            steps.append(step)
        return steps[::-1]


class Sampler:
    """Takes samples of all threads while it runs.

    Attributes:
        tree: of all stacks that were seen.
        samples: for each thread, by name, nodes of the tree and the nanoseconds of CPU time that are charged to them.
        used: nanoseconds of CPU time that the process has used until the end.
        lasted: nanoseconds from the begin to the end.
    """

    def __init__(self) -> None:
        self.tree = CallTree()
        self.samples = dict[str, list[tuple[int, int]]]()
        self.used = 0
        self.lasted = 0
        self._began = time.monotonic_ns()
        self._clocks = dict[int, int]()
        self._names = dict[int, str]()
        self._fits = dict[str, int]()
        self._running = self._busy = False
        self._handler, self._profile = signal.getsignal(signal.SIGPROF), threading.getprofile()
        self._interval = 0.0
        self._turn: FrameType | None = None
        self._in_turn = 0

    def begin(self) -> None:
        """Begin; what this thread has used until now is charged to `BEFORE`."""
        self._running = True
        self._names[threading.get_native_id()] = threading.current_thread().name
        self._charge(threading.get_native_id(), None, BEFORE)
        # The first to be called: the sample that a collection has delayed is taken in whichever comes first.
        gc.callbacks.insert(0, self._collected)
        signal.signal(signal.SIGPROF, self._sample)
        threading.setprofile(_leave_signals_to_main)
        self._set_timer(INTERVAL)

    def end(self) -> None:
        """End, with a last sample; once is enough."""
        if not self._running:
            return
        self._running, self._busy = False, True
        self._set_timer(0.0)
        # One that is still under way must not end the process, as it does by default: this drops it.
        signal.signal(signal.SIGPROF, signal.SIG_IGN)
        signal.signal(signal.SIGPROF, self._handler)
        threading.setprofile(self._profile)
        with suppress(ValueError):
            gc.callbacks.remove(self._collected)
        self._charge(threading.get_native_id(), _caller())
        self._turn = None
        self.used = time.process_time_ns()
        self.lasted = time.monotonic_ns() - self._began

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        """Charge all threads.

        A signal that came during a collection is handled once `_collected` runs, which charges what it is about.
        """
        if self._busy or (frame is not None and frame.f_code is _COLLECTED):
            return
        self._busy = True
        try:
            # Its own entry for this thread would be this very handler.
            running = {**_running(), threading.get_ident(): frame}
            for thread in threading.enumerate():
                at = running.get(thread.ident or 0)
                if at is not None and thread.native_id is not None:
                    self._names[thread.native_id] = thread.name
                    self._charge(thread.native_id, at)
            if (pause := self._pause(frame)) != self._interval:
                self._set_timer(pause)
        finally:
            self._busy = False

    def _collected(self, phase: str, _info: dict[str, int]) -> None:
        """Charge what was before a collection to the stack, and the collection to itself, in whose thread it is."""
        if self._busy:
            return
        self._busy = True
        try:
            self._charge(threading.get_native_id(), _caller(), "" if phase == "start" else COLLECTOR)
        finally:
            self._busy = False

    def _charge(self, thread: int, frame: FrameType | None, step: str = "") -> None:
        """Charge what a thread has used since it was last charged to where it is, or to a step below that."""
        try:
            # The kernel's name for a thread's clock. `time.pthread_getcpuclockid` gives the same one, and may crash
            # for a thread that has just ended, which is an error here.
            clock = time.clock_gettime_ns(~thread << 3 | 6)
        except OSError:
            return
        used = clock - self._clocks.get(thread, 0)
        # A clock that has gone back is that of a new thread with the number of an old one.
        if spent := used if used >= 0 else clock:
            self._clocks[thread] = clock
            node = self.tree.add_stack(frame)
            node = self.tree.add(node, step) if step else node
            self._keep(self._names.get(thread, "thread"), node, spent)

    def _keep(self, thread: str, node: int, spent: int) -> None:
        samples = self.samples.setdefault(thread, [])
        samples.append((node, spent))
        if len(samples) > self._fits.get(thread, MOST_KEPT):
            times = Counter[int]()
            for each, time_of_it in samples:
                times[each] += time_of_it
            samples[:] = times.items()
            self._fits[thread] = max(MOST_KEPT, 2 * len(samples))

    def _set_timer(self, interval: float) -> None:
        self._interval = interval
        signal.setitimer(signal.ITIMER_PROF, interval, interval)

    def _pause(self, frame: FrameType | None) -> float:
        """Return the seconds until the next sample: more and more where a turn of an event loop does not end."""
        while frame is not None and frame.f_code.co_name != "_run_once":
            frame = frame.f_back
        self._in_turn = self._in_turn + 1 if frame is not None and frame is self._turn else 0
        self._turn = frame
        return INTERVAL * 2.0 ** min(max(0, self._in_turn - _PATIENT), _RAREST)


def _leave_signals_to_main(_frame: FrameType, _event: str, _value: Any) -> None:
    """Have a thread that begins leave SIGPROF to the main one, where handlers run; what waits there would sleep on."""
    sys.setprofile(None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])


_COLLECTED: Final = vars(Sampler)["_collected"].__code__


def _caller() -> FrameType:
    """Return the frame that has called what calls this."""
    return sys._getframe(2)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - there is no other way to a frame


def _running() -> dict[int, FrameType]:
    """Return what each thread is in."""
    return sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - it is the documented way
