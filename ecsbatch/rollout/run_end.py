"""`RunEnd`: how a run ends in this process, for all who wait for that."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

from ecsbatch.model.run import Result


class RunEnd:
    """The end of a run here: told once, and waited for by any number of callers.

    A fault that nobody waits for is reported by the event loop, unless somebody has `seen` it.
    """

    def __init__(self) -> None:
        """Begin before it."""
        self._told: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def __await__(self) -> Generator[Any, None, Result]:
        """Wait for it; cancelling ends the waiting alone."""
        return asyncio.shield(self._told).__await__()

    def tell(self, how: Result | BaseException) -> None:
        """Tell how the run stands, or what has ended it here; what is told later is not heard."""
        if self._told.done():
            return
        if isinstance(how, Result):
            self._told.set_result(how)
        else:
            self._told.set_exception(how)

    def seen(self) -> None:
        """Note that somebody hears of a fault otherwise."""
        if self._told.done():
            self._told.exception()
