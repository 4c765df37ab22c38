"""What was typed and is not there: which command or option may be meant, and why one cannot be given here.

A word is offered for a slip of the finger only. What agrees to something, or widens it, is never offered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from ecsbatch.cli.catalog import COMMANDS

_NEVER_OFFERED: Final = frozenset({"--yes", "-y", "--all", "--accept-drift", "--forgive"})

_OF_OTHERS: Final = frozenset({"--out"})
"""Options of other commands that are the beginning of one with another meaning, --output."""

_MEANS: Final[Mapping[str, str]] = {
    "reboot": "restart",
    "continue": "resume",
    "cancel": "abort",
    "stop": "pause (send nothing new for now) or abort (for good)",
    "list": "servers or runs",
}
"""Commands of other programs, and what does it here."""

_SHORT: Final = 3
_LONG: Final = 8
"""Letters up to which a word has to be right, since min is not max; and from which two slips are likely."""


def unknown_command(name: str) -> str:
    """Say that there is no such command, and which one is spelt alike."""
    if name.startswith("-"):
        return f"There is no option {name} before a command: options come behind it, see ecsbatch --help."
    said = f'Unknown command "{name}"'
    if meant := _MEANS.get(name.lower()):
        return f"{said}: here it is {meant}. See ecsbatch --help."
    alike = nearest(name, [command.name for command in COMMANDS])
    return f'{said}. Did you mean "{alike}"? See ecsbatch --help.' if alike else f"{said}: see ecsbatch --help."


def unknown_option(command: str, option: str, known: Iterable[str]) -> str:
    """Say that a command has no such option, and which one may be meant or what to do instead.

    Args:
        command: its name.
        option: as it was typed.
        known: the options that it has.
    """
    see = f"ecsbatch {command} --help"
    if why := _fixed(command, option):
        return why
    alike = "" if option in _OF_OTHERS else nearest(option, [each for each in known if each not in _NEVER_OFFERED])
    if alike:
        return f"{command} has no option {option}. Did you mean {alike}? See {see}."
    return f"{command} has no option {option}: see {see}."


def nearest(word: str, known: Collection[str]) -> str:
    """Return the only one of the known words that this one is a slip or a beginning of, "" where there is none."""
    plain = word.lower().replace("_", "-")
    begun = sorted((each for each in known if plain.lstrip("-") and each.startswith(plain)), key=len)
    if begun and all(each.startswith(begun[0]) for each in begun):
        return begun[0]
    alike = [each for each in known if _is_slip(plain, each)]
    return alike[0] if len(alike) == 1 else ""


def _is_slip(typed: str, meant: str) -> bool:
    """Tell whether a word is another one but for a slip in each of its parts, or for its dashes."""
    if typed.replace("-", "") == meant.replace("-", ""):
        return True
    parts, others = typed.split("-"), meant.split("-")
    return len(parts) == len(others) and all(
        one == other or (min(len(one), len(other)) > _SHORT and _slips(one, other) <= (2 if len(other) >= _LONG else 1))
        for one, other in zip(parts, others, strict=True)
    )


def _slips(one: str, other: str) -> int:
    """Count the letters that are missing, too many, wrong or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _fixed(command: str, option: str) -> str:
    """Say why an option of ``restart`` cannot be given to a command that takes a plan as it is; "" for any other."""
    from ecsbatch.config.settings import SETTINGS  # noqa: PLC0415 - only for this sentence
    from ecsbatch.planning.strategy import LIMITS  # noqa: PLC0415 - the same

    name = option.removeprefix("--").removeprefix("no-").replace("-", "_")
    if command not in {"apply", "resume", "adjust"}:
        return ""
    chooses = name in _CHOOSES
    if not chooses and (name not in SETTINGS or SETTINGS[name].section != "strategy"):
        return ""
    what = "who is restarted" if chooses else option
    if command == "apply":
        later = ", or change it while the run goes on: ecsbatch adjust" if name in LIMITS else ""
        return f"{what} stands in the plan, which apply carries out as it is: plan again with {option}{later}."
    changed = ", ".join(f"--{limit.replace('_', '-')}" for limit in LIMITS)
    return f"{what} stands in the run's plan and stays as it is; {command} can change {changed}."


_CHOOSES: Final = frozenset(
    {"tag", "name", "az", "status", "enterprise_project", "all", "exclude", "exclude_claimed"}
    | {"skip_restarted_since", "skip_updated_since"}
)
"""Options that say who is restarted."""
