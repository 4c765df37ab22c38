"""The display on a terminal: pictures of a run in one place, a few times a second.

It writes over the lines that it wrote before and never clears them first, so that nothing flickers; a picture that is
the same as the one before is not written at all. A thread writes, since a terminal that is held (Ctrl-S) must not hold
the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ecsbatch.policy.progress import Progress
from ecsbatch.views.progress import render_progress

_LEAST: Final = 20
_END_OF_LINE: Final = "\x1b[K\n"
_TO_THE_END: Final = "\x1b[J"


class TerminalDisplay:
    """Shows pictures in place, on stderr."""

    def __init__(self, console: Console, *, repeat: str = "", ascii_only: bool = False) -> None:
        """Write to a console that is a terminal.

        Args:
            console: the terminal.
            repeat: flags that commands about the run need too.
            ascii_only: keep to letters that every terminal has.
        """
        self._console = console
        self._repeat = repeat
        self._ascii_only = ascii_only or console.options.ascii_only
        self._drawn: list[str] = []
        self._widths: list[int] = []
        self._size = console.size

    async def show(self, progress: Progress, notice: str = "") -> None:
        """Draw a run, and a notice below it, a column and a line smaller than the screen."""
        size = self._console.size
        lines = render_progress(
            progress,
            max(size.width - 1, _LEAST),
            max(size.height - 1, 1),
            notice=notice,
            repeat=self._repeat,
            ascii_only=self._ascii_only,
        )
        drawn = [self._painted(line) for line in lines]
        if (drawn, size) == (self._drawn, self._size):
            return
        back = _back(self._widths, size.width)
        self._drawn, self._size, self._widths = drawn, size, [cell_len(line.plain) for line in lines]
        await asyncio.to_thread(self._write, back + "".join(line + _END_OF_LINE for line in drawn) + _TO_THE_END)

    async def stop(self) -> None:
        """Give the lines back."""
        await asyncio.to_thread(self._write, _back(self._widths, self._console.size.width) + _TO_THE_END)
        self._drawn, self._widths = [], []

    def _painted(self, line: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(line, end="", soft_wrap=True)
        return capture.get()

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()


def lines_up(widths: Sequence[int], screen: int) -> int:
    """Count the lines that a picture takes now; on a screen that became narrower each may have become several."""
    return sum(max(-(-width // max(screen, 1)), 1) for width in widths)


def _back(widths: Sequence[int], screen: int) -> str:
    """Go back to the first line of a picture."""
    up = lines_up(widths, screen)
    return f"\x1b[{up}A\r" if up else ""
