"""What is shown while a fleet is being read: a line that is written over on a terminal, else a line now and then."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO

from ecsbatch.cli.live import FRAME, draws_pictures, until_next_line
from ecsbatch.cli.output import in_json, log_json, print_lines
from ecsbatch.model.text import truncate
from ecsbatch.views.text import format_span

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext

_A_MOMENT: Final = 1.0
"""Seconds that are over before anybody wonders."""

_GONE: Final = "\r\x1b[K"


class LookProgress:
    """How much of a fleet has been seen.

    Attributes:
        seen, of: servers so far, and how many there are; None while that is not known.
    """

    def __init__(self, *, terminal: TextIO | None) -> None:
        """Begin before the first answer; without a terminal lines are written."""
        self.seen = 0
        self.of: int | None = None
        self._terminal = terminal

    def note(self, seen: int, of: int | None) -> None:
        """Take what has been seen so far."""
        self.seen, self.of = seen, of

    def text(self, seconds: float) -> str:
        """Say it, so many seconds after the begin."""
        total = "" if self.of is None or self.of < self.seen else f" of {self.of:,}"
        return f"looking at the fleet: {self.seen:,}{total} servers seen, {format_span(seconds)}"

    @asynccontextmanager
    async def shown(self) -> AsyncGenerator[None]:
        """Show it while the block runs."""
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            showing = group.create_task(self._show(), name="looking")
            try:
                yield
            except Exception as e:  # noqa: BLE001 - it is raised again, outside of the group that would wrap it
                failure = e
            finally:
                showing.cancel()
        if failure is not None:
            raise failure

    async def _show(self) -> None:
        # Who looks at a terminal that is gone, or writes a log that is full, reads the fleet all the same.
        with suppress(OSError):
            await (self._draw(self._terminal) if self._terminal else self._log())

    async def _draw(self, terminal: TextIO) -> None:
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(_A_MOMENT)
        try:
            while True:
                text = self.text(asyncio.get_running_loop().time() - began)
                width = max(shutil.get_terminal_size().columns - 1, 1)
                terminal.write(_GONE + truncate(text, width))
                terminal.flush()
                await asyncio.sleep(FRAME)
        finally:
            terminal.write(_GONE)
            terminal.flush()

    async def _log(self) -> None:
        began = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(until_next_line(asyncio.get_running_loop().time() - began))
            text = self.text(asyncio.get_running_loop().time() - began)
            if in_json():
                log_json("info", "looking", {"message": text, "seen": self.seen, "of": self.of})
            else:
                print_lines([text], to_stdout=False)


@asynccontextmanager
async def look_progress(context: CliContext) -> AsyncGenerator[LookProgress]:
    """Show how much of a fleet has been seen, as the command was asked to: not at all where it is to be quiet."""
    progress = LookProgress(terminal=sys.stderr if draws_pictures(context) else None)
    if context.verbosity.quiet:
        yield progress
    else:
        async with progress.shown():
            yield progress
