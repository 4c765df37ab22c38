"""Which servers a command is about: a file, or a selection from the API; and whom to leave out of either."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import floor
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Final

from cyclopts import Group, Parameter

from ecsbatch.cli import candidates
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.config.since import parse_since
from ecsbatch.config.types import parse_duration
from ecsbatch.errors import SelectionRefused
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.servers import Server
from ecsbatch.planning.fleet_file import read_fleet
from ecsbatch.planning.plan_file import is_plan
from ecsbatch.planning.selection import Selection

SELECTION: Final = Group("Selection", sort_key=0)

_TIMES: Final = candidates.offered("30m", "2h", "1d", "22:00")


def _option(
    text: str,
    metavar: str | None = None,
    variable: str = "",
    *,
    switch: bool = False,
    completer: candidates.Completer | None = None,
) -> Parameter:
    return Parameter(
        group=SELECTION,
        help=text,
        metavar=metavar,
        negative="" if switch else (),
        env_var=f"ECSBATCH_{variable}" if variable else None,
        show_env_var=False,
        show_default=False,
        completer=completer,
    )


@dataclass(frozen=True, kw_only=True)
class SelectionFlags:
    """Servers from the API, and whom to leave out."""

    tag: Annotated[
        list[str] | None,
        _option(
            "Servers with this tag; given several times: with all of them.",
            "KEY=VALUE",
            "TAG",
            completer=candidates.tags,
        ),
    ] = None
    name: Annotated[str | None, _option("Servers of this name, with * and ? as wildcards.", "NAME", "NAME")] = None
    az: Annotated[
        list[str] | None,
        _option("Servers of this zone; given several times: of any of them.", "NAME", "AZ", completer=candidates.zones),
    ] = None
    status: Annotated[
        list[str] | None,
        _option(
            "Servers in this state, such as ACTIVE; given several times: in any of them.",
            "STATE",
            "STATUS",
            completer=candidates.offered("ACTIVE", "SHUTOFF", "ERROR"),
        ),
    ] = None
    enterprise_project: Annotated[
        str | None, _option("Servers of this enterprise project, by its id.", "ID", "ENTERPRISE_PROJECT")
    ] = None
    # Never a variable: what nobody typed must not mean everything.
    all: Annotated[bool, _option("All servers of the project.", switch=True)] = False
    exclude: Annotated[
        list[Path] | None,
        _option("Leave out the servers of this file, all of a name; can be given several times.", "FILE", "EXCLUDE"),
    ] = None
    exclude_claimed: Annotated[
        bool, _option("Leave out the servers that other runs have.", variable="EXCLUDE_CLAIMED", switch=True)
    ] = False
    skip_restarted_since: Annotated[
        str | None,
        _option(
            "Leave out what our runs have restarted since then: 2h, 22:00 (local), a date, or a whole time.",
            "TIME",
            "SKIP_RESTARTED_SINCE",
            completer=_TIMES,
        ),
    ] = None
    skip_updated_since: Annotated[
        str | None,
        _option(
            "The same for what the cloud says has changed since then.", "TIME", "SKIP_UPDATED_SINCE", completer=_TIMES
        ),
    ] = None


def read_selection(file: str, flags: SelectionFlags | None, command: str) -> Selection:
    """Read what was typed: a file or a selection, and the files of whom to leave out.

    Args:
        file: the list of servers, "" for none.
        flags: the selection.
        command: for messages.

    Raises:
        UsageError: neither, both, a plan, or an option without a value.
        SelectionError: a file cannot be read or names no server.
    """
    flags = flags or SelectionFlags()
    chosen = _chosen(flags)
    if file and chosen:
        raise UsageError(f"{command} takes a list of servers or a selection, not {file} and {chosen[0]} together.")
    if not file and not chosen:
        raise UsageError(
            f"{command} needs a list of servers or a selection: ecsbatch {command} FILE, - for standard input, "
            "--tag KEY=VALUE, or --all."
        )
    if is_plan(file):
        raise UsageError(f"{file} is a plan: ecsbatch apply {quote(file)} carries it out, exactly as it is.")
    if flags.all and len(chosen) > 1:
        raise UsageError(f"--all means every server of the project, so that {chosen[0]} cannot be meant with it.")
    excluded, excluded_names = _excluded(flags.exclude or ())
    return Selection(
        servers=read_fleet(file) if file else None,
        tags=_values("--tag", flags.tag),
        name=_value("--name", flags.name),
        az=_values("--az", flags.az),
        status=_values("--status", flags.status),
        enterprise_project=_value("--enterprise-project", flags.enterprise_project),
        excluded=excluded,
        excluded_names=excluded_names,
        exclude_claimed=flags.exclude_claimed,
        restarted_since=read_since("--skip-restarted-since", flags.skip_restarted_since),
        restarted_ago=_names_a_duration(flags.skip_restarted_since or ""),
        updated_since=read_since("--skip-updated-since", flags.skip_updated_since),
        from_stdin=file == "-",
    )


def read_since(flag: str, text: str | None, now: float | None = None) -> float | None:
    """Read a moment of the past as seconds since 1970, see `parse_since`.

    The cloud's stamps are cut to the second, so that this is too: what changed in that very second counts.

    Raises:
        UsageError: it cannot be meant.
    """
    if text is None:
        return None
    try:
        return float(floor(parse_since(text, time.time() if now is None else now)))
    except ValueError as e:
        raise UsageError(f"{flag} {text}: give {e}.") from None


def _names_a_duration(text: str) -> bool:
    with suppress(ValueError):
        parse_duration(text)
        return True
    return False


def _chosen(flags: SelectionFlags) -> list[str]:
    """Return the options that select servers from the API; one that is given and empty is one, too."""
    given: dict[str, Any] = {
        "--tag": flags.tag,
        "--name": flags.name,
        "--az": flags.az,
        "--status": flags.status,
        "--enterprise-project": flags.enterprise_project,
        "--all": flags.all or None,
    }
    return [name for name, value in given.items() if value is not None]


def _values(flag: str, values: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(_value(flag, value) for value in values or ())


def _value(flag: str, value: str | None) -> str:
    """Return an option's value; a variable of a script that is empty must not select the whole project."""
    if value is None:
        return ""
    if not value.strip() or value.startswith("="):
        raise UsageError(f"{flag} needs a value: an empty one is never taken to mean all.")
    return value.strip()


def _excluded(paths: Iterable[Path]) -> tuple[frozenset[str], frozenset[str]]:
    """Read ids and names from the files of whom to leave out; an empty one is more likely a mistake than a wish."""
    servers: list[Server] = []
    for path in paths:
        if str(path) == "-":
            raise UsageError("--exclude needs a file: standard input can only be the list of servers.")
        try:
            servers += read_fleet(path)
        except SelectionRefused:
            raise UsageError(f"--exclude {path} names no server: mend the file, or leave the option out.") from None
    names = frozenset(server.name for server in servers if not server.id)
    return frozenset(server.id for server in servers if server.id), names
