"""`TokenBucket`: at most ``limit`` servers in any ``window`` seconds, as the cloud counts them.

The cloud counts a request at an instant that a client cannot see, between the first byte sent and the answer. So a
batch's tokens are taken before it is sent and come back ``window`` seconds after its *answer*. Take any window of the
cloud's and the request in it that was sent last: when that one was admitted, all others in the window still held
their tokens, for each was counted less than ``window`` ago and answered later than it was counted. Hence the window's
sum was within ``limit``. And a client that admits more can be broken: let the held ones be counted at their answers.

Two parts in series. `aiolimiter.AsyncLimiter` gives the *shape*: how large a burst may be (a small one spreads a boot
storm). It guarantees nothing, for it counts at the send and holds a full bucket plus a window's refill. The ledger in
the store gives the *guarantee*, across processes and crashes.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from typing import TypeAlias

from aiolimiter import AsyncLimiter

from ecsbatch.engine.freeze_watch import FreezeWatch
from ecsbatch.engine.ports import Ledger
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest

GUARD = 0.05
"""Seconds added to the window, for the rate by which clocks differ."""

SEND_WITHIN = 5.0
"""Seconds after its grant in which a request must leave; a later one is dropped unsent. All who share a ledger rely on
it, so that it is no setting."""

_FOREIGN_POLL = 1.0
"""Seconds between two tries where another process may free or take tokens: we do not hear of it."""

_SHORTEST_WAIT = 0.001
"""Seconds of the shortest timer: a shorter one may not move a clock that counts in floats."""

DESYNC_SECONDS = 600.0
"""Seconds for which the limit is halved after a 429 that our ledger did not expect."""


_Take: TypeAlias = Callable[[TokenRequest], asyncio.Future[Grant | Shortage]]
_GiveBack: TypeAlias = Callable[[Settlement], asyncio.Future[None]]


class Frozen(Exception):
    """Nobody gets tokens: the store is frozen."""

    def __init__(self, freeze: Freeze) -> None:
        super().__init__(f"frozen by {freeze.by}: {freeze.reason}")
        self.freeze = freeze


class StillShort(Exception):
    """There were too few tokens for as long as the caller could wait."""


class TokenBucket:
    """Tokens of one quota group, first come first served.

    Whoever acquires tokens has to settle the grant in the ledger: `answered`, `given_up` and `refund` return how.
    `changed` wakes those who wait, once that is written.

    Attributes:
        quota: servers per window, as the cloud has it.
        group: the key that all who share the quota use.
        freeze: what is known of a freeze of the store.
    """

    def __init__(
        self,
        ledger: Ledger,
        group: str,
        quota: Quota,
        *,
        burst: int | None = None,
        request_timeout: float = 30.0,
        unknown_grace: float = 60.0,
        freeze: FreezeWatch | None = None,
    ) -> None:
        """Begin without tokens: the ledger knows what is free.

        Args:
            ledger: where the grants are kept.
            group: the key that all who share the quota use.
            quota: servers per window, as the cloud has it.
            burst: servers that may leave at once; None: the whole limit.
            request_timeout: seconds after which a request is given up.
            unknown_grace: seconds after that in which the cloud may still begin it.
            freeze: what is known of a freeze of the store, while which the ledger is not asked; None: nothing ever is.
        """
        self.quota = quota
        self.group = group
        self.freeze = freeze or FreezeWatch(ledger)
        self._ledger = ledger
        self._burst = min(burst or quota.limit, quota.limit)
        self._shape = AsyncLimiter(self._burst, self._burst * quota.window / quota.limit)
        self._shaped = 0
        self._grace = unknown_grace
        self._cooling = quota.window + GUARD
        self._in_air = SEND_WITHIN + request_timeout
        self._expires_in = self._in_air + unknown_grace + self._cooling
        self._in_turn = asyncio.Lock()
        self._settled = asyncio.Event()
        self._closed_until = 0.0
        self._lowered: tuple[int, float] | None = None
        self._shortage: tuple[Shortage, float] | None = None

    @property
    def limit(self) -> int:
        """Servers per window that are granted now: the quota, or half of it for some time after a 429."""
        if self._lowered is not None and asyncio.get_running_loop().time() < self._lowered[1]:
            return self._lowered[0]
        return self.quota.limit

    async def acquire(
        self,
        want: int,
        at_least: int = 1,
        *,
        more: Callable[[], int] = lambda: 0,
        until: float | None = None,
        take: _Take | None = None,
        give_back: _GiveBack | None = None,
    ) -> Grant:
        """Wait for between ``at_least`` and ``want`` tokens, in the order of the calls.

        Args:
            want: the most that is of use, at least 1.
            at_least: the least that is of use; lowered to what limit and burst can ever give.
            more: tells how many could be used right after these.
            until: loop time at which the ledger is asked for the last time; None: tokens are of use whenever they come.
            take: takes tokens from the ledger in a transaction of the caller's; None: in one of its own.
            give_back: settles what was taken where the caller is cancelled meanwhile; None: in one of its own.

        Returns:
            The grant; its ``tokens`` say how many.

        Raises:
            ValueError: no token is wanted.
            Frozen: the store is frozen, and how long is not known.
            StillShort: there are too few tokens, and ``until`` is past.
            Exception: whatever ``take`` raises, at once or by its future.
        """
        if want < 1:
            raise ValueError("A grant is of at least one token.")
        async with self._in_turn:
            take, give_back = take or self._ledger.take, give_back or self._ledger.settle
            try:
                return await self._take_in_turn(want, at_least, more, until, take, give_back)
            finally:
                self._shortage = None  # whoever waits next has one of its own

    async def _take_in_turn(
        self,
        want: int,
        at_least: int,
        more: Callable[[], int],
        until: float | None,
        take: _Take,
        give_back: _GiveBack,
    ) -> Grant:
        while True:
            least = min(at_least, want, self._burst, self.limit)
            await self._shape_up(max(1, least), want)
            await self._open()
            if self.freeze.freeze is not None:
                raise Frozen(self.freeze.freeze)
            most = min(want, self._shaped, self.limit)
            self._settled.clear()
            least, more_then = max(1, min(least, most)), want - most + more()
            request = TokenRequest(self.group, most, least, self.limit, self._expires_in, more_then)
            answer = await _keep_or_return(take(request), give_back)
            if isinstance(answer, Grant):
                self._shaped -= answer.tokens
                return answer
            if answer.frozen is not None:
                raise Frozen(answer.frozen)
            self._shortage = answer, (now := asyncio.get_running_loop().time())
            if until is not None and now >= until:
                raise StillShort
            await self._wait(answer, None if until is None else until - now)

    async def _shape_up(self, least: int, most: int) -> None:
        """Pass the shape for at least so many tokens, and for as many more as fit through at once.

        What the ledger then denies has passed already: it is kept for the next try.
        """
        if self._shaped < least:
            await self._shape.acquire(least - self._shaped)
            self._shaped = least
        more = min(most, self._burst) - self._shaped
        # Capacity is a threshold: the largest amount that fits is found by halving the range of amounts.
        fits = bisect_left(range(1, more + 1), x=True, key=lambda tokens: not self._shape.has_capacity(tokens))
        if fits:
            await self._shape.acquire(fits)
            self._shaped += fits

    async def _open(self) -> None:
        """Wait out what a 429 asked for."""
        loop = asyncio.get_running_loop()
        while (left := self._closed_until - loop.time()) > 0:  # noqa: ASYNC110 - a later 429 may move the end
            await asyncio.sleep(left)

    async def _wait(self, shortage: Shortage, most: float | None) -> None:
        """Wait until the ledger may have room: the next token cools down, or some request is settled.

        ``most`` is for how many seconds at the most; None: however long that takes.
        """
        delay = shortage.next_in if shortage.next_in is not None else _FOREIGN_POLL
        if shortage.in_flight or shortage.shared:
            delay = min(delay, _FOREIGN_POLL)
        if most is not None:
            delay = min(delay, most)
        try:
            async with asyncio.timeout(max(delay, _SHORTEST_WAIT)):
                await self._settled.wait()
        except TimeoutError:
            return

    def age(self, grant: Grant) -> float:
        """Return the seconds since a grant: those in which this process, or its machine, stood still count."""
        return self._ledger.age(grant)

    def ledger_time(self) -> float:
        """Return the time by the ledger's clock, which no change of the wall clock moves."""
        return self._ledger.ledger_time()

    def in_air_for(self, grant: Grant) -> float:
        """Return for how many seconds a grant's request may still be on its way; 0 once it must have been given up.

        For a request whose end nobody here has heard: it leaves late at most, and is waited for as long as we wait.
        One from the future was dated by another clock than the ledger's now, and is given all that time.
        """
        return min(max(0.0, self._in_air - self._ledger.least_age(grant)), self._in_air)

    def answered(self, grant: Grant) -> Settlement:
        """Return how to settle after any HTTP answer: the cloud has counted by now, so the window runs from now."""
        return Settlement(grant.id, self._cooling)

    def given_up(self, grant: Grant) -> Settlement:
        """Return how to settle without an answer: the cloud may count until ``unknown_grace`` seconds from now."""
        return Settlement(grant.id, self._grace + self._cooling)

    def refund(self, grant: Grant) -> Settlement:
        """Return how to settle what was certainly not sent: the tokens are free at once."""
        return Settlement(grant.id, None)

    def changed(self) -> None:
        """Wake whoever waits first: something was settled."""
        self._settled.set()

    def close_for(self, seconds: float) -> None:
        """Grant nothing for so many seconds: the cloud asked for a pause."""
        self._closed_until = max(self._closed_until, asyncio.get_running_loop().time() + seconds)

    def lower(self) -> int:
        """Halve the limit for `DESYNC_SECONDS`: somebody else spends this quota. Return the new limit."""
        limit = max(1, self.quota.limit // 2)
        self._lowered = (limit, asyncio.get_running_loop().time() + DESYNC_SECONDS)
        return limit

    async def usage(self) -> Usage:
        """Return what is in flight, cooling and free now."""
        return await self._ledger.usage(self.group, self.limit)

    def shortage(self) -> tuple[int, float] | None:
        """Return the free tokens and the seconds until enough are, while somebody waits for them; else None."""
        if self._shortage is None or self._shortage[0].next_in is None:
            return None
        shortage, asked_at = self._shortage
        return shortage.free, max(0.0, (shortage.next_in or 0.0) - (asyncio.get_running_loop().time() - asked_at))

    def __repr__(self) -> str:
        return f"<TokenBucket {self.quota} for {self.group}, limit now {self.limit}>"


async def _keep_or_return(taking: asyncio.Future[Grant | Shortage], give_back: _GiveBack) -> Grant | Shortage:
    """Wait for tokens; where the caller is cancelled meanwhile, what it was granted is given back: no token is lost.

    That is waited for, so that in the record it stands before whatever ends the run; a second cancellation ends the
    waiting and not the giving back.
    """
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.ensure_future(_given_back(taking, give_back)))
        raise


async def _given_back(taking: asyncio.Future[Grant | Shortage], give_back: _GiveBack) -> None:
    await asyncio.wait((taking,))
    if taking.cancelled() or taking.exception() is not None or not isinstance(grant := taking.result(), Grant):
        return
    settled = give_back(Settlement(grant.id, None))
    await asyncio.wait((settled,))
    if not settled.cancelled():
        settled.exception()  # where it cannot be written, the grant expires by itself
