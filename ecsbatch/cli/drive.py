"""A rollout in this process, from its first signal to its exit code: it is run and shown, gone on with, and reported.

Views watch and cannot stop it; signals can. `drive` runs one, `resume_here` and `abort_here` take one up that nobody
holds, `offer_resume` asks at the terminal how to go on with one that stopped, and `print_result` says what it came to.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ecsbatch.cli.context import Verbosity
from ecsbatch.cli.exit_codes import code_of_run
from ecsbatch.cli.live import LiveContext, LiveViews, store_notice
from ecsbatch.cli.on_end import end_hook_or_warning, left_to_others, run_unless_interrupted
from ecsbatch.cli.output import print_json, print_lines, warn
from ecsbatch.cli.page import serving_page
from ecsbatch.cli.programs import exposure_notice, refuse_other, replaced_check, texts_again
from ecsbatch.cli.signals import listening
from ecsbatch.cli.wiring import engine, make_store, who
from ecsbatch.config.settings import Observability
from ecsbatch.errors import EcsbatchError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.conflicts import RunTaken
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Changes
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.resume_options import ResumeOption, resume_options
from ecsbatch.policy.standing import aborting_notice, blind_notice, failed_over_notice
from ecsbatch.rollout.follower import head_at, load_history
from ecsbatch.rollout.hooks import WITHOUT
from ecsbatch.views.report import run_json, taken_json
from ecsbatch.views.summary import head_lines, next_steps, outcome_lines, summary_lines
from ecsbatch.views.text import RepeatFlags

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.engine.ports import Store
    from ecsbatch.restarter import Restarter
    from ecsbatch.rollout.rollout import Rollout


@dataclass(frozen=True, slots=True)
class DriveResult:
    """What a run came to in this process.

    Attributes:
        state: how it stands now.
        received: the signal that stopped it, 0 for none.
        resume_flags: what `resume` needs to be given again, as flags.
        head: of its record now, "" where it is not known.
    """

    state: RolloutState
    received: int = 0
    resume_flags: str = ""
    head: str = ""

    def repeat(self, context: CliContext) -> RepeatFlags:
        """Return the flags that the next command about the run needs."""
        repeat = context.repeat
        return replace(repeat, resume=repeat.resume + self.resume_flags)


class Signals:
    """The first signal asks a run to stop, the second one breaks it off.

    Attributes:
        received: the number of the first, 0 before it.
        broken_off: True from the second one on.
    """

    def __init__(self, rollout: Rollout, hurry: Callable[[], None]) -> None:
        """Belong to the task that runs the rollout.

        Args:
            rollout: it is asked to stop.
            hurry: lets its store wait no longer for other processes.
        """
        self.received = 0
        self.broken_off = False
        self._rollout = rollout
        self._hurry = hurry
        self._task = asyncio.current_task()

    def installed(self) -> AbstractContextManager[None]:
        """Listen while a block runs; a signal that is ignored (nohup) stays so."""
        return listening(self._receive)

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


async def drive(restarter: Restarter, rollout: Rollout, context: CliContext, *, known: int = 0) -> DriveResult:
    """Run a rollout and show it; return how it stands then.

    Args:
        restarter: whose quota is shown.
        rollout: to be run.
        context: says how much is shown, in which form, and where events go.
        known: the number of the last event before this process; the events' file may have those already.

    Raises:
        RunTaken: another process has taken the run; it is shown how it stood then, to programs too.
        EcsbatchError: whatever the rollout raises.
    """
    store = restarter.store
    exposure = store.exposure
    if notice_of_store := exposure_notice(rollout.plan, exposure):
        warn(notice_of_store)
    hook = end_hook_or_warning(context)
    signals = Signals(rollout, restarter.store.hurry)
    engine = context.settings.engine

    def notice() -> str:
        now = store.wall()
        waits = store_notice(store.waiting, store.waits_for, store.keeper) if store.waiting else ""
        ending = " ".join(filter(None, (signals.notice(), waits)))
        return ending or blind_notice(rollout.state, now) or failed_over_notice(rollout.state, now)

    live = LiveContext(
        engine.quota,
        restarter.usage,
        notice,
        known,
        stopping=lambda: bool(signals.received),
        now=store.wall,
        events=rollout.events,
    )
    views = LiveViews(rollout, live, context)
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            views.start(group)
            with signals.installed():
                try:
                    await rollout.run()
                except Exception as e:  # noqa: BLE001 - it is raised again, outside of the group that would wrap it
                    failure = e
            await views.end(whole=failure is None)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not signals.broken_off or task is None:
            raise
        task.uncancel()
    finally:
        await views.close()
    if isinstance(failure, RunTaken) and context.wants_json:
        print_json(taken_json(rollout.state, failure))
    if failure is not None:
        left_to_others(hook, rollout.run_id, failure)
        raise failure
    head = await _head(restarter.store, rollout.state)
    if hook is not None:
        await run_unless_interrupted(hook, rollout.state, head, signals.received)
    return DriveResult(rollout.state, signals.received, texts_again(rollout.plan, exposure), head)


async def _head(store: Store, state: RolloutState) -> str:
    """Return the head of a run's record; "" where the store cannot be asked, which says so elsewhere."""
    with suppress(EcsbatchError):
        return await head_at(store.lines, state.run_id, state.seq)
    return ""


async def resume_here(run_id: str, changes: Changes, context: CliContext, *, abort: bool = False) -> DriveResult:
    """Take a run and drive it; one that is over is left as it is, unless servers of it are to be restarted again.

    Args:
        run_id: which run.
        changes: what is asked for beyond going on.
        context: of the command.
        abort: only look after the servers under way, and end it for good; so too where somebody asked for that before.

    Raises:
        RunConflict: another process has it.
    """
    async with make_store(context.store_url) as store:
        record = await store.run(run_id)
        history = await load_history(store, record)
        state, ends = history.state, abort or history.aborting
        refuse_other(state.plan, context.settings, f"Run {record.run_id}")
        if state.status.over and record.status.over and not changes.retry:
            return DriveResult(state, head=history.head)
        context = _by_its_quota(state, context)
        if ends:
            # On record before anything else: should this process die, whoever goes on with the run follows it.
            await store.command(run_id, {"command": "abort"}, history.aborted_by or changes.by)
        async with (
            engine(context, store) as restarter,
            serving_page(context, restarter, record.run_id),
            replaced_check(state.plan, context.settings) as replaced,
        ):
            # What is not asked any more where a run only ends must not stand in the way if another program has it.
            gate, check = WITHOUT if ends else None, WITHOUT if ends and not state.run.in_flight else replaced
            rollout = await restarter.resume(run_id, check=check, gate=gate, changes=changes)
            if ends:
                rollout.abort(history.aborted_by or changes.by)
            return await drive(restarter, rollout, context, known=record.seq)


def _by_its_quota(state: RolloutState, context: CliContext) -> CliContext:
    """Let a run go on by the quota that it was begun with, unless another one is given: others may need the rest."""
    settings = context.settings
    if state.quota is None or "quota" in settings.origins:
        return context
    return replace(context, settings=replace(settings, engine=replace(settings.engine, quota=state.quota)))


async def abort_here(run_id: str, context: CliContext) -> DriveResult:
    """Take a run that nobody holds, and end it for good; only warnings are shown meanwhile."""
    # It must not fail for an address that another command listens at.
    unseen = replace(context.settings, observability=Observability())
    quiet = replace(context, settings=unseen, verbosity=Verbosity(quiet=True))
    return await resume_here(run_id, Changes(by=who()), quiet, abort=True)


def offer_resume(result: DriveResult, context: CliContext, *, asks: bool = True) -> int:
    """Go on with a run that stopped for as long as somebody at the terminal says how; then print what it came to.

    Args:
        result: how the run stands.
        context: of the command.
        asks: False where all questions were answered beforehand, with ``--yes``.
    """
    while asks and _can_be_asked(result, context):
        state = result.state
        options = list(resume_options(state))
        print_lines(["", *outcome_lines(state), "", *_menu(options)], to_stdout=False)
        chosen = _typed_number(len(options) + 1)
        if not chosen:
            print_lines([*head_lines(result.head), *next_steps(state, result.repeat(context))], to_stdout=True)
            return code_of_run(state)
        if chosen > len(options):
            result = asyncio.run(abort_here(state.run_id, context))
        elif _agrees(options[chosen - 1].question(state)):
            result = asyncio.run(resume_here(state.run_id, _changes(options[chosen - 1]), context))
    return print_result(result, context)


def print_result(result: DriveResult, context: CliContext) -> int:
    """Print what a run came to and return its code."""
    state = result.state
    if context.wants_json:
        print_json(run_json(state) | {"head": result.head})
        if not state.status.over:
            print_lines(next_steps(state, result.repeat(context))[1:], to_stdout=False)
    else:
        lines = summary_lines(state, result.repeat(context), head=result.head)
        print_lines(["", *lines], to_stdout=context.settings.output.events != "-")
    return code_of_run(state, result.received)


def _can_be_asked(result: DriveResult, context: CliContext) -> bool:
    """Tell whether somebody is there to say something: at a terminal, with no program reading what is printed."""
    if result.state.status is not RunStatus.STOPPED or result.received or context.verbosity.quiet:
        return False
    read_by_program = context.wants_json or context.settings.output.events == "-"
    return not read_by_program and all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def _menu(options: Sequence[ResumeOption]) -> list[str]:
    choices = [*(option.why for option in options), "end it for good"]
    lines = [f"  {number:5}  {why}" for number, why in enumerate(choices, 1)]
    leave = "  Enter  leave it as it is; it can be resumed later"
    return ["The run has stopped. Type a number, or only Enter; the safest way comes first:", leave, *lines]


def _agrees(question: str) -> bool:
    """Ask, where there is something to ask; anything but yes is no."""
    return not question or _typed(f"{question} [y/N] ").lower() in {"y", "yes"}


def _typed_number(most: int) -> int:
    """Read a number; 0 for leaving."""
    while True:
        text = _typed("> ")
        if not text:
            return 0
        if text.isascii() and text.isdigit() and 1 <= int(text) <= most:
            return int(text)
        sys.stderr.write(f"Type a number from 1 to {most}, or only Enter.\n")


def _typed(prompt: str) -> str:
    """Read a line; Ctrl-C and the end of the input are an empty one."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        line = ""
    if not line.endswith("\n"):
        sys.stderr.write("\n")
    return line.strip()


def _changes(option: ResumeOption) -> Changes:
    return Changes(option.retry, option.forgive, option.skip_domains, option.limits, by=who())
