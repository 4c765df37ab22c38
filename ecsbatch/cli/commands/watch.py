"""``ecsbatch watch``: the picture of a run that another process holds. It reads the store and steers nothing."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext, Verbosity
from ecsbatch.cli.exit_codes import Exit, code_of_run
from ecsbatch.cli.flags import ConfigFile, Quiet, RunName, Verbose, WatchFlags
from ecsbatch.cli.live import LiveContext, LiveViews, store_notice
from ecsbatch.cli.output import check_outputs, print_json, print_lines
from ecsbatch.cli.wiring import make_store
from ecsbatch.model.text import printable
from ecsbatch.policy.standing import aborting_notice, blind_notice, failed_over_notice
from ecsbatch.rollout.follower import RunFollower, head_at, new_history
from ecsbatch.views.report import run_json
from ecsbatch.views.summary import summary_lines

if TYPE_CHECKING:
    from ecsbatch.rollout.follower import RunHistory


_NEXT_HOLDER: Final = 15.0
"""Seconds for which a run without a process is watched on: one that stands by takes it within five, or so."""


def watch(
    run: RunName = "",
    /,
    *,
    flags: Annotated[WatchFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Watch a run that another process holds, until it ends there; the code is the one that the run ends with.

    Ctrl-C ends the watching and does nothing to the run.
    """
    context = CliContext.of(flags, config, Verbosity(quiet, verbose))
    check_outputs(context.settings)
    history, head = asyncio.run(_watch(context, run))
    return _print_result(history, context, head)


def _print_result(history: RunHistory, context: CliContext, head: str | None) -> int:
    if head is None:
        run = printable(history.record.run_id)
        command = f"ecsbatch watch {run}{context.repeat.read}"
        print_lines([f"Run {run} goes on; watch it again with: {command}"], to_stdout=False)
        return Exit.INTERRUPTED
    if context.wants_json:
        print_json(run_json(history.state) | {"head": head})
    else:
        lines = summary_lines(history.state, context.repeat, history.read_at, head)
        print_lines(["", *lines], to_stdout=context.settings.output.events != "-")
    return code_of_run(history.state)


async def _watch(context: CliContext, name: str) -> tuple[RunHistory, str | None]:
    """Follow a run to its end; also return its record's head, None where the watching was left before."""
    async with make_store(context.store_url, read_only=True) as store:
        record = await store.run(name)
        follower = RunFollower(store, await new_history(store, record), patience=_NEXT_HOLDER)
        await follower.refresh()
        if follower.over and context.settings.output.events is None:
            return follower.history, await head_at(store.lines, record.run_id, follower.state.seq)
        known = 0 if follower.over else follower.state.seq

        def notice() -> str:
            state, now = follower.state, store.wall()
            waits = store_notice(store.waiting, store.waits_for, store.keeper, sends=False) if store.waiting else ""
            return waits or aborting_notice(state) or blind_notice(state, now) or failed_over_notice(state, now)

        live = LiveContext(follower.quota, follower.usage, notice, known, now=store.wall)
        views = LiveViews(follower, live, context)
        leave = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, leave.set)
        try:
            async with asyncio.TaskGroup() as group:
                views.start(group)
                await follower.to_its_end(leave)
                await views.end(whole=follower.over)
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            await views.close()
        head = await head_at(store.lines, record.run_id, follower.state.seq) if follower.over else None
        return follower.history, head
