"""What the benchmarks share: a simulated world in virtual time, and a table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ecsbatch import EcsClient, Restarter, open_store
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.simulator.cloud import CloudConfig, SimulatedCloud
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.simulator.virtual_time import VirtualClock, VirtualLoop, run


class Simulated:
    """A cloud, a client, a store and an engine in virtual time.

    Attributes:
        loop, cloud, client, store, restarter: the parts; the last two work while `run` does.
    """

    def __init__(self, **cloud: Any) -> None:
        self.loop = VirtualLoop()
        clock = VirtualClock(self.loop)
        config = CloudConfig(**cloud)
        self.cloud = SimulatedCloud(config, self.loop.time)
        self.client = EcsClient(
            auth=KeyAuth(config.access_key, config.secret_key),
            project_id=config.project_id,
            endpoint="https://ecs.example.com",
            sender=SimulatedSender(self.cloud),
            clock=clock,
        )
        self.store = open_store("memory:", clock=clock, inline=True)
        self.restarter = Restarter(self.client, self.store, clock=clock, seed=1)
        self._endings: list[Callable[[], object]] = []

    def at_end(self, do: Callable[[], object]) -> None:
        """Have something done when the world ends."""
        self._endings.append(do)

    def run(self, main: Callable[[], Awaitable[object]]) -> None:
        """Run something to its end."""

        async def life() -> None:
            async with self.client, self.store, self.restarter:
                await main()

        try:
            run(life(), loop=self.loop)
        finally:
            for do in self._endings:
                do()


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}\n")
    for row in [head, ["-" * width for width in widths], *rows]:
        first, *others = zip(row, widths, strict=True)
        print("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]))
    print()
