"""`WaveBarrier`: the barrier before a wave: soak, hold, gate. Read `WaveBarrier.passed` first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ecsbatch.engine.journal import TRUST_POLL
from ecsbatch.foreign import Broke, asked, unlike
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Wave
from ecsbatch.model.text import one_line, truncate
from ecsbatch.policy import decide as policy
from ecsbatch.policy.decide import Ending
from ecsbatch.rollout.gates import Gate
from ecsbatch.rollout.session import RunSession

GATE_PAUSE: Final = 15.0
"""Seconds until a gate is asked again that said ``wait``, or nothing that can be used."""

LAST_TRY: Final = 1.0
"""Seconds before the end of ``gate_timeout`` at which a gate is asked for the last time."""

_VERDICTS: Final = ("go", "wait", "stop")


class WaveBarrier:
    """The barrier before the next wave; begun anew after each wave."""

    def __init__(self, session: RunSession, gate: Gate | None, interrupted: Callable[[], bool]) -> None:
        """Guard a run's waves; without a gate by soak and hold alone.

        ``interrupted`` tells whether the run has something else to do than to wait for a gate: it ends or is paused.
        """
        self._session = session
        self._gate = gate
        self._interrupted = interrupted
        self._held_before = 0
        self.begin()

    def begin(self) -> None:
        """Begin soak and gate anew: a wave has ended."""
        self._soak_until: float | None = None
        self.paused()

    def paused(self) -> None:
        """Begin the gate's time anew: the run waits for another reason."""
        self._gate_until: float | None = None
        self._ask_at = 0.0
        self._last_word = ""

    async def passed(self, wave: Wave) -> bool:
        """Take one step towards a wave: wait, or ask its gate once; True once it may start."""
        if wave.number == 1 or policy.left_out_whole(self._session.state, wave.number):
            return True
        return await self._soaked() and await self._promoted(wave) and await self._gate_open(wave)

    async def _soaked(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._soak_until is None:
            self._soak_until = now + self._session.plan.soak
        if now < self._soak_until:
            await self._session.change(self._soak_until)
            return False
        return True

    async def _promoted(self, wave: Wave) -> bool:
        """Wait until somebody promotes, where the plan holds before this wave."""
        session = self._session
        if not policy.held_before(session.state, wave.number):
            return True
        if self._held_before < wave.number:
            self._held_before = wave.number
            await session.note(ev.GateChecked(gate="hold", verdict="wait", wave=wave.number))
        else:
            await session.change()
        return False

    async def _gate_open(self, wave: Wave) -> bool:
        """Ask the gate once it is time; end the run where it says stop or its time is over."""
        if self._gate is None:
            return True
        session, now = self._session, asyncio.get_running_loop().time()
        if session.state.frozen is not None:
            # Nothing would be sent by its go, and a freeze that is long must not be why the run stops.
            self.paused()
            await session.change()
            return False
        if self._gate_until is None:
            self._gate_until = now + session.plan.gate_timeout
            timeout = session.plan.gate_timeout
            await session.note(ev.GateWaiting(gate=session.plan.gate, wave=wave.number, timeout=timeout))
        if now >= self._gate_until:
            self._stop(
                "gate_timeout", f"The gate did not say go within {session.plan.gate_timeout:g} s{self._last_word}."
            )
            return False
        if now < self._ask_at or not session.journal.trusted:
            # Another process may have the run by now, and ask.
            await session.change(max(self._ask_at, now + TRUST_POLL))
            return False
        verdict, message = await self._ask(self._gate, self._gate_until - now)
        if verdict == "interrupted":
            return False
        await session.note(ev.GateChecked(gate=session.plan.gate, verdict=verdict, wave=wave.number, message=message))
        if verdict == "stop":
            self._stop("gate", message or "The gate said stop.")
        self._ask_at = self._next_try(self._gate_until)
        self._last_word = f"; its last word was {verdict}{': ' if message else ''}{message.rstrip('.')}"
        return verdict == "go"

    def _stop(self, reason: str, message: str) -> None:
        self._session.end_by(Ending(RunStatus.STOPPED, reason, message))

    @staticmethod
    def _next_try(until: float) -> float:
        """Return the loop time at which to ask again; the last time is just before the end."""
        now = asyncio.get_running_loop().time()
        last = until - LAST_TRY
        return min(now + GATE_PAUSE, last) if now < last else until

    async def _ask(self, gate: Gate, within: float) -> tuple[str, str]:
        """Ask once; return verdict and message, ``interrupted`` where the run has something else to do meanwhile."""
        session = self._session

        def read(answer: object) -> tuple[str, str]:
            if not isinstance(answer, str) or answer not in _VERDICTS:
                raise unlike(answer, '"go", "wait" or "stop"')
            return _VERDICTS[_VERDICTS.index(answer)], truncate(one_line(str(getattr(gate, "message", ""))))

        async def ask() -> tuple[str, str]:
            try:
                return await asked(lambda: gate(session.state), read, within)
            except Broke as e:
                return "inconclusive", str(e)

        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask(), name="gate")
            asking.add_done_callback(lambda _: session.notice())
            while not asking.done():
                if self._interrupted():
                    asking.cancel()
                    break
                await session.change()
        return ("interrupted", "") if asking.cancelled() else asking.result()
