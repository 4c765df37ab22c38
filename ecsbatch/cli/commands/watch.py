"""``ecsbatch watch``: the picture of a run that another process holds. It reads the store and steers nothing."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext, Verbosity
from ecsbatch.cli.exit_codes import Exit, code_of_run
from ecsbatch.cli.flags import ConfigFile, Quiet, RunName, Timeout, Verbose, WatchFlags, seconds_of
from ecsbatch.cli.live import LiveContext, LiveViews, store_notice
from ecsbatch.cli.output import check_outputs, print_json, print_lines
from ecsbatch.cli.wiring import make_store
from ecsbatch.model.text import printable
from ecsbatch.policy.standing import aborting_notice, blind_notice, failed_over_notice
from ecsbatch.rollout.follower import NEXT_HOLDER, RunFollower, head_at, new_history
from ecsbatch.views.report import run_json
from ecsbatch.views.summary import summary_lines

if TYPE_CHECKING:
    from ecsbatch.rollout.follower import RunHistory


def watch(
    run: RunName = "",
    /,
    *,
    flags: Annotated[WatchFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
    timeout: Timeout = "",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Watch a run that another process holds, until it ends there; the code is the one that the run ends with.

    A run that another process takes over is watched on. Ctrl-C and --timeout end the watching and do nothing to the
    run.
    """
    context = CliContext.of(flags, config, Verbosity(quiet, verbose))
    check_outputs(context.settings)
    seconds = seconds_of(timeout)
    history, left = asyncio.run(_watch(context, run, seconds))
    if left:
        name = printable(history.record.run_id)
        command = f"ecsbatch watch {name}{context.repeat.read}"
        print_lines([f"Run {name} goes on; watch it again with: {command}"], to_stdout=False)
    if left is not Exit.INTERRUPTED:
        _print_summary(history, context)
    return left or code_of_run(history.state)


def _print_summary(history: RunHistory, context: CliContext) -> None:
    state, head = history.state, history.head
    if context.wants_json:
        print_json(run_json(state, history.read_at if state.status.goes_on else None) | {"head": head})
    else:
        lines = summary_lines(state, context.repeat, history.read_at, head)
        print_lines(["", *lines], to_stdout=context.settings.output.events != "-")


async def _watch(context: CliContext, name: str, seconds: float | None) -> tuple[RunHistory, Exit]:
    """Follow a run to its end; also return the code where the watching was left before, else 0."""
    async with make_store(context.store_url, read_only=True) as store:
        record = await store.run(name)
        follower = RunFollower(store, await new_history(store, record), patience=NEXT_HOLDER)
        history = follower.history
        await follower.refresh()
        if follower.over and context.settings.output.events is None:
            history.head = await head_at(store.lines, record.run_id, follower.state.seq)
            return history, Exit.OK
        known = 0 if follower.over else follower.state.seq

        def notice() -> str:
            state, now = follower.state, store.wall()
            waits = store_notice(store.waiting, store.waits_for, store.keeper, sends=False) if store.waiting else ""
            return waits or aborting_notice(state) or blind_notice(state, now) or failed_over_notice(state, now)

        live = LiveContext(follower.quota, follower.usage, notice, known, now=store.wall)
        views = LiveViews(follower, live, context)
        leave, interrupted = asyncio.Event(), False
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            leave.set()

        loop.add_signal_handler(signal.SIGINT, interrupt)
        alarm = loop.call_later(seconds, leave.set) if seconds is not None else None
        try:
            async with asyncio.TaskGroup() as group:
                views.start(group)
                await follower.to_its_end(leave)
                await views.end(whole=follower.over)
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            if alarm is not None:
                alarm.cancel()
            await views.close()
        history.head = await head_at(store.lines, record.run_id, follower.state.seq)
        left = Exit.INTERRUPTED if interrupted else Exit.NOT_IN_TIME
        return history, Exit.OK if follower.over else left
