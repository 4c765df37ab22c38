"""A mutant: one place of the source with another text, by which the engine breaks one promise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "ecsbatch"
COMPILED: Final = "__pycache__"
"""What is compiled of a mutant is its own."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One promise broken.

    Attributes:
        name: what the engine does then.
        promise: what it breaks by that.
        file: of the package; ``old`` stands there in exactly one place, and ``new`` takes it.
        tests: the tests that fail by it, as pytest names them.
        seeds: worlds of the simulation, drawn with all dimensions, that show it; several, as an engine that merely
            looks at other instants meets another fate in the same world: one is enough.
        scenes: the same of worlds with several holders.
    """

    name: str
    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    scenes: tuple[int, ...] = ()

    @property
    def places(self) -> int:
        """How often the old text stands in the source."""
        return (ROOT / PACKAGE / self.file).read_text(encoding="utf-8").count(self.old)

    def written_to(self, folder: Path) -> None:
        """Make the package in a folder: links to ours, but for the file that has the new text in place of the old."""
        mutated = Path(PACKAGE) / self.file
        rooms = mutated.parents[:-1]
        for room in rooms:
            (folder / room / COMPILED).mkdir(parents=True, exist_ok=True)
        for room in rooms:
            for there in (*(ROOT / room).iterdir(), *(ROOT / room / COMPILED).glob("*.pyc")):
                here = folder / there.relative_to(ROOT)
                if not here.exists() and not there.name.startswith(f"{mutated.stem}.cpython"):
                    here.symlink_to(there)
        text = (ROOT / mutated).read_text(encoding="utf-8").replace(self.old, self.new)
        (folder / mutated).unlink()
        (folder / mutated).write_text(text, encoding="utf-8")
