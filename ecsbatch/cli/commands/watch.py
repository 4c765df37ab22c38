"""``ecsbatch watch``: the picture of a run that another process holds. It reads the store and steers nothing."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Final

import orjson
from cyclopts import Parameter

from ecsbatch.cli.commands.status import RunName
from ecsbatch.cli.concluding import check_outputs
from ecsbatch.cli.exit_codes import Exit, code_of_run
from ecsbatch.cli.flags import ConfigFile, Quiet, Verbose, WatchFlags, repeated, settings_of, store_url
from ecsbatch.cli.live import Surroundings, Watchers, Watching
from ecsbatch.cli.wiring import make_store, say
from ecsbatch.model.servers import Quota, RunStatus, Usage
from ecsbatch.store.history import new_story
from ecsbatch.views.report import run_json
from ecsbatch.views.standing import aborting_notice
from ecsbatch.views.summary import Again, summary_lines
from ecsbatch.views.text import printable

if TYPE_CHECKING:
    from ecsbatch.config.sources import Settings
    from ecsbatch.model.state import RolloutState
    from ecsbatch.store import Store
    from ecsbatch.store.history import Story

_GLANCE: Final = 0.5
"""Seconds between two looks at the store."""

_GOING_ON: Final = frozenset({RunStatus.RUNNING, RunStatus.PAUSED})


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
    story, left = asyncio.run(_watch(settings, run, Watching(quiet, verbose)))
    return _conclude(story, settings, left=left)


def _conclude(story: Story, settings: Settings, *, left: bool) -> int:
    if left:
        again = repeated(settings, reading=True)
        run = printable(story.record.run_id)
        say([f"Run {run} goes on; watch it again with: ecsbatch watch {run}{again}"], to_stdout=False)
        return Exit.INTERRUPTED
    if settings.output.output == "json":
        sys.stdout.buffer.write(orjson.dumps(run_json(story.state)) + b"\n")
        sys.stdout.buffer.flush()
    else:
        flags = Again(*[repeated(settings, reading=True)] * 2)
        say(["", *summary_lines(story.state, flags, time.time())], to_stdout=settings.output.events != "-")
    return code_of_run(story.state)


async def _watch(settings: Settings, name: str, watching: Watching) -> tuple[Story, bool]:
    """Follow a run to its end; also say whether the watching was left before."""
    async with make_store(store_url(settings)) as store:
        record = await store.run(name)
        followed = Followed(store, await new_story(store, record))
        await followed.glance()
        if followed.over and settings.output.events is None:
            return followed.story, False
        known = 0 if followed.over else followed.state.seq
        around = Surroundings(followed.quota, followed.usage, lambda: aborting_notice(followed.state), known)
        watchers = Watchers(followed, around, settings, watching)
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


class Followed:
    """A run of another process, read from the store again and again.

    Attributes:
        story: what is known of it.
        over: it has ended there, or nobody holds it any more.
    """

    def __init__(self, store: Store, story: Story) -> None:
        """Begin before its first event."""
        self.story = story
        self.over = False
        self._store = store
        self._news = asyncio.Event()

    @property
    def state(self) -> RolloutState:
        """Where it stands."""
        return self.story.state

    @property
    def quota(self) -> Quota:
        """Servers per window, as the run's process has it."""
        told = self.story.holders
        return Quota(told.limit, told.window) if told is not None and told.limit else Quota()

    async def usage(self) -> Usage | None:
        """Ask the ledger about the first site's quota."""
        groups = list(self.story.record.plan.get("sites", {}).values())
        return await self._store.usage(groups[0], self.quota.limit) if groups else None

    async def glance(self) -> None:
        """Fold what is new."""
        story = self.story
        # The record first: what is stored after it shows with the next look, and a run that is over stores nothing.
        story.record = record = await self._store.run(story.record.run_id)
        before = story.state.seq
        while events := await self._store.events(record.run_id, story.state.seq):
            for event in events:
                story.apply(event)
        story.settle()
        self.over = story.state.status not in _GOING_ON
        if self.over or story.state.seq > before:
            self._news.set()
            self._news = asyncio.Event()

    async def to_its_end(self, leave: asyncio.Event) -> None:
        """Look twice a second until the run has ended, or somebody leaves."""
        while not self.over and not leave.is_set():
            try:
                async with asyncio.timeout(_GLANCE):
                    await leave.wait()
            except TimeoutError:
                await self.glance()

    async def lines(self, after: int = 0) -> AsyncIterator[bytes]:
        """Follow its journal from behind an event's number; ends with the run's end."""
        while True:
            news, over = self._news, self.over
            found = await self._store.lines(self.story.record.run_id, after)
            for line in found:
                yield line
            after += len(found)
            if not found:
                if over:
                    return
                await news.wait()
