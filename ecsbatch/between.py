"""`Between`: what stands between two waves: a soak, a hold until somebody promotes, a gate that is asked."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from ecsbatch import events as ev
from ecsbatch.gates import Gate
from ecsbatch.models import RunStatus, Wave
from ecsbatch.plan import Plan
from ecsbatch.state import RolloutState

GATE_PAUSE: Final = 15.0
"""Seconds between two askings of a gate that says ``wait``."""


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
        """Tell whether the rollout has something else to do: it ends, or is paused."""
        ...

    def gate_stops(self, reason: str, message: str) -> None:
        """End the run: the gate says so."""
        ...


class Between:
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
        self._gate_until: float | None = None
        self._gate_again = 0.0

    async def cleared(self, wave: Wave) -> bool:
        """Take one step towards a wave; True once it may start."""
        if wave.number == 1:
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
        if wave.number - 1 not in run.plan.hold_after or run.state.promoted >= wave.number:
            return True
        if self._told_hold < wave.number:
            self._told_hold = wave.number
            await run.note(ev.GateChecked(gate="hold", verdict="wait", wave=wave.number))
        else:
            await run.change()
        return False

    async def _gate_open(self, wave: Wave) -> bool:
        """Ask the gate; an inconclusive one pauses the run, for no answer is neither yes nor no."""
        if self._gate is None:
            return True
        run, loop = self._run, asyncio.get_running_loop()
        if self._gate_until is None:
            self._gate_until = loop.time() + run.plan.gate_timeout
        if loop.time() < self._gate_again:
            await run.change(self._gate_again)
            return False
        verdict, message = await self._ask(self._gate)
        if verdict != "interrupted":
            await run.note(ev.GateChecked(gate=run.plan.gate, verdict=verdict, wave=wave.number, message=message))
        if verdict == "stop":
            run.gate_stops("gate", message or "The gate said stop.")
        elif verdict == "wait" and loop.time() >= self._gate_until:
            run.gate_stops("gate_timeout", f"The gate said wait for {run.plan.gate_timeout:.0f} s.")
        elif verdict == "wait":
            self._gate_again = min(loop.time() + GATE_PAUSE, self._gate_until)
        elif verdict == "inconclusive":
            self._gate_until = None
            await run.note(ev.RunPaused(reason="gate_inconclusive"), RunStatus.PAUSED)
        return verdict == "go"

    async def _ask(self, gate: Gate) -> tuple[str, str]:
        """Ask once; the run's own end or a pause interrupts the asking."""
        run = self._run

        async def ask() -> tuple[str, str]:
            try:
                async with asyncio.timeout(run.plan.gate_timeout):
                    verdict = await gate(run.state)
                    return verdict, str(getattr(gate, "message", ""))
            except Exception as e:  # noqa: BLE001 - a gate is foreign code, and whatever it raises is no verdict
                return "inconclusive", str(e) or type(e).__name__

        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask(), name="gate")
            asking.add_done_callback(lambda _: run.notice())
            while not asking.done():
                if run.wanted():
                    asking.cancel()
                    break
                await run.change()
        return ("interrupted", "") if asking.cancelled() else asking.result()
