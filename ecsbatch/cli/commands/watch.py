"""``ecsbatch watch``: the picture of a run that another process holds. It reads the store and steers nothing."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated

import orjson
from cyclopts import Parameter

from ecsbatch.cli.exit_codes import Exit, code_of_run
from ecsbatch.cli.flags import ConfigFile, Quiet, RunName, Verbose, WatchFlags, repeated, settings_of, store_url
from ecsbatch.cli.live import LiveContext, LiveViews, Verbosity
from ecsbatch.cli.output import check_outputs, print_lines
from ecsbatch.cli.wiring import make_store
from ecsbatch.model.text import printable
from ecsbatch.store.history import RunFollower, new_history
from ecsbatch.views.report import run_json
from ecsbatch.views.standing import aborting_notice
from ecsbatch.views.summary import RepeatFlags, summary_lines

if TYPE_CHECKING:
    from ecsbatch.config.sources import Settings
    from ecsbatch.store.history import RunHistory


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
    settings = settings_of(flags, config)
    check_outputs(settings)
    story, left = asyncio.run(_watch(settings, run, Verbosity(quiet, verbose)))
    return _conclude(story, settings, left=left)


def _conclude(story: RunHistory, settings: Settings, *, left: bool) -> int:
    if left:
        again = repeated(settings, reading=True)
        run = printable(story.record.run_id)
        print_lines([f"Run {run} goes on; watch it again with: ecsbatch watch {run}{again}"], to_stdout=False)
        return Exit.INTERRUPTED
    if settings.output.output == "json":
        sys.stdout.buffer.write(orjson.dumps(run_json(story.state)) + b"\n")
        sys.stdout.buffer.flush()
    else:
        flags = RepeatFlags(*[repeated(settings, reading=True)] * 2)
        print_lines(["", *summary_lines(story.state, flags, time.time())], to_stdout=settings.output.events != "-")
    return code_of_run(story.state)


async def _watch(settings: Settings, name: str, watching: Verbosity) -> tuple[RunHistory, bool]:
    """Follow a run to its end; also say whether the watching was left before."""
    async with make_store(store_url(settings)) as store:
        record = await store.run(name)
        followed = RunFollower(store, await new_history(store, record))
        await followed.refresh()
        if followed.over and settings.output.events is None:
            return followed.story, False
        known = 0 if followed.over else followed.state.seq
        around = LiveContext(followed.quota, followed.usage, lambda: aborting_notice(followed.state), known)
        watchers = LiveViews(followed, around, settings, watching)
        leave = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, leave.set)
        try:
            async with asyncio.TaskGroup() as group:
                watchers.start(group)
                await followed.to_its_end(leave)
                await watchers.end(whole=followed.over)
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            await watchers.close()
        return followed.story, not followed.over
