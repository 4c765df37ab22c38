"""A run over time, in at most 600 buckets: what was sent, restarted and failed, how many were down, the quota's use."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any, ClassVar, Final

from ecsbatch.model import events as ev
from ecsbatch.model.quota import Quota
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.state import RolloutState

MOST: Final = 600
"""Buckets; where a run takes longer, each becomes twice as wide."""

_COUNTED: Final = ("restarted", "failed", "submitted")
_PEAKS: Final = ("down", "allowed")


class RunTimeline:
    """Folds a run's events into buckets. Call `apply` with each event behind the state's own.

    What comes out depends on the events alone: it is the same for a run that is read at once and for one that is
    followed. A server that is sent again counts again. Tokens count from the request on until a window behind its
    answer; of several sites those of the fullest are told.

    Attributes:
        step: seconds of a bucket.
        origin: the second at which the first one begins, since 1970; 0 before the first event.
        quota: that the run's last holder keeps to.
    """

    def __init__(self, state: RolloutState) -> None:
        """Begin before the first event of a state."""
        self.step = 1
        self.origin = 0.0
        self.quota = Quota()
        self._state = state
        self._buckets: dict[str, list[int]] = {name: [] for name in (*_COUNTED, *_PEAKS, "tokens")}
        self._now = self._full_at = 0.0
        self._down = self._peak = 0
        self._allowed = state.plan.max_unavailable
        self._grace = 0.0
        self._sent: dict[int, tuple[str, int]] = {}
        self._cooling: list[tuple[float, str, int]] = []
        self._out = Counter[str]()
        self._waves: dict[int, dict[str, float | None]] = {}
        self._told = (0, 0)
        self._news = False

    def __len__(self) -> int:
        return len(self._buckets["down"])

    def apply(self, recorded: Recorded) -> None:
        """Take the next event in."""
        self._now = max(self._now, recorded.ts)
        if self._now >= self._full_at:
            self._go_on()
        fold = self._folds.get(type(recorded.event))
        if fold is not None:
            fold(self, recorded.event)
        run = self._state.run
        self._down = down = run.in_flight + run.held
        if down > self._peak:
            self._peak = self._buckets["down"][-1] = down
        self._news = True

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values.

        - ``origin``, ``step``: when the first bucket begins, seconds since 1970, and how many seconds each has.
        - ``restarted``, ``failed``, ``submitted``: servers in each bucket; failed are all failures.
        - ``down``, ``allowed``: the most servers down at once within each, and the most that were allowed.
        - ``tokens``: tokens of the quota out at each one's end; of the last one, at the last event.
        - ``quota``: ``limit`` servers in ``window`` seconds.
        - ``waves``: of those that have begun, by number, when each ``began`` and ``ended``; null while it has not.
        """
        return {"origin": self.origin, "step": self.step, **self._from(0), **self._besides()}

    def tail(self, first: int) -> dict[str, Any]:
        """Return the same from a bucket on, with its number as ``from``."""
        return {"from": first, "origin": self.origin, "step": self.step, **self._from(first), **self._besides()}

    def fresh(self) -> dict[str, Any] | None:
        """Return the tail that is new, or has changed, since the last call; None where there is none.

        Once the buckets have become wider it begins with the first.
        """
        if not self._news:
            return None
        step, buckets = self._told
        self._told, self._news = (self.step, len(self)), False
        return self.tail(max(0, buckets - 1) if step == self.step else 0)

    # -- buckets ---------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Begin the bucket of now, and those before it in which nothing has happened: there all is as it was."""
        if not len(self):
            self.origin = float(int(self._now))
        at = int((self._now - self.origin) // self.step)
        while at >= MOST:
            self._widen()
            at //= 2
        for begun in range(len(self), at + 1):
            if begun:
                self._buckets["tokens"][-1] = self._tokens_at(self.origin + begun * self.step)
            for name in (*_COUNTED, "tokens"):
                self._buckets[name].append(0)
            self._buckets["down"].append(self._down)
            self._buckets["allowed"].append(self._allowed)
        self._peak = self._buckets["down"][-1]
        self._full_at = self.origin + (at + 1) * self.step

    def _widen(self) -> None:
        self.step *= 2
        for name, values in self._buckets.items():
            first, second = values[::2], values[1::2]
            if name in _COUNTED:
                values[:] = [a + b for a, b in zip_longest(first, second, fillvalue=0)]
            elif name in _PEAKS:
                values[:] = [max(a, b) for a, b in zip_longest(first, second, fillvalue=0)]
            else:
                values[:] = [*second, *first[len(second) :]]

    def _from(self, first: int) -> dict[str, list[int]]:
        if len(self):
            self._buckets["tokens"][-1] = self._tokens_at(self._now)
        return {name: values[first:] for name, values in self._buckets.items()}

    def _besides(self) -> dict[str, Any]:
        quota = {"limit": self.quota.limit, "window": self.quota.window}
        return {"quota": quota, "waves": {str(wave): dict(told) for wave, told in sorted(self._waves.items())}}

    def _count(self, name: str, servers: int = 1) -> None:
        self._buckets[name][-1] += servers

    # -- folding ---------------------------------------------------------------------------------------------------

    def _wave_started(self, event: ev.WaveStarted) -> None:
        """Note when a wave began; one whose servers are tried again has not ended any more."""
        began = self._waves.get(event.wave, {}).get("began", self._now)
        self._waves[event.wave] = {"began": began, "ended": None}

    def _wave_finished(self, event: ev.WaveFinished) -> None:
        if event.wave in self._waves:
            self._waves[event.wave]["ended"] = self._now

    def _submitting(self, event: ev.BatchSubmitting) -> None:
        servers, group = len(event.servers), event.group or event.site
        self._count("submitted", servers)
        self._sent[event.batch] = (group, servers)
        self._out[group] += servers

    def _answered(self, event: ev.BatchAccepted) -> None:
        self._cool(event.batch, self.quota.window)

    def _rejected(self, event: ev.BatchRejected) -> None:
        self._cool(event.batch, 0.0 if event.kind == "not_sent" else self.quota.window)

    def _unanswered(self, event: ev.BatchUnknown) -> None:
        self._cool(event.batch, self.quota.window + (0.0 if event.status else self._grace))

    def _cool(self, batch: int, seconds: float) -> None:
        """Let a request's tokens be free in so many seconds."""
        sent = self._sent.pop(batch, None)
        if sent is not None:
            heapq.heappush(self._cooling, (self._now + seconds, *sent))

    def _tokens_at(self, ts: float) -> int:
        while self._cooling and self._cooling[0][0] <= ts:
            _, group, servers = heapq.heappop(self._cooling)
            self._out[group] -= servers
        return max(self._out.values(), default=0)

    def _restarted(self, event: ev.ServerEvent) -> None:
        self._count("restarted", not event.not_retried)

    def _failed(self, event: ev.ServerEvent) -> None:
        self._count("failed", not event.not_retried)

    def _limit_changed(self, event: ev.LimitChanged) -> None:
        if event.limit == "max_unavailable" and isinstance(event.new, int):
            self._allowed = event.new
            self._buckets["allowed"][-1] = max(self._buckets["allowed"][-1], event.new)

    def _holder_changed(self, event: ev.HolderChanged) -> None:
        self.quota = Quota(event.limit, event.window) if event.limit else self.quota
        self._grace = event.unknown_grace

    _folds: ClassVar[Mapping[type[ev.Event], Callable[[Any, Any], None]]] = {
        ev.WaveStarted: _wave_started,
        ev.WaveFinished: _wave_finished,
        ev.BatchSubmitting: _submitting,
        ev.BatchAccepted: _answered,
        ev.BatchRejected: _rejected,
        ev.BatchUnknown: _unanswered,
        ev.ServerRestarted: _restarted,
        ev.ServerFailed: _failed,
        ev.ServerTimedOut: _failed,
        ev.ServerUnknown: _failed,
        ev.LimitChanged: _limit_changed,
        ev.HolderChanged: _holder_changed,
    }
