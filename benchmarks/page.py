"""The page of results: `results/README.md` and its pictures, made of `results/results.json` and of nothing else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.common import Result, Table
from benchmarks.goals import GOALS, goal_rows
from benchmarks.pictures import drawn

FOLDER: Final = Path(__file__).parent / "results"
KEPT: Final = "results.json"

ABOUT: Final[Mapping[str, str]] = {
    "quota": "How full the fullest window was and how much of the quota was used, as a cloud counts it.",
    "looks": "How soon a server's end is seen, for how many looks at its job.",
    "cpu": "CPU of whole processes over real HTTP against a simulated cloud, at intervals by which all see an end "
    "equally soon.",
    "lag": "How late a host's own event loop is while servers are restarted in it.",
    "start": "CPU and wall time of whole commands.",
    "size": "Memory and CPU of one rollout by its size, in virtual time.",
    "pace": "From the first submit to the last, against what quota, budget, latency and batches allow.",
    "store": "What a store keeps of a server, and how many grants of quota a second it takes.",
    "display": "CPU of the live display, by what happens meanwhile.",
}
"""What each benchmark of the page shows, in the page's order."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """One benchmark's part of the page.

    Attributes:
        result: what it found.
        typed: the command that makes it.
        at: when it was over.
        seconds: how long it took.
        versions: of what was measured and of the peers.
        machine: on which.
    """

    result: Result
    typed: str
    at: str
    seconds: float
    versions: Mapping[str, str]
    machine: str

    @property
    def quick(self) -> bool:
        """True where it was made with less work."""
        return "--quick" in self.typed.split()


Kept = dict[str, Measured]

INTRODUCTION: Final = """\
`python -m benchmarks` writes this page, with all tables and pictures; each part names the command that made it, and a
commit with `-dirty` behind it had changes. What one would take instead, where there is such a thing, ran in turn with
ours, on the same work and the same machine. Times vary with the machine; ratios do less, counts and what runs in
virtual time hardly."""

QUICK: Final = """\
Parts that were made with `--quick` did less work, once: the goals that are marked so are theirs, and wait for more."""


def load(folder: Path) -> Kept:
    """Return what is kept in a folder, if anything."""
    file = folder / KEPT
    parts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {name: _measured(part) for name, part in parts.items() if name in ABOUT}


def _measured(part: dict[str, Any]) -> Measured:
    told = part.pop("result")
    result = Result(**{**told, "tables": [Table(**table) for table in told["tables"]]})
    return Measured(result, **part)


def save(folder: Path, kept: Kept) -> None:
    """Write what was measured, and the page and the pictures that follow from it."""
    folder.mkdir(exist_ok=True)
    ordered = {name: kept[name] for name in ABOUT if name in kept}
    told = {name: dataclasses.asdict(each) for name, each in ordered.items()}
    (folder / KEPT).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for each, measured in ordered.items():
        for name, picture in drawn(each, measured.result.figures).items():
            (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
    (folder / "README.md").write_text(page(ordered), encoding="utf-8")


def page(kept: Kept) -> str:
    """Return the page."""
    reached = Table("Goals", ["what", "goal", "seen", ""], _goals(kept))
    broken = [f"**A promise is broken**: {sentence}" for each in kept.values() for sentence in each.result.broken]
    parts = [
        "# What was measured",
        INTRODUCTION,
        *([QUICK] if any(each.quick for each in kept.values()) else []),
        *_conditions(kept),
        "## Goals",
        *(broken or ["No promise was broken: no quota exceeded, no server restarted twice, none lost."]),
        reached.markdown().partition("\n\n")[2],
        *(section(name, each) for name, each in kept.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _goals(kept: Kept) -> list[list[str]]:
    """Return the goals' rows, in their order; what less work has shown is marked."""
    seen = {name: value for each in kept.values() for name, value in each.result.seen.items()}
    less = {name for each in kept.values() if each.quick for name in each.result.seen}
    names = [name for name in GOALS if name in seen]
    rows = zip(names, goal_rows(seen), strict=True)
    return [[*row[:-1], f"{row[-1]}, --quick" if name in less else row[-1]] for name, row in rows]


def _conditions(kept: Kept) -> list[str]:
    """Return a line for each way of measuring: one, where all was measured by one command."""
    ways: dict[str, list[str]] = {}
    for name, each in kept.items():
        ways.setdefault(_condition(each), []).append(name)
    return [way if len(ways) == 1 else f"{', '.join(names)}: {way}" for way, names in ways.items()]


def _condition(each: Measured) -> str:
    told = ", ".join(f"{name} {version}" for name, version in each.versions.items())
    return f"{each.at[:10]}, {each.machine}. {told}."


def section(name: str, each: Measured) -> str:
    """Return a benchmark's part of the page."""
    pictures = [f"![{ABOUT[name]}]({file}.svg)" for file in drawn(name, each.result.figures)]
    tables = [table.markdown() for table in each.result.tables]
    made = f"`{each.typed}`, {_span(each.seconds)}."
    return "\n\n".join([f"## {name}", f"{ABOUT[name]} {made}", *pictures, *tables])


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
