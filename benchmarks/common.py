"""What the benchmarks share: a simulated world in virtual time, and a table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ecsbatch import EcsClient, Restarter
from ecsbatch.store import DatabaseStore
from ecsbatch.testing import World


class Simulated(World):
    """A world whose client, store and engine benchmarks reach into while `play` runs something."""

    ecs: EcsClient
    kept: DatabaseStore
    engine: Restarter

    def __init__(self, **cloud: Any) -> None:
        super().__init__(**cloud)
        self._endings: list[Callable[[], object]] = []

    def at_end(self, do: Callable[[], object]) -> None:
        """Have something done when the world ends."""
        self._endings.append(do)

    def play(self, main: Callable[[], Awaitable[object]]) -> None:
        """Run something to its end."""

        async def life() -> None:
            async with (
                self.client() as self.ecs,
                self.store() as self.kept,
                Restarter(self.ecs, self.kept, clock=self.clock, seed=1) as self.engine,
            ):
                await main()

        try:
            self.run(life)
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
