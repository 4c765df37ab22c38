"""`WaveBarrier`: what stands between two waves: a soak, a hold until somebody promotes, a gate that is asked."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from ecsbatch.foreign import Broke, asked, unlike
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import one_line, truncate
from ecsbatch.policy import decide as policy
from ecsbatch.rollout.gates import Gate

GATE_PAUSE: Final = 15.0
"""Seconds between two askings of a gate that says ``wait`` or nothing that can be used."""

LAST_ASKING: Final = 1.0
"""Seconds before the end of ``gate_timeout`` at which a gate is asked once more."""

_VERDICTS: Final = ("go", "wait", "stop")


class Run(Protocol):
    """The rollout that stands between two waves."""

    @property
    def state(self) -> RolloutState:
        """Where it stands."""
        ...

    @property
    def plan(self) -> Plan:
        """What it was planned as."""
        ...

    async def note(self, event: ev.Event, status: RunStatus | None = None) -> None:
        """Record an event and wait until it is folded."""
        ...

    async def change(self, until: float | None = None) -> None:
        """Wait until something has changed, at the longest until a loop time."""
        ...

    def notice(self) -> None:
        """Say that something has changed."""
        ...

    def wanted(self) -> bool:
        """Tell whether the rollout has something else to do: it ends or is paused, or nobody drives it any more."""
        ...

    def gate_stops(self, reason: str, message: str) -> None:
        """End the run: the gate says so."""
        ...


class WaveBarrier:
    """The way to the next wave; begun anew after each."""

    def __init__(self, run: Run, gate: Gate | None) -> None:
        """Without a gate only soak and hold stand in the way."""
        self._run = run
        self._gate = gate
        self._told_hold = 0
        self.begin()

    def begin(self) -> None:
        """A wave has ended: soak and gate begin anew."""
        self._soak_until: float | None = None
        self.paused()

    def paused(self) -> None:
        """The run stands still for another reason, which is none of the gate's time."""
        self._gate_until: float | None = None
        self._gate_again = 0.0
        self._said = ""

    async def passed(self, wave: Wave) -> bool:
        """Take one step towards a wave; True once it may start."""
        if wave.number == 1 or policy.left_out_whole(self._run.state, wave.number):
            return True
        return await self._soaked() and await self._promoted(wave) and await self._gate_open(wave)

    async def _soaked(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._soak_until is None:
            self._soak_until = now + self._run.plan.soak
        if now < self._soak_until:
            await self._run.change(self._soak_until)
            return False
        return True

    async def _promoted(self, wave: Wave) -> bool:
        """Wait for somebody's word where the plan wants it."""
        run = self._run
        if not policy.held_before(run.state, wave.number):
            return True
        if self._told_hold < wave.number:
            self._told_hold = wave.number
            await run.note(ev.GateChecked(gate="hold", verdict="wait", wave=wave.number))
        else:
            await run.change()
        return False

    async def _gate_open(self, wave: Wave) -> bool:
        """Ask the gate until it says go or stop, or its time is over; no verdict is one to wait for."""
        if self._gate is None:
            return True
        run, now = self._run, asyncio.get_running_loop().time()
        if self._gate_until is None:
            self._gate_until = now + run.plan.gate_timeout
        if now >= self._gate_until:
            run.gate_stops("gate_timeout", f"The gate did not say go within {run.plan.gate_timeout:g} s{self._said}.")
            return False
        if now < self._gate_again:
            await run.change(self._gate_again)
            return False
        verdict, message = await self._ask(self._gate, self._gate_until - now)
        if verdict == "interrupted":
            return False
        await run.note(ev.GateChecked(gate=run.plan.gate, verdict=verdict, wave=wave.number, message=message))
        if verdict == "stop":
            run.gate_stops("gate", message or "The gate said stop.")
        self._gate_again = self._next_asking(self._gate_until)
        self._said = f"; its last word was {verdict}{': ' if message else ''}{message.rstrip('.')}"
        return verdict == "go"

    @staticmethod
    def _next_asking(until: float) -> float:
        """Return when to ask again; a last time just before the end, where that is not over already."""
        now = asyncio.get_running_loop().time()
        last = until - LAST_ASKING
        return min(now + GATE_PAUSE, last) if now < last else until

    async def _ask(self, gate: Gate, within: float) -> tuple[str, str]:
        """Ask once; the run's own end or a pause interrupts the asking."""
        run = self._run

        def read(answer: object) -> tuple[str, str]:
            if not isinstance(answer, str) or answer not in _VERDICTS:
                raise unlike(answer, '"go", "wait" or "stop"')
            return _VERDICTS[_VERDICTS.index(answer)], truncate(one_line(str(getattr(gate, "message", ""))))

        async def ask() -> tuple[str, str]:
            try:
                return await asked(lambda: gate(run.state), read, within)
            except Broke as e:
                return "inconclusive", str(e)

        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask(), name="gate")
            asking.add_done_callback(lambda _: run.notice())
            while not asking.done():
                if run.wanted():
                    asking.cancel()
                    break
                await run.change()
        return ("interrupted", "") if asking.cancelled() else asking.result()
