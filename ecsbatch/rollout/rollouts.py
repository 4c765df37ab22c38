"""`Rollouts`: the rollouts that one process has. They hear what is asked of them elsewhere, and of the engine's end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from ecsbatch.errors import ConfigError
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.servers import RestartType
from ecsbatch.rollout.rollout import Rollout

STEER_INTERVAL: Final = 0.5
"""Seconds between two reads of the commands that a run got from elsewhere; they are to be followed within a second."""


class Rollouts:
    """The rollouts that were begun here and have not ended here.

    Attributes:
        running: the list of them, which each of them enters and leaves by itself.
    """

    def __init__(self) -> None:
        self.running: list[Rollout] = []

    def __len__(self) -> int:
        return len(self.running)

    def __iter__(self) -> Iterator[Rollout]:
        """Go over those of this moment, whatever begins or ends meanwhile."""
        return iter(tuple(self.running))

    def find(self, run_id: str) -> Rollout | None:
        """Return the one that holds a run, by its whole id."""
        return next((rollout for rollout in self if rollout.run_id == run_id and rollout.held), None)

    def join(self, server: str, wanted: RestartType) -> asyncio.Future[Outcome] | None:
        """Return a future of a server's outcome with the rollout that will restart it; None where none will.

        Raises:
            ConfigError: that rollout restarts it in another way than ``wanted``.
        """
        for rollout in self:
            joined = rollout.join(server)
            if joined is not None:
                if rollout.plan.type != wanted:
                    raise ConfigError(f"Server {server} is part of run {rollout.run_id}, which is {rollout.plan.type}.")
                return joined
        return None

    async def steer(self) -> None:
        """Have them follow the commands that the store has for them, and record when nothing can be seen, for ever."""
        while True:
            await asyncio.sleep(STEER_INTERVAL)
            await self._steer_once()

    async def _steer_once(self) -> None:
        for rollout in self:
            # A read that fails now may not in a moment: it is not the run's end, as a failed write is.
            for each in (rollout.hear_of_taking, rollout.follow_commands, rollout.note_sight):
                with suppress(Exception):
                    await each()

    def stop(self, reason: str, message: str) -> None:
        """Stop all, resumable."""
        for rollout in self:
            rollout.stop(reason, message)

    def engine_stopped(self, fault: BaseException) -> None:
        """Tell all that the engine has ended."""
        for rollout in self:
            rollout.engine_stopped(fault)
