"""`LiveEngine`: what works behind a `Restarter` from its start to its end. Read `aclose` for how it ends in order."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ecsbatch.engine.direct_runs import DirectRuns
from ecsbatch.engine.freeze_watch import LOOK_EVERY
from ecsbatch.engine.pipeline import Pipeline
from ecsbatch.engine.runtime import Runtime
from ecsbatch.engine.workers import to_the_end
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped
from ecsbatch.host_loop import Turnstile
from ecsbatch.model.outcome import HANDED_OVER, Outcome
from ecsbatch.model.servers import RestartType, Server
from ecsbatch.planning.selection import as_target
from ecsbatch.rollout.named import NamedRestarts
from ecsbatch.rollout.orphans import CLOSED
from ecsbatch.rollout.rollouts import Rollouts
from ecsbatch.rollout.targets import needs_lookup

_WHY: Final = {
    CLOSED: "The Restarter was closed.",
    HANDED_OVER: "Its process was told to end, and has left it for another one to go on with.",
}

MEND_INTERVAL: Final = 5.0
"""Seconds between two tries to go on with direct restarts after a failed write."""


class LiveEngine:
    """The engine at work, with the rollouts that were begun on it and the single restarts that it was asked for.

    Attributes:
        runtime: the engine's parts.
        direct: the single restarts.
        rollouts: those that were begun here and have not ended here.
        turnstile: which calls for single restarts pass, however many come at once.
    """

    def __init__(self, runtime: Runtime, new_run_id: Callable[[], str]) -> None:
        """Work on ``runtime``; ``new_run_id`` draws the ids of the runs that single restarts are recorded in."""
        self.runtime = runtime
        self.direct = DirectRuns(runtime, new_run_id)
        self.rollouts = Rollouts()
        self.turnstile = Turnstile()
        self._named = NamedRestarts(runtime.clouds, self._submit)
        self._gone = asyncio.Event()
        runtime.freeze.hearers.append(self._note_freeze)

    def __str__(self) -> str:
        runtime = self.runtime
        state = "closed" if runtime.closed else "running"
        short = [free for p in runtime.pipelines.values() if (free := p.bucket.shortage()) is not None]
        tokens = "".join(f", {free} tokens free, more in {math.ceil(seconds)} s" for free, seconds in short)
        frozen = f", frozen by {runtime.freeze.freeze.by or 'somebody'}" if runtime.freeze.freeze is not None else ""
        return (
            f"{state} [{len(self.direct)} direct, {len(self.rollouts)} rollouts, {runtime.queued} queued, "
            f"{runtime.in_air} requests in the air{tokens}{frozen}]"
        )

    def start(self) -> None:
        """Begin to work."""
        beside = {"steer": self.rollouts.steer, "mend": self._mend, "freeze": self._watch_freeze}
        self.runtime.start(beside, self._ended)

    async def _watch_freeze(self) -> None:
        """Look whether the store is frozen while a rollout goes on or a server waits, and until it is not."""
        runtime = self.runtime
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self.rollouts or runtime.queued or runtime.in_air or runtime.freeze.freeze is not None:
                # A store that cannot be read grants nothing either.
                with suppress(EcsbatchError):
                    await runtime.freeze.look()

    def _note_freeze(self) -> None:
        """Have it on record that the store is frozen, or is not any more, before anything is sent by that."""
        self.direct.note_freeze()
        for rollout in self.rollouts:
            rollout.note_freeze()

    async def _mend(self) -> None:
        """Go on with direct restarts after a failed write, whether or not somebody asks for one."""
        while True:
            await asyncio.sleep(MEND_INTERVAL)
            await self.direct.mend()

    def submit(self, server: str | Server, wanted: RestartType) -> asyncio.Future[Outcome]:
        """Restart a server, which is found first where it is given by its name; raises as `Restarter.submit`."""
        self.runtime.check()
        if needs_lookup((server,)):
            return self._named.submit(server, wanted)
        return self._submit(*as_target(server), wanted)

    def _submit(self, server: str, site: str, wanted: RestartType) -> asyncio.Future[Outcome]:
        """Restart a server that is given by its id; who has it already is joined."""
        self.runtime.check()
        self.pipeline(site)
        answer = self.rollouts.join(server, wanted) or self.direct.submit(server, site, wanted)
        self.runtime.watchers.asked(server, answer)
        return answer

    def pipeline(self, site: str) -> Pipeline:
        """Return the engine's parts for a site.

        Raises:
            ConfigError: the Restarter does not have it.
        """
        if site not in self.runtime.pipelines:
            raise ConfigError(f"The site {site!r} is none of this Restarter's.")
        return self.runtime.pipelines[site]

    # -- the end ---------------------------------------------------------------------------------------------------

    async def aclose(self, timeout: float, reason: str) -> None:  # noqa: ASYNC109 - how long others get, not this call
        """Let nothing new be sent, and end; a second call meanwhile waits for the same end.

        Args:
            timeout: seconds that requests in the air get for their answers, and rollouts for writing their end.
            reason: why the rollouts stop, in a word.

        Raises:
            ConfigError: it runs in another event loop.
            RunConflict: another process has taken a run of the direct restarts.
        """
        runtime = self.runtime
        runtime.check_loop()
        if runtime.closed:
            await self._gone.wait()
            return
        runtime.closed = True
        self.direct.close()
        self._named.end()
        self.rollouts.stop(reason, _WHY.get(reason, ""))
        try:
            await runtime.settled(lambda: runtime.working and bool(runtime.in_air or self.rollouts), timeout)
        finally:
            await to_the_end(self._break_off(timeout))

    async def _break_off(self, within: float) -> None:
        """End the engine's task; rollouts run in tasks of their own and write their end before the store closes."""
        runtime = self.runtime
        try:
            await runtime.stop()
            self.direct.end(runtime.fault)
            await runtime.settled(lambda: bool(self.rollouts), within)
        finally:
            self.rollouts.engine_stopped(EngineStopped("the Restarter was closed"))
            self.direct.end(runtime.fault)
            try:
                await self.direct.release(within)
            finally:
                self.direct.end(runtime.fault)
                self._gone.set()

    def _ended(self, fault: BaseException) -> None:
        """Answer everybody who waits: the engine has ended by itself."""
        self._named.end()
        self.direct.end(fault)
        self.rollouts.engine_stopped(fault)
