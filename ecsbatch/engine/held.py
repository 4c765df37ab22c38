"""`HeldServers`: servers that have their outcome and may be down; each keeps its slot in the budget until it is up.

The poller looks at them as at all others; their own checks, which may hang for long, are asked in `HealthChecker`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from ecsbatch.engine.health import HealthChecker
from ecsbatch.engine.reconcile import is_up
from ecsbatch.engine.resolver import LookResult, ServerWatch, WatchReason
from ecsbatch.engine.server_queue import ServerQueue
from ecsbatch.model import events as ev
from ecsbatch.model.servers import ServerView


class HeldServers:
    """The held servers of one site: those whose end was recorded with ``holds`` and that no look has shown up."""

    def __init__(
        self,
        health: HealthChecker,
        unit: float,
        look_after: Callable[[ServerWatch, float], None],
        record: Callable[[ServerQueue, LookResult], None],
    ) -> None:
        """``look_after`` has a server looked at in so many seconds, ``record`` has a result written.

        Pauses between looks are multiples of ``unit`` seconds.
        """
        self._health = health
        self._unit = unit
        self._look_after = look_after
        self._record = record
        # A dict, for it keeps the order: the same seed gives the same looks.
        self._watches: dict[tuple[ServerQueue, str], ServerWatch] = {}
        self._numbered = 0

    def watch(self, queue: ServerQueue, server: str) -> None:
        """Look at a server from now until it is up: what was seen or checked before says nothing of it any more."""
        self._numbered += 1
        self._look_now(ServerWatch(queue, None, server, WatchReason.HELD, float(self._numbered)))

    def hurry(self, queues: Iterable[ServerQueue]) -> None:
        """Look now at every held server of these queues."""
        wanted = set(queues)
        for watch in [watch for watch in self._watches.values() if watch.queue in wanted and not watch.released]:
            # A new watch, for the old one has its turn later, or is being looked at and would speak of before.
            self._look_now(replace(watch))

    def seen(self, queues: Iterable[ServerQueue], since: float) -> bool:
        """Tell whether each of them was looked at since a loop time, and its check, if there is one, has answered."""
        wanted = set(queues)
        held = [w for w in self._watches.values() if w.queue in wanted and w.queue.owner.still_down(w.server)]
        return all(watch.seen_at >= since and not watch.released for watch in held)

    def over(self, watch: ServerWatch) -> bool:
        """Tell whether a watch is replaced by a later one, or its server keeps no slot any more."""
        return not self._current(watch) or not watch.queue.owner.still_down(watch.server)

    def forget(self, watch: ServerWatch) -> None:
        """Look no more."""
        if self._current(watch):
            del self._watches[watch.queue, watch.server]
            watch.queue.wake()

    def judge(self, watch: ServerWatch, view: ServerView | None, asked: float, found: LookResult) -> None:
        """Release a server's slot once it is up, and healthy where a check is set.

        Args:
            watch: the server.
            view: what was seen of it; None: nothing.
            asked: loop time at which the look was asked.
            found: takes the release.
        """
        if self.over(watch):
            self.forget(watch)
        elif view is None or (view.found and not is_up(view)):
            self._still_down(watch, asked)
        elif view.found and watch.queue.options.check is not None:
            self._health.visit(
                watch.queue, watch.queue.server(watch.server, view), partial(self._checked, watch, asked)
            )
        else:
            self._release(watch, "up" if view.found else "not_found", found)

    def _look_now(self, watch: ServerWatch) -> None:
        self._watches[watch.queue, watch.server] = watch
        self._look_after(watch, 0.0)

    def _current(self, watch: ServerWatch) -> bool:
        return self._watches.get((watch.queue, watch.server)) is watch

    def _checked(self, watch: ServerWatch, asked: float, passed: bool) -> None:  # noqa: FBT001 - a callback's answer
        """Act on what the check of a held server says; where it passed that holds, though it was hurried meanwhile."""
        current = self._watches.get((watch.queue, watch.server))
        if current is None or current.released or current.since != watch.since:
            return
        if passed:
            found = LookResult()
            self._release(current, "up", found)
            self._record(watch.queue, found)
        elif current is watch:
            self._still_down(watch, asked)

    def _still_down(self, watch: ServerWatch, asked: float) -> None:
        watch.seen_at = asked
        self._look_after(watch, self._unit * min(5.0 * 2.0 ** min(watch.looks + watch.left_out, 6), 60.0))
        watch.queue.wake()

    @staticmethod
    def _release(watch: ServerWatch, why: str, found: LookResult) -> None:
        """Have it written that a server is up; the watch stays until that is folded."""
        watch.released = True
        found.released.append(watch)
        found.events.append(ev.ServerReleased(server=watch.server, why=why))
