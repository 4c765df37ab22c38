"""Running a rollout from a terminal: signals go in, views watch, and none of them can stop it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import orjson

from ecsbatch.cli.exit_codes import code_of_run
from ecsbatch.cli.flags import repeated, store_url
from ecsbatch.cli.live import LiveContext, LiveViews, Verbosity
from ecsbatch.cli.output import print_lines
from ecsbatch.cli.wiring import engine, make_store, who
from ecsbatch.config.sources import Settings
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Changes
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import printable
from ecsbatch.policy.resume_options import ResumeOption, resume_options
from ecsbatch.rollout.hooks import WITHOUT
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.store.history import load_history
from ecsbatch.views.report import run_json
from ecsbatch.views.standing import aborting_notice
from ecsbatch.views.summary import RepeatFlags, next_steps, outcome_lines, summary_lines
from ecsbatch.views.text import format_span

if TYPE_CHECKING:
    from ecsbatch.restarter import Restarter

_A_MOMENT: Final = 3.0
"""Seconds without an answer that are not worth a word."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class DriveResult:
    """What a run came to in this process; ``received`` is the signal that stopped it, 0 for none."""

    state: RolloutState
    received: int


class Signals:
    """The first signal asks a run to stop, the second one breaks it off."""

    def __init__(self, rollout: Rollout, hurry: Callable[[], None]) -> None:
        """Belong to the task that runs the rollout; ``hurry`` has its store wait for nobody."""
        self.received = 0
        self.broken_off = False
        self._rollout = rollout
        self._hurry = hurry
        self._task = asyncio.current_task()

    @contextmanager
    def installed(self) -> Generator[None]:
        """Listen while the block runs; a signal that is ignored (nohup) stays so."""
        loop = asyncio.get_running_loop()
        wanted = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in wanted:
            loop.add_signal_handler(number, self._receive, number)
        try:
            yield
        finally:
            for number in wanted:
                loop.remove_signal_handler(number)

    def notice(self) -> str:
        """Return what to tell about the run's end, "" while nobody has asked for it; a signal beats an abort."""
        if self.received:
            return "Stopping: nothing new is sent, requests in flight get their answer. Once more breaks it off."
        return aborting_notice(self._rollout.state)

    def _receive(self, number: int) -> None:
        if not self.received:
            self.received = number
            self._rollout.stop("interrupted", f"Stopped by {signal.Signals(number).name}.")
        elif not self.broken_off and self._task is not None:
            self.broken_off = True
            self._hurry()
            self._task.cancel()


def blind_notice(seconds: float, why: str, timeout: float) -> str:
    """Return what to tell while nothing can be seen of the cloud, "" where that is no more than a moment."""
    if seconds < _A_MOMENT:
        return ""
    return (
        f"Nothing can be seen of the cloud for {format_span(seconds)}: {printable(why).rstrip('.')}. "
        f"No server is blamed for it; after {format_span(timeout)} the run stops, and ecsbatch resume goes on."
    )


def busy_notice(seconds: float, keeper: int) -> str:
    """Return what to tell while another process keeps the store, "" where that is no more than a moment."""
    if seconds < _A_MOMENT:
        return ""
    way = f" (end it, or kill -CONT {keeper})" if keeper else ""
    process = f"Process {keeper}" if keeper else "Another process"
    return f"{process} keeps the store busy for {format_span(seconds)}: nothing is sent until it lets go{way}."


async def drive(
    restarter: Restarter, rollout: Rollout, settings: Settings, watching: Verbosity, *, known: int = 0
) -> DriveResult:
    """Run a rollout and show it; return how it stands then.

    Args:
        restarter: whose quota is shown.
        rollout: to be run.
        settings: for the events' file, the log's form and the quota.
        watching: how much is shown.
        known: the number of the last event before this process; the events' file may have those already.

    Raises:
        EcsbatchError: whatever the rollout raises.
    """
    signals = Signals(rollout, restarter.store.hurry)

    def notice() -> str:
        store = restarter.store
        waits = busy_notice(store.waiting, store.keeper) if store.waiting else ""
        return signals.notice() or waits or blind_notice(*restarter.blindness(), settings.engine.blind_timeout)

    around = LiveContext(settings.engine.quota, restarter.usage, notice, known, lambda: rollout.held)
    watchers = LiveViews(rollout, around, settings, watching)
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            watchers.start(group)
            with signals.installed():
                try:
                    await rollout.run()
                except Exception as e:  # noqa: BLE001 - it is raised again, outside of the group that would wrap it
                    failure = e
            await watchers.end(whole=failure is None)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not signals.broken_off or task is None:
            raise
        task.uncancel()
    finally:
        await watchers.close()
    if failure is not None:
        raise failure
    return DriveResult(rollout.state, signals.received)


async def resume_here(
    run_id: str, changes: Changes, settings: Settings, watching: Verbosity, *, abort: bool = False
) -> DriveResult:
    """Take a run and drive it; one that is over is left as it is, unless servers of it are to be restarted again.

    Args:
        run_id: which run.
        changes: what is asked for beyond going on.
        settings: of the connection, the engine and the output.
        watching: how much is shown.
        abort: only look after the servers under way, and end it for good; so too where somebody asked for that before.

    Raises:
        RunConflict: another process has it.
    """
    async with make_store(store_url(settings)) as store:
        record = await store.run(run_id)
        story = await load_history(store, record)
        state, ends = story.state, abort or story.aborting
        if state.status.over and record.status.over and not changes.retry:
            return DriveResult(state, 0)
        settings = _by_its_quota(state, settings)
        if ends:
            # On record before anything else: should this process die, whoever goes on with the run follows it.
            await store.command(run_id, {"command": "abort"}, story.aborted_by or changes.by)
        async with engine(settings, store) as restarter:
            # What is not asked any more where a run only ends must not stand in the way if another program has it.
            gate, check = WITHOUT if ends else None, WITHOUT if ends and not state.run.in_flight else None
            rollout = await restarter.resume(run_id, check=check, gate=gate, changes=changes)
            if ends:
                rollout.abort(story.aborted_by or changes.by)
            return await drive(restarter, rollout, settings, watching, known=record.seq)


def _by_its_quota(state: RolloutState, settings: Settings) -> Settings:
    """Let a run go on by the quota that it was begun with, unless another one is given: others may need the rest."""
    if state.quota is None or "quota" in settings.origins:
        return settings
    return replace(settings, engine=replace(settings.engine, quota=state.quota))


async def abort_here(run_id: str, settings: Settings) -> DriveResult:
    """Take a run that nobody holds, and end it for good."""
    return await resume_here(run_id, Changes(by=who()), settings, Verbosity(quiet=True), abort=True)


def print_result(driven: DriveResult, settings: Settings) -> int:
    """Print what a run came to and return its code."""
    state, again = driven.state, RepeatFlags(repeated(settings), repeated(settings, reading=True))
    if settings.output.output == "json":
        sys.stdout.buffer.write(orjson.dumps(run_json(state)) + b"\n")
        if not state.status.over:
            print_lines(next_steps(state, again)[1:], to_stdout=False)
    else:
        print_lines(["", *summary_lines(state, again)], to_stdout=settings.output.events != "-")
    return code_of_run(state, driven.received)


def offer_resume(driven: DriveResult, settings: Settings, watching: Verbosity, *, asks: bool = True) -> int:
    """Go on with a run that stopped for as long as somebody at the terminal says how; then print what it came to.

    Args:
        driven: how the run stands.
        settings: of the connection, the engine and the output.
        watching: how much is shown.
        asks: False where all questions were answered beforehand, with ``--yes``.
    """
    while asks and _stays(driven, settings, watching):
        state = driven.state
        ways = list(resume_options(state))
        print_lines(["", *outcome_lines(state), "", *_menu(ways)], to_stdout=False)
        chosen = _typed(len(ways) + 1)
        if not chosen:
            print_lines(
                next_steps(state, RepeatFlags(repeated(settings), repeated(settings, reading=True))), to_stdout=True
            )
            return code_of_run(state)
        if chosen > len(ways):
            driven = asyncio.run(abort_here(state.run_id, settings))
        else:
            driven = asyncio.run(resume_here(state.run_id, _changes(ways[chosen - 1]), settings, watching))
    return print_result(driven, settings)


def _stays(driven: DriveResult, settings: Settings, watching: Verbosity) -> bool:
    """Tell whether somebody is there to say something: at a terminal, with no program reading what is printed."""
    if driven.state.status is not RunStatus.STOPPED or driven.received or watching.quiet:
        return False
    read_by_program = settings.output.output == "json" or settings.output.events == "-"
    return not read_by_program and all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def _menu(ways: Sequence[ResumeOption]) -> list[str]:
    choices = [*(way.why for way in ways), "end it for good"]
    lines = [f"  {number:5}  {why}" for number, why in enumerate(choices, 1)]
    return ["The run has stopped. Type a number:", *lines, "  Enter  leave it as it is; it can be resumed later"]


def _typed(most: int) -> int:
    """Read a number; 0 for leaving."""
    while True:
        sys.stderr.write("> ")
        sys.stderr.flush()
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            line = ""
        if not line.endswith("\n"):
            sys.stderr.write("\n")
        text = line.strip()
        if not text:
            return 0
        if text.isascii() and text.isdigit() and 1 <= int(text) <= most:
            return int(text)
        sys.stderr.write(f"Type a number from 1 to {most}, or only Enter.\n")


def _changes(way: ResumeOption) -> Changes:
    return Changes(way.retry, way.forgive, way.skip_domains, way.limits, by=who())
