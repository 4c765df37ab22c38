"""Checks and gates as other people write them: they hang, raise, break off and answer nonsense now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Final

from .world import World

FOR_EVER: Final = 86_400.0
NO: Final[tuple[Any, ...]] = (None, 0, "", [], False)
YES: Final[tuple[Any, ...]] = (1, "yes", True)
NO_VERDICT: Final = (None, True, "maybe", "", 7)
VERDICTS: Final = ("go", "wait", "stop")


class ForeignCode:
    """The checks and gates of a world.

    Attributes:
        calm: nothing goes wrong any more.
    """

    def __init__(self, world: World, note: Callable[[str], None]) -> None:
        self.calm = False
        self._checks = world.troubles.checks
        self._gates = world.troubles.gates or 0.0
        self._chance = Random(f"foreign-code-{world.seed}")
        self._note = note

    async def check(self, healthy: bool) -> Any:  # noqa: FBT001 - the one thing it is asked
        """Answer whether a server is healthy, or misbehave; nonsense means what it looks like."""
        if self.calm or not self._checks or self._chance.random() >= self._checks:
            return healthy
        if self._chance.random() < 0.25:
            self._note("checks that answered nonsense")
            return self._chance.choice(YES if healthy else NO)
        return await self._misbehave("checks")

    async def gate(self, _: object) -> Any:
        """Say go most of the time, or misbehave."""
        if self.calm:
            self._note("gates that said go")
            return "go"
        if self._chance.random() >= self._gates:
            verdict = self._chance.choices(VERDICTS, (70, 27, 3))[0]
            self._note(f"gates that said {verdict}")
            return verdict
        if self._chance.random() < 0.25:
            self._note("gates that answered nonsense")
            return self._chance.choice(NO_VERDICT)
        return await self._misbehave("gates")

    async def _misbehave(self, who: str) -> Any:
        kind = self._chance.choice(("hung", "raised", "broke off"))
        self._note(f"{who} that {kind}")
        if kind == "hung":
            await asyncio.sleep(FOR_EVER)
        if kind == "broke off":
            raise asyncio.CancelledError
        raise RuntimeError("This check or gate has a fault of its own.")
