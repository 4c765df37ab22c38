"""What is shown of a run while it goes on: pictures on a terminal, lines elsewhere, events for other programs."""

from __future__ import annotations

import asyncio

# asyncio does by its first thread, which may be one at the end of a run of hours.
import concurrent.futures.thread  # noqa: F401  # pyright: ignore[reportUnusedImport]
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from ecsbatch.errors import EcsbatchError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.progress import Progress, progress
from ecsbatch.views.text import format_span
from ecsbatch.views.writer import BackgroundWriter, open_lines

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.views.log import Log

FRAME: Final = 0.25
"""Seconds between two pictures."""

_LINES: Final = ((120.0, 10.0), (1_800.0, 60.0), (float("inf"), 300.0))
"""Up to so many seconds of watching, a line of progress each so many seconds, where there is no terminal."""

_GLANCE: Final = 0.5
"""Seconds after which a notice is seen."""

_SIGN_OF_LIFE: Final = 3_600.0
"""Seconds after which a line is written although nothing has changed."""

_USAGE: Final = 1.0
"""Seconds between two questions to the ledger, and for its answer."""

_PATIENCE: Final = 5.0
"""Seconds that the end waits for what is still to be written."""


_A_MOMENT: Final = 3.0
"""Seconds without an answer that are not worth a word."""


class ObservedRun(Protocol):
    """A run that is watched, held by this process or by another."""

    @property
    def state(self) -> RolloutState:
        """Where it stands."""
        ...

    def lines(self, after: int = 0) -> AsyncIterator[bytes]:
        """Follow its journal from behind an event's number; ends with the run's end."""
        ...


@dataclass(frozen=True, slots=True)
class LiveContext:
    """What is shown beside a run.

    Attributes:
        quota: servers per window.
        usage: asks the quota's ledger.
        notice: returns what else is to be told now.
        known: the last event of an earlier process, which the events' file may have already.
        stopping: tells whether this process was told to stop.
        now: returns the seconds since 1970 by the clock that stamps the run's events.
        events: follows the run from behind an event's number, without the store, where this process holds it.
    """

    quota: Quota
    usage: Callable[[], Awaitable[Usage | None]]
    notice: Callable[[], str]
    known: int = 0
    stopping: Callable[[], bool] = bool
    now: Callable[[], float] = time.time
    events: Callable[[int], AsyncIterator[Recorded]] | None = None


class LiveViews:
    """The views of one run; one that fails says so and is missed, the run goes on."""

    def __init__(self, run: ObservedRun, live: LiveContext, context: CliContext) -> None:
        """Open what is written to; `start` begins to watch."""
        self._run = run
        self._live = live
        self._pictures = draws_pictures(context)
        self._repeat = context.repeat.read
        self._events, self._continued = None, False
        if context.settings.output.events is not None:
            self._events, self._continued = open_lines(context.settings.output.events)
        self._stderr = BackgroundWriter(os.dup(2))
        self._log = make_log(self._stderr, context, run.state.plan.fleet.name_of)
        self._asked: tuple[float, Usage | None] = (-_USAGE, None)
        self._lost = False
        self._ended = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin to watch."""
        views = [self._draw() if self._pictures else self._log_progress()]
        if self._events is not None or not self._pictures:
            views.append(self._follow())
        self._tasks = [group.create_task(self._guarded(view), name="view") for view in views]

    async def end(self, *, whole: bool) -> None:
        """Stop watching; ``whole`` waits for the journal's end, which only a run that was begun has."""
        self._ended.set()
        if whole:
            await asyncio.wait(self._tasks, timeout=_PATIENCE)
        for task in self._tasks[1:]:
            task.cancel()

    async def close(self) -> None:
        """Write what is left, and say of events that could not be written."""
        if self._events is not None:
            await asyncio.to_thread(self._events.close, _PATIENCE)
            self._tell_lost()
        await asyncio.to_thread(self._stderr.close, _PATIENCE)

    def _tell_lost(self) -> None:
        """Say once that the events' file takes no more, as soon as that is known."""
        fault = self._events.fault if self._events is not None else None
        if fault is not None and not self._lost:
            self._lost = True
            self._log.say("warning", "events.lost", {"why": f"--events took no more: {fault.strerror}"})

    async def _guarded(self, view: Awaitable[None]) -> None:
        try:
            await view
        except Exception as e:  # noqa: BLE001 - a view watches, it never stops what it watches
            with suppress(Exception):
                self._log.say("warning", "view.failed", {"why": f"{type(e).__name__}: {e}"})

    # -- the views -------------------------------------------------------------------------------------------------

    async def _draw(self) -> None:
        """Draw pictures until the end."""
        from rich.console import Console  # noqa: PLC0415 - imported when used

        from ecsbatch.views.terminal import TerminalDisplay  # noqa: PLC0415 - imported when used

        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        display = TerminalDisplay(console, repeat=self._repeat, ascii_only=wants_ascii(os.environ))
        try:
            while not self._ended.is_set():
                await display.show(await self._progress(), self._live.notice())
                await self._pause(FRAME)
        finally:
            await display.stop()

    async def _log_progress(self) -> None:
        """Write a line now and then until the end: often at first, then seldom, and seldom where nothing changes.

        A notice that was not there before is written at once.
        """
        began = spoke = time.monotonic()
        while not self._ended.is_set():
            await self._until_line_or_notice(until_next_line(time.monotonic() - began))
            if not self._ended.is_set():
                anyhow = time.monotonic() - spoke >= _SIGN_OF_LIFE
                if self._log.progress(await self._progress(), self._live.notice(), anyhow=anyhow):
                    spoke = time.monotonic()

    async def _until_line_or_notice(self, seconds: float) -> None:
        """Wait so long, or until there is a notice where there was none: that the run is aborted, or sees nothing."""
        until, told = time.monotonic() + seconds, bool(self._live.notice())
        while not self._ended.is_set() and (left := until - time.monotonic()) > 0:
            await self._pause(min(left, _GLANCE))
            if self._live.notice() and not told:
                return
            told = bool(self._live.notice())

    async def _follow(self) -> None:
        """Pass what happens to the log and to the events' file, which alone needs the journal's lines as they are."""
        if self._events is None and self._live.events is not None:
            async for recorded in self._live.events(self._live.known):
                self._log.event(recorded)
            return
        known = self._live.known if self._continued or self._events is None else 0
        async for line in self._run.lines(known):
            if self._events is not None:
                self._events.line(line)
                self._tell_lost()
            if not self._pictures:
                self._log.line(line)

    async def _progress(self) -> Progress:
        live, usage = self._live, await self._usage(time.monotonic())
        return progress(self._run.state, live.now(), quota=live.quota, usage=usage, stopping=live.stopping())

    async def _usage(self, now: float) -> Usage | None:
        """Ask the ledger, once a second at most."""
        asked, usage = self._asked
        if now - asked >= _USAGE:
            try:
                # A store that waits for another process answers late, and what is shown says so meanwhile.
                async with asyncio.timeout(_USAGE):
                    usage = await self._live.usage()
            except (EcsbatchError, TimeoutError):
                usage = None
            self._asked = (time.monotonic(), usage)
        return usage

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return


def store_notice(seconds: float, waits_for: str, keeper: int = 0, *, sends: bool = True) -> str:
    """Return what to tell while the store waits, "" where that is no more than a moment.

    Args:
        seconds: for which it has waited.
        waits_for: what for, as `Store.waits_for` words it.
        keeper: the id of the process that it waits for, 0 for none that is known here.
        sends: this process would send something.
    """
    if seconds < _A_MOMENT:
        return ""
    way = f" (end it, or kill -CONT {keeper})" if keeper else ""
    what = "nothing is sent" if sends else "nothing can be seen of the run"
    return f"The store has waited {format_span(seconds)} for {waits_for}: {what} meanwhile{way}."


def draws_pictures(context: CliContext) -> bool:
    """Tell whether pictures are drawn: on a terminal that can, where nobody asked for lines."""
    verbosity = context.verbosity
    plain = verbosity.quiet or verbosity.verbose or context.settings.output.log_format == "json"
    return not plain and sys.stderr.isatty() and not _is_dumb()


def make_log(
    stream: BackgroundWriter, context: CliContext, name_of: Callable[[str], str] = lambda _: "", run: str = ""
) -> Log:
    """Return the log that the settings ask for.

    Args:
        stream: where it is written.
        context: of the command.
        name_of: returns a server's name by its id.
        run: the run that it is about, where several are told of; "" where there is one.
    """
    from ecsbatch.views.log import Log  # noqa: PLC0415 - only a run that goes on has one

    color = sys.stderr.isatty() and not _is_dumb() and not os.environ.get("NO_COLOR")
    form, level = context.settings.output.log_format, context.verbosity.level
    return Log(stream, form=form, level=level, color=color, name_of=name_of, run=run)


def _is_dumb() -> bool:
    return os.environ.get("TERM", "") in {"", "dumb", "unknown"}


def wants_ascii(environment: Mapping[str, str]) -> bool:
    """Tell whether the locale is the one of plain ASCII; Python itself takes it for UTF-8."""
    return (environment.get("LC_ALL") or environment.get("LANG", "")) in {"C", "POSIX"}


def until_next_line(watched: float) -> float:
    """Return how long to wait for the next line of progress, in seconds: a rollout of three hours writes some seventy.

    Args:
        watched: seconds since the watching began.
    """
    return next(pause for until, pause in _LINES if watched < until)
