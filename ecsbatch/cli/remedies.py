"""What a person at the command line can type about an error, which the library's own text cannot name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any, Final

from ecsbatch.errors import EcsbatchError, NotHolder, RecordEdited, RunNotFound, ServerNotFound, StoreOutdated
from ecsbatch.model.conflicts import NotFollowed, RunOver, RunTaken, ServersClaimed, ServersWanted
from ecsbatch.planning.plan_file import PlanFileUnreadable

_SENTENCES: Final[Mapping[type[EcsbatchError], str]] = {
    ServerNotFound: "`ecsbatch report {run}` lists its servers, `ecsbatch runs` the runs.",
    RecordEdited: "`ecsbatch audit {run}` says what else was edited.",
    PlanFileUnreadable: "`ecsbatch plan --out FILE` writes one.",
    StoreOutdated: "`ecsbatch store upgrade` does.",
    NotHolder: "`ecsbatch resume {run}` goes on with it.",
    NotFollowed: "`ecsbatch status {run}` tells what becomes of it.",
    RunTaken: "`ecsbatch watch {run}` shows it.",
    RunOver: "`ecsbatch report {run} --outcome failed,timed_out,unknown,not_started -o csv --out left.csv` writes down "
    "what is left.",
}
"""What leads on from an error of a kind, where that is the same for all of them; ``{run}`` is the run's id."""


def with_remedy(error: EcsbatchError) -> str:
    """Return an error's text and what can be typed about it."""
    return " ".join(f"{error} {remedy(error)}".split())


def remedy(error: EcsbatchError) -> str:
    """Return a sentence with the commands or flags that lead on from an error, "" for none beyond its own text."""
    if isinstance(error, ServersClaimed):
        return "" if isinstance(error, ServersWanted) else _claimed(quote(error.run_id), held=error.held)
    if isinstance(error, RunNotFound):
        return "`ecsbatch runs` lists what there is." if error.run_id and not error.candidates else ""
    run: Any = getattr(error, "run_id", "")
    found = next((sentence for kind, sentence in _SENTENCES.items() if isinstance(error, kind)), "")
    return _flags(error) if not found or (not run and "{run}" in found) else found.format(run=quote(run))


def _claimed(run: str, *, held: bool) -> str:
    """Give what is typed for each of the three ways that the error's text names, in its order."""
    return f"That is `ecsbatch {'watch' if held else 'resume'} {run}`, `ecsbatch abort {run}` or --exclude-claimed."


def _flags(error: EcsbatchError) -> str:
    """Name the flags of the settings that an error asks to look at."""
    flags = [f"--{name.replace('_', '-')}" for name in error.settings]
    if len(flags) < 2:  # noqa: PLR2004 - one needs no list
        return "".join(f"Its flag is {flag}." for flag in flags)
    return f"The flags are {', '.join(flags[:-1])} and {flags[-1]}."
