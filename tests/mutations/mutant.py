"""A mutant: one place of the source with another text, by which the engine breaks one promise."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "ecsbatch"


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
        """Copy the package into a folder, with the new text in place of the old."""
        shutil.copytree(ROOT / PACKAGE, folder / PACKAGE)
        file = folder / PACKAGE / self.file
        file.write_text(file.read_text(encoding="utf-8").replace(self.old, self.new), encoding="utf-8")
