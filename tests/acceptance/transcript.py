r"""Reads a night: Markdown that says what is typed at which terminal and what it shows; and judges what it showed.

The first comment sets the stage, one ``key: value`` a line::

    simulator: arguments of ecsbatch simulate
    machine: names of the terminals that share a home; given again for another machine
    export: NAME=value, for all terminals

Blocks say what is typed and seen, comments what happens besides::

    ```console                          `ann$ command` and what it prints; a command that ends in \ goes on below
    <!-- ann types 200 -->              an answer: the next block shows it at the end of the line that asks for it;
                                        Enter is an empty one, behind a >
    <!-- display of ann when az2 >= 20% -->  her screen in mid-run, from the display's first line on, is the ```display
                                        block below: once the bar of that name has come so far ...
    <!-- display of ann when Held -->   ... or once the screen shows these words
    <!-- ann's command ends -->         the ```console block below is what it has printed since
    <!-- kill laptop -->                the terminal's command is killed with SIGKILL
    <!-- cloud {"zone_mend": "az2"} --> the simulated cloud is changed

Everything else is prose. A command is waited for, unless the next thing told of its terminal is one of the last four.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

ANY: Final = "..."
ENTER: Final = "Enter"
_CELLS: Final = "█▓▒▌░"
_PROMPT: Final = re.compile(r"(\w+)\$ (.+)")


class Unreadable(ValueError):
    """A night that says what there is no meaning for."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A command: its answers are typed when the line that asks is there; it ends, or goes on behind the next steps."""

    line: int
    terminal: str
    command: str
    expected: Sequence[str]
    answers: Sequence[str] = ()
    ends: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that went on has ended, and has printed this since."""

    line: int
    terminal: str
    expected: Sequence[str]


@dataclass(frozen=True, slots=True)
class Pictured:
    """A screen in mid-run, at the first moment for which the words hold."""

    line: int
    terminal: str
    when: str
    expected: Sequence[str]


@dataclass(frozen=True, slots=True)
class Killed:
    """A terminal's command is killed."""

    line: int
    terminal: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The cloud is changed."""

    line: int
    change: Any
    terminal: str = ""


Step = Typed | Ended | Pictured | Killed | Changed


@dataclass(slots=True)
class Night:
    """One story.

    Attributes:
        simulator: arguments of ``ecsbatch simulate``.
        machines: the terminals of each machine.
        environment: of all terminals, beside the simulator's.
        steps: what happens.
    """

    simulator: Sequence[str] = ()
    machines: list[Sequence[str]] = field(default_factory=list[Sequence[str]])
    environment: dict[str, str] = field(default_factory=dict[str, str])
    steps: list[Step] = field(default_factory=list[Step])


# Reading

_PIECES: Final = re.compile(r"<!--(?P<comment>.*?)-->|^```(?P<kind>\w+)\n(?P<block>.*?)^```$", re.DOTALL | re.MULTILINE)


def read_night(text: str) -> Night:
    """Read a story.

    Raises:
        Unreadable: a part that means nothing.
    """
    pieces = list(_PIECES.finditer(text))
    if not pieces or pieces[0]["comment"] is None:
        raise Unreadable("the first comment must set the stage")
    night = _stage(pieces[0]["comment"])
    reader = _Reader(night)
    for piece in pieces[1:]:
        line = text.count("\n", 0, piece.start()) + 1
        if piece["comment"] is not None:
            reader.comment(line, piece["comment"].strip())
        else:
            reader.block(line, piece["kind"], piece["block"].splitlines())
    if reader.pending:
        raise Unreadable(f"nothing follows {reader.pending}")
    night.steps = list(_going_on(night.steps))
    return night


def _stage(text: str) -> Night:
    night = Night()
    for line in filter(None, map(str.strip, text.splitlines())):
        key, _, value = line.partition(": ")
        match key:
            case "simulator":
                night.simulator = value.split()
            case "machine":
                night.machines.append(value.split())
            case "export":
                for each in value.split():
                    name, _, night.environment[name] = each.partition("=")
            case _:
                raise Unreadable(f"the stage has no {key}")
    return night


class _Reader:
    """Makes steps of pieces; ``pending`` is what was said of the block to come."""

    def __init__(self, night: Night) -> None:
        self.pending: list[tuple[str, str, str]] = []
        self._steps = night.steps
        self._terminals = {terminal for machine in night.machines for terminal in machine}

    def comment(self, line: int, text: str) -> None:
        if found := re.fullmatch(r"(\w+) types (.+)", text):
            self.pending.append(("types", self._known(line, found[1]), found[2]))
        elif found := re.fullmatch(r"display of (\w+) when (.+)", text):
            self.pending.append(("display", self._known(line, found[1]), found[2]))
        elif found := re.fullmatch(r"(\w+)'s command ends", text):
            self.pending.append(("ends", self._known(line, found[1]), ""))
        elif found := re.fullmatch(r"kill (\w+)", text):
            self._steps.append(Killed(line, self._known(line, found[1])))
        elif found := re.fullmatch(r"cloud (\{.*\})", text):
            self._steps.append(Changed(line, json.loads(found[1])))
        else:
            raise Unreadable(f"line {line}: {text}")

    def block(self, line: int, kind: str, lines: Sequence[str]) -> None:
        pending, self.pending = self.pending, []
        match (kind, pending):
            case ("console", [("ends", terminal, _), *others]):
                first = next((i for i, each in enumerate(lines) if self._prompted(each)), len(lines))
                self._steps.append(Ended(line, terminal, lines[:first]))
                self._commands(line + first, lines[first:], others)
            case ("display", [("display", terminal, when)]) if lines:
                self._steps.append(Pictured(line, terminal, when, lines))
            case ("console", _) if lines and self._prompted(lines[0]):
                self._commands(line, lines, pending)
            case _:
                raise Unreadable(f"line {line}: a {kind} block behind {pending}")

    def _prompted(self, line: str) -> bool:
        found = _PROMPT.match(line)
        return found is not None and found[1] in self._terminals

    def _commands(self, line: int, lines: Sequence[str], pending: Sequence[tuple[str, str, str]]) -> None:
        """Read what is typed and printed from a block's first prompt on."""
        starts = [i for i, each in enumerate(lines) if self._prompted(each)]
        left = list(pending)
        for start, end in pairwise([*starts, len(lines)]):
            terminal, _, command = lines[start].partition("$ ")
            below = start + 1
            while command.endswith("\\"):
                command += "\n" + lines[below]
                below += 1
            expected = lines[below:end]
            mine = tuple(_shown([each[2] for each in left if each[:2] == ("types", terminal)], expected))
            left = [each for each in left if each[1] != terminal or each[2] not in mine]
            self._steps.append(Typed(line + 1 + start, terminal, command, expected, mine))
        if left:
            raise Unreadable(f"line {line}: the block shows nothing of {left[0]}")

    def _known(self, line: int, terminal: str) -> str:
        if terminal not in self._terminals:
            raise Unreadable(f"line {line}: no machine has a terminal {terminal}")
        return terminal


def _shown(answers: Sequence[str], expected: Sequence[str]) -> Iterator[str]:
    """Yield the answers that lines end with, in their order."""
    waiting = list(answers)
    for line in expected:
        if waiting and asking(line, waiting[0]) is not None:
            yield waiting.pop(0)


def asking(line: str, answer: str) -> str | None:
    """Return what stands before an answer in the line that shows it, None if this is another line."""
    if answer == ENTER:
        return line if line.endswith(">") else None
    return line.removesuffix(answer) if line.endswith(f" {answer}") else None


def _going_on(steps: Sequence[Step]) -> Iterator[Step]:
    """Tell which commands go on behind the next steps."""
    goes_on: dict[str, int] = {}
    for i, step in enumerate(steps):
        if isinstance(step, Typed) and goes_on.get(step.terminal):
            busy = goes_on[step.terminal]
            raise Unreadable(f"line {step.line}: {step.terminal} is busy with what was typed in line {busy}")
        if isinstance(step, Ended | Killed):
            goes_on.pop(step.terminal, None)
        later = next((each for each in steps[i + 1 :] if each.terminal == getattr(step, "terminal", "")), None)
        if isinstance(step, Typed) and later is not None and not isinstance(later, Typed):
            goes_on[step.terminal] = step.line
            yield replace(step, ends=False)
        else:
            yield step
    if goes_on:
        raise Unreadable(f"it is not told how the command in line {min(goes_on.values())} ends")


# Judging


def compare(expected: Sequence[str], seen: Sequence[str], *, shape: bool = False) -> list[tuple[str, str]]:
    """Return the lines with a mark: a blank where they agree, - what was expected, + what was seen instead.

    ``...`` alone in a line stands for any lines, within a line for anything. With ``shape`` a number stands for any
    number, and a bar for any bar. Of all ways to lay the two beside one another it is one with the fewest marks.
    """
    wanted = [_Line(line.rstrip(), shape) for line in expected]
    found = [line.rstrip() for line in seen]
    best: dict[tuple[int, int], _Way] = {(len(wanted), len(found)): _Way(0)}
    for i in range(len(wanted), -1, -1):
        for j in range(len(found), -1, -1):
            ways = list(_ways(wanted, found, best, i, j))
            if ways:
                best[i, j] = min(ways, key=lambda way: way.marks)
    marked: list[tuple[str, str]] = []
    way = best[0, 0]
    while way.then is not None:
        marked += [way.line] if way.line else []
        way = best[way.then]
    return marked


@dataclass(frozen=True, slots=True)
class _Way:
    """How to go on from a place in both: the marks until the end, the line to write now, the place it leads to."""

    marks: int
    line: tuple[str, str] | None = None
    then: tuple[int, int] | None = None


def _ways(
    wanted: Sequence[_Line], found: Sequence[str], best: Mapping[tuple[int, int], _Way], i: int, j: int
) -> Iterator[_Way]:
    """Yield the ways on from ``wanted[i]`` and ``found[j]``."""
    below, beside, both = (i + 1, j), (i, j + 1), (i + 1, j + 1)
    anything = i < len(wanted) and wanted[i].text == ANY
    if anything:
        yield _Way(best[below].marks, None, below)
    elif i < len(wanted):
        yield _Way(best[below].marks + 1, ("-", wanted[i].text), below)
    if j < len(found):
        yield _Way(best[beside].marks + (not anything), (" " if anything else "+", found[j]), beside)
    if i < len(wanted) and j < len(found) and wanted[i].matches(found[j]):
        yield _Way(best[both].marks, (" ", found[j]), both)


class _Line:
    """An expected line."""

    def __init__(self, text: str, shape: bool) -> None:  # noqa: FBT001 - it is handed through
        self.text = text
        self._shape = shape
        self._pattern = re.compile(".*".join(re.escape(part) for part in self._shaped(text).split(ANY)))

    def matches(self, line: str) -> bool:
        return self._pattern.fullmatch(self._shaped(line)) is not None

    def _shaped(self, line: str) -> str:
        if not self._shape:
            return line
        line = re.sub(rf"[{_CELLS}]+", _CELLS[0], line)
        line = re.sub(r"(\d+[hm])+\d+s", "0s", line)
        line = re.sub(r"\d[\d,]*(\.\d+)?", "0", line)
        return re.sub(r"\s+(?=0)", " ", line)


def agrees(marked: Sequence[tuple[str, str]]) -> bool:
    """Tell whether a comparison found nothing."""
    return all(mark == " " for mark, _ in marked)


def written(marked: Sequence[tuple[str, str]]) -> str:
    """Write a comparison down."""
    return "\n".join(f"{mark} {line}".rstrip() for mark, line in marked)
