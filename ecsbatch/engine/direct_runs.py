"""`DirectRuns`: the runs that direct restarts are recorded in, one after another. Read `DirectRuns.mend` first.

A service lives for months, and a record that never ends could never be deleted. So new requests go to a new run once
the present one is long or old; the one before ends as soon as nothing of it waits or is in flight. A server that does
is joined there meanwhile, so that it is restarted once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Final

from ecsbatch.engine.direct import DirectRestarts
from ecsbatch.engine.runtime import Runtime
from ecsbatch.errors import EcsbatchError, RunConflict, RunNotFound
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import RestartType

MOST_EVENTS: Final = 100_000
"""Events from which on a run is long: some twenty megabytes, at 100 restarts a second a quarter of an hour."""

OLDEST: Final = 86_400.0
"""Seconds from which on a run is old."""

_KNOWN: Final = 16
"""Ended runs from which `DirectRuns.events` can still go on."""


class DirectRuns:
    """The present run of direct restarts and those before it that are not over yet.

    Attributes:
        most_events, oldest: how long (in events) and how old (in seconds) a run becomes.
    """

    def __init__(self, runtime: Runtime, new_run_id: Callable[[], str]) -> None:
        """Restart servers on ``runtime``; ``new_run_id`` draws the id of each run."""
        self.most_events = MOST_EVENTS
        self.oldest = OLDEST
        self._runtime = runtime
        self._new_run_id = new_run_id
        self._changed = asyncio.Event()
        self._present = self._new_run()
        self._ending: list[DirectRestarts] = []
        self._ended: deque[DirectRestarts] = deque(maxlen=_KNOWN)

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    @property
    def _runs(self) -> list[DirectRestarts]:
        """The runs that are not over, the present one last."""
        return [*self._ending, self._present]

    def _new_run(self) -> DirectRestarts:
        return DirectRestarts(self._runtime, self._new_run_id(), self._notice)

    def submit(self, server: str, site: str, type_: RestartType) -> asyncio.Future[Outcome]:
        """Ask for a server's restart, as `DirectRestarts.submit` does; a server is joined in the run that has it."""
        for run in self._ending:
            if run.has(server):
                return run.submit(server, site, type_)
        return self._present.submit(server, site, type_)

    # -- one after another -----------------------------------------------------------------------------------------

    async def mend(self) -> None:
        """Take runs anew where writing has failed, begin a new run when it is time, end those that are done.

        Call it every few seconds.
        """
        for run in self._runs:
            await run.mend()
        await self._leave_taken()
        if self._present.events >= self.most_events or self._present.age >= self.oldest:
            self._begin_anew()
        for run in [run for run in self._ending if run.idle]:
            await self._end_before(run)

    def note_freeze(self) -> None:
        """Have the runs that wait for anything record that the store is frozen, or that it is not any more."""
        for run in self._runs:
            run.note_freeze()

    async def _leave_taken(self) -> None:
        """Let new requests go to a new run where another process has taken the present one, or the store has lost it.

        It is let go: its servers would be nobody else's while this process lives.
        """
        if self._present.taken is not None:
            self._begin_anew()
        for run in [run for run in self._ending if run.taken is not None]:
            self._ending.remove(run)
            run.abandon()
            await self._let_go(run)

    def _begin_anew(self) -> None:
        """Let new requests go to a new run."""
        before, self._present = self._present, self._new_run()
        before.successor = self._present
        self._ending.append(before)
        self._notice()

    async def _end_before(self, run: DirectRestarts) -> None:
        """End a run before the present one; where that cannot be written it is tried again later."""
        follows = run.successor.run_id if run.successor is not None else ""
        with suppress(EcsbatchError):
            await run.finish("rotated", f"Later requests are in run {follows} and those after it.")
        if run.failed is None:
            self._ending.remove(run)
            self._ended.append(run)
            run.stop()
            await self._let_go(run)

    async def _let_go(self, run: DirectRestarts) -> None:
        """Have the store let a run go that is over, once nobody reads it: a store in memory forgets it then."""
        if not run.live and not run.feed.readers:
            await run.let_go()

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let nothing more be sent."""
        for run in self._runs:
            run.close()

    def end(self, fault: BaseException | None) -> None:
        """Tell whoever still waits that the engine has ended; ``fault`` is why, None where it was closed."""
        for run in self._runs:
            run.end(fault)

    async def release(self, within: float) -> None:
        """End all runs; their claims are free then, as they are once no process has them.

        The end of a run is left out where it cannot be written, or not within so many seconds.

        Raises:
            RunConflict: another process has taken one of them.
        """
        taken: RunConflict | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                for run in self._runs:
                    try:
                        await run.finish("closed")
                    except RunConflict as e:
                        taken = e
        for run in self._runs:
            run.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                for run in self._runs:
                    await self._let_go(run)
        if taken is not None:
            raise taken

    # -- following -------------------------------------------------------------------------------------------------

    def events(self, after: int = 0, run_id: str = "") -> AsyncGenerator[Recorded]:
        """Follow the events of a run, and of those after it, until `release`.

        Runs may overlap: the last events of one come among the first of the next. A store in memory forgets a run that
        is over and that nobody is reading: who has stood still for a whole run misses those after it.

        Args:
            after: the number of the event in that run behind which to begin.
            run_id: one of the present run or of the last before it; "": the present one.

        Raises:
            RunNotFound: the run is none of these.
        """
        return self._follow(self._run(run_id), after)

    def _run(self, run_id: str) -> DirectRestarts:
        for run in (*self._ended, *self._runs):
            if run.run_id == run_id:
                return run
        if run_id:
            message = f"Run {run_id!r} is none of the last runs of direct restarts of this Restarter."
            raise RunNotFound(message, run_id=run_id)
        return self._present

    async def _follow(self, run: DirectRestarts, after: int) -> AsyncGenerator[Recorded]:
        """Yield the events behind number ``after`` of a run, and those of all runs after it."""
        places = {run: after}
        run.feed.join()
        try:
            while places:
                changed, quiet = self._changed, True
                for each in list(places):
                    live, found = each.live, await each.feed.read(places[each])
                    for recorded in found:
                        places[each] = recorded.seq
                        yield recorded
                    quiet = quiet and not found
                    if not (found or live):
                        del places[each]
                        each.feed.leave()
                        await self._let_go(each)
                while run.successor is not None:
                    run, quiet = run.successor, False
                    places[run] = 0
                    run.feed.join()
                if places and quiet:
                    await changed.wait()
        finally:
            for each in places:
                each.feed.leave()
            for each in places:
                await self._let_go(each)

    def _notice(self) -> None:
        """Wake whoever follows."""
        self._changed.set()
        self._changed = asyncio.Event()
