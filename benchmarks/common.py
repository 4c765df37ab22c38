"""What the benchmarks share: how one is called, what it returns, and a simulated world in virtual time.

A benchmark is a module of this folder with two functions:

    def run(options: Options) -> Result: ...    # measures; prints nothing but `say` of how far it is
    def main() -> int: return command(run)      # python -m benchmarks NAME [--quick] [--repeats N] [WORD ...]

What it found comes back as tables to print, as figures by which `pictures` draws and as what the goals of `goals` are
held to. A goal that is missed is said and nothing more; only a promise that is broken (`Result.broken`: a quota that
was exceeded, a server that was restarted twice or lost) ends with exit code 1.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.goals import goal_rows
from ecsbatch import EcsClient, Restarter
from ecsbatch.store import DatabaseStore
from ecsbatch.testing import World

REPEATS: Final = 5
"""How often at least is repeated what another program on the machine can disturb."""


@dataclass(frozen=True)
class Options:
    """How a benchmark is to be run.

    Attributes:
        quick: in seconds, with less work and without repeats; for a look, not for the page.
        repeats: of what the machine can disturb; what runs in virtual time needs none.
        words: other arguments, as typed; each benchmark has its own.
    """

    quick: bool = False
    repeats: int = REPEATS
    words: Sequence[str] = ()

    @classmethod
    def typed(cls, arguments: Sequence[str]) -> Options:
        """Return the options that arguments give."""
        words = list(arguments)
        quick = "--quick" in words
        if quick:
            words.remove("--quick")
        repeats = 1 if quick else REPEATS
        if "--repeats" in words:
            place = words.index("--repeats")
            repeats = int(words[place + 1])
            del words[place : place + 2]
        return cls(quick, repeats, words)

    def text(self) -> str:
        """Return them as they are typed, each behind a space."""
        usual = 1 if self.quick else REPEATS
        repeats = [] if self.repeats == usual else ["--repeats", str(self.repeats)]
        return "".join(f" {word}" for word in [*self.words, *(["--quick"] if self.quick else []), *repeats])


class Spread(NamedTuple):
    """What repeats of one measurement gave."""

    median: float
    least: float
    most: float

    def text(self, form: str = "{:.0f}", unit: str = "") -> str:
        """Return the median and, where there are several values, from where to where they went."""
        middle, low, high = (form.format(each) for each in self)
        return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low}-{high})"


def median_and_spread(values: Sequence[float]) -> Spread:
    """Return the median of values, their least and their most."""
    return Spread(median(values), min(values), max(values))


@dataclass(frozen=True)
class Table:
    """A table: the first column stands to the left, the others to the right.

    Attributes:
        title: what it shows, with the work that was done.
        head: of each column.
        rows: a text for each cell.
        notes: sentences that stand below.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def text(self) -> str:
        """Return it for a terminal."""
        widths = [max(len(row[i]) for row in [self.head, *self.rows]) for i in range(len(self.head))]
        lines = [self.title, ""]
        for row in [self.head, ["-" * width for width in widths], *self.rows]:
            first, *others = zip(row, widths, strict=True)
            cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, *(["", *self.notes] if self.notes else [])])

    def markdown(self) -> str:
        """Return it for a page."""
        lines = [f"**{self.title}**", "", _row(self.head), _row(["---", *["---:"] * (len(self.head) - 1)])]
        lines += [_row(row) for row in self.rows]
        return "\n".join([*lines, *(line for note in self.notes for line in ("", note))])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


@dataclass(frozen=True)
class Result:
    """What a benchmark found.

    Attributes:
        tables: to print, in their order.
        seen: what is held to a goal, by the goal's name in `benchmarks.goals`.
        figures: values as JSON has them, by which `benchmarks.pictures` draws: under ``rows`` a mapping for each thing
            shown, with its ``name`` and whether it is ``ours``. Of quota: ``latency`` (the round trip's name),
            ``fullest``, ``share``; of pace: ``share``; of lag: ``p50``, ``p99``, ``p999``, ``most`` in milliseconds; of
            store: ``bytes`` a server or ``per_second``, ``of_limit``.
        broken: promises that were broken, a sentence each; there are none.
    """

    tables: Sequence[Table]
    seen: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    broken: Sequence[str] = ()


def say(text: str) -> None:
    """Say on standard error how far a benchmark is."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def command(run: Callable[[Options], Result]) -> int:
    """Run a benchmark as typed, and print what it found; 1 where a promise is broken."""
    return show(run(Options.typed(sys.argv[1:])))


def show(result: Result) -> int:
    """Print what a benchmark found; 1 where a promise is broken."""
    for each in result.tables:
        print(f"\n{each.text()}")
    if result.seen:
        print(f"\n{Table('Goals', ['', 'goal', 'seen', ''], goal_rows(result.seen)).text()}")
    for sentence in result.broken:
        print(f"\nA PROMISE IS BROKEN: {sentence}")
    return 1 if result.broken else 0


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    print(f"\n{Table(title, head, rows).text()}\n")


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
