"""Who hears of all that happens in an engine, such as metrics and traces: they take note, and change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context

from ecsbatch.engine.ports import Watcher
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.state import RolloutState


class WatcherList:
    """The watchers of one engine; one that fails is told to the event loop's exception handler, and stops nothing."""

    def __init__(self, watchers: Sequence[Watcher] = ()) -> None:
        """Tell these; none cost nothing."""
        self._watchers = tuple(watchers)

    def heard(self, commit: Sequence[Recorded], state: RolloutState | None, context: Context | None) -> None:
        """Tell of events that were stored and folded, with the context variables of whoever has begun their run."""
        if self._watchers:
            # A copy: whoever has begun the run may be in it at this very moment.
            around = context.copy() if context is not None else copy_context()
            around.run(self._tell, lambda watcher: _tell_each(watcher, commit, state))

    def asked(self, server: str, answer: asyncio.Future[Outcome]) -> None:
        """Tell of a single restart that somebody asks for, with that somebody's context variables."""
        if self._watchers:
            self._tell(lambda watcher: watcher.asked(server, answer))

    def left(self, run_id: str) -> None:
        """Tell that this process has let a rollout go."""
        if self._watchers:
            self._tell(lambda watcher: watcher.left(run_id))

    def _tell(self, word: Callable[[Watcher], None]) -> None:
        for watcher in self._watchers:
            try:
                word(watcher)
            except Exception as e:  # noqa: BLE001 - whatever it is, restarts go on
                told = {"message": f"A watcher has failed: {watcher!r}", "exception": e}
                asyncio.get_running_loop().call_exception_handler(told)


def _tell_each(watcher: Watcher, commit: Sequence[Recorded], state: RolloutState | None) -> None:
    for recorded in commit:
        watcher.heard(recorded, state)
