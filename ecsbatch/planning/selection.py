"""Who is to be restarted: reads lists of servers, and filters what the cloud lists.

Read `read_fleet` and `as_fleet` first: the command line's servers come from a file, a program's from a list.
`Selection` is what the command line was told.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, cast

import orjson

from ecsbatch.errors import SelectionError, SelectionRefused
from ecsbatch.model.servers import Fleet, Server, ServerView

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LONGEST_ID: Final = 64
_LONGEST_HEADER: Final = 10_000
_DELIMITERS: Final = ",;\t"
"""Spreadsheets write semicolons where a comma stands in numbers, and tabs into what is copied."""
_CUT_ID: Final = re.compile(r"[0-9A-Fa-f-]{20,}")
"""What was to be an id; none of the cloud's names is like this."""

_NAME: Final = re.compile(r"[^\s,;]{1,128}")

_Row = tuple[int, Server]
"""A server and the line of the file in which it stands."""


def as_server_id(text: str) -> str:
    """Return an id as it is kept: a UUID in small letters, any other id as it is. All that takes ids calls it."""
    small = text.lower()
    # Nearly all ids come in small letters, and this is called for a million of them.
    return small if small != text and _UUID.fullmatch(small) else text


def server_id(text: object) -> str:
    """Check a server's id and return it as it is kept.

    Raises:
        SelectionError: it is not 1 to 64 printable characters.
    """
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_ID or not text.isprintable():
        raise SelectionError(f"{_short(text)} is no server id: give 1 to {_LONGEST_ID} printable characters.")
    return as_server_id(text)


def is_uuid(text: str) -> bool:
    """Return True where an id is a UUID, as all ids of ECS are."""
    return _UUID.fullmatch(text.lower()) is not None


def read_fleet(source: Path | str) -> list[Server]:
    """Return the servers of a fleet file, or of standard input for ``-``.

    The file has an id or exact name a line with ``#`` comments, or is CSV with a header and commas, semicolons or tabs,
    or has a JSON object a line; the latter two give ``id`` or ``name`` and may give ``az`` and ``site``. The end of the
    file's name decides which it is (``.csv``, ``.jsonl``), else the first line. A server whose name alone is given has
    the id "" until the cloud is asked, see `ecsbatch.planning.lookup.resolve_names`.

    Raises:
        SelectionError: the file cannot be read, a line names no server, or a server is named twice.
        SelectionRefused: the file names no server.
    """
    name = "standard input" if str(source) == "-" else str(source)
    return parse_fleet(_read(source), name)


def parse_fleet(data: bytes, name: str) -> list[Server]:
    """Return the servers of a fleet file's contents; see `read_fleet`.

    Args:
        data: the contents.
        name: the file's name, for messages and for the kind of file.

    Raises:
        SelectionError: a line names no server, or a server is named twice.
        SelectionRefused: there is no server.
    """
    text = _decode(data, name)
    seen: dict[str, int] = {}
    servers: list[Server] = []
    for line, server in _reader_of(name, text)(text, name):
        given = server.id or server.name
        if not (is_uuid(given) if server.id else _is_name(given)):
            raise SelectionError(
                f"{name}, line {line}: {_short(given)} is no server id; "
                "give a UUID such as 0d0bd7c6-5d3c-4d35-9d3f-8f3c6d1a2b3c, or the exact name of a server."
            )
        if given in seen:
            raise SelectionError(
                f"{name}, line {line}: {given} stands in line {seen[given]} already; "
                "remove one of them, a server is restarted once."
            )
        seen[given] = line
        servers.append(server)
    if not servers:
        raise SelectionRefused(f"{name} names no server; an empty list never means all.")
    return servers


def as_fleet(targets: Iterable[Server | str]) -> Fleet:
    """Return servers or ids that a program gives as a fleet; a million ids become columns, not objects.

    Raises:
        SelectionError: a server is named twice, or something is no server and no id.
        SelectionRefused: there is no server.
    """
    if isinstance(targets, str):
        raise SelectionError(f"{_short(targets)} is one text: give a list of servers or of their ids.")
    if isinstance(targets, Fleet) and all(id_ == server_id(id_) for id_ in targets.ids):
        return targets
    ids, domains, names, sites = _columns(targets)
    if not ids:
        raise SelectionRefused("No server is selected; an empty selection never means all.")
    try:
        return Fleet(ids, domains, names, sites)
    except ValueError:
        twice, times = Counter(ids).most_common(1)[0]
        raise SelectionError(f"Server {_short(twice)} is named {times} times; name each server once.") from None


def _columns(targets: Iterable[object]) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return ids, domains, names and sites as columns; one without any value is empty."""
    ids: list[str] = []
    others: tuple[list[str], list[str], list[str]] = ([], [], [])
    for target in targets:
        if isinstance(target, str):
            ids.append(server_id(target))
            continue
        if not isinstance(target, Server):
            raise SelectionError(f"{_short(target)} is no server: give ids, or a Server for each.")
        for column, value in zip(others, (target.domain, target.name, target.site), strict=True):
            column.extend([""] * (len(ids) - len(column)))
            column.append(value)
        ids.append(server_id(target.id))
    for column in others:
        _refuse_no_text(column)
        column.extend([""] * (len(ids) - len(column)) if column else ())
    return ids, *others


def _refuse_no_text(column: list[Any]) -> None:
    """Check that all names, domains or sites can be written as text.

    Raises:
        SelectionError: one cannot.
    """
    try:
        "".join(column).encode()
    except (TypeError, UnicodeEncodeError):
        strange = next(value for value in column if not isinstance(value, str) or _is_half(value))
        raise SelectionError(f"{_short(strange)} is no text: mend the server's name, domain or site.") from None


def _is_half(text: str) -> bool:
    """Return True where a text has half of a character, which Python can read and nothing can write."""
    return any("\ud800" <= c <= "\udfff" for c in text)


def from_view(view: ServerView, site: str = "") -> Server:
    """Return a listed server as a target, with its availability zone as its domain."""
    return Server(view.id, view.az, view.name, site)


def filter_views(
    views: Iterable[ServerView],
    *,
    tags: Sequence[str] = (),
    name: str = "",
    az: Sequence[str] = (),
    status: Sequence[str] = (),
    enterprise_project: str = "",
    exclude: Container[str] = (),
) -> list[ServerView]:
    """Return the servers of a listing that fit; the cloud's own filters are fuzzy, and some return more than asked.

    Args:
        views: the listing.
        tags: ``key=value`` or ``key`` for a tag without a value; a server must bear all of them, exactly.
        name: the whole name, with ``*`` and ``?`` as wildcards.
        az: availability zones, one of which must be the server's.
        status: states, one of which must be the server's.
        enterprise_project: the id of the enterprise project.
        exclude: ids to leave out.
    """
    wanted = {_tag(tag) for tag in tags}
    states = {state.upper() for state in status}
    return [
        view
        for view in views
        if view.found
        and view.id not in exclude
        and wanted <= {_tag(tag) for tag in view.tags}
        and (not name or fnmatchcase(view.name, name))
        and (not az or view.az in az)
        and (not states or view.status in states)
        and (not enterprise_project or view.enterprise_project_id == enterprise_project)
    ]


def _read(source: Path | str) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(source) == "-" else Path(source).read_bytes()
    except OSError as e:
        raise SelectionError(f"{source} cannot be read ({e.strerror}); name a file of server ids, or -.") from e


def _decode(data: bytes, name: str) -> str:
    if (at := data.find(b"\0")) >= 0:
        raise SelectionError(f"{name}, line {_line(data, at)}: this is a binary file; give text, one server id a line.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise SelectionError(
            f"{name}, line {_line(data, e.start)}: this is not UTF-8; save the file as UTF-8."
        ) from None


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


def _reader_of(name: str, text: str) -> Any:
    """Return the reader for a file by the end of its name, else by its first line that is not blank."""
    lowered = name.lower()
    if lowered.endswith((".jsonl", ".ndjson")):
        return _jsonl
    if lowered.endswith(".csv"):
        return _csv
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.lstrip().startswith("{"):
        return _jsonl
    return _csv if _delimiter(first) else _lines


def _lines(text: str, _name: str) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if named := line.partition("#")[0].strip():
            is_id = _CUT_ID.fullmatch(named) or not _is_name(named)
            yield number, Server(as_server_id(named)) if is_id else Server("", name=named)


def _csv(text: str, name: str) -> Iterator[_Row]:
    lines = text.split("\n")
    reader = csv.reader(lines, strict=True, delimiter=_delimiter(lines[0]) or ",")
    try:
        header = _header(next(reader, [""]))
        if not {"id", "name"}.intersection(header):
            raise SelectionError(f"{name}, line 1: the header has no column id ({_short(', '.join(header))}); add one.")
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise SelectionError(
                    f"{name}, line {reader.line_num}: {len(row)} cells under a header of {len(header)}; mend the line."
                )
            yield reader.line_num, _server(dict(zip(header, (cell.strip() for cell in row), strict=True)))
    except csv.Error as e:
        raise SelectionError(f"{name}, line {reader.line_num}: this is no CSV ({e}); mend the line.") from None


def _delimiter(header: str) -> str:
    """Return what stands between the cells of a header, which has a column id or name; "" where nothing makes one."""
    first = (header.splitlines() or [""])[0][:_LONGEST_HEADER]
    for mark in _DELIMITERS:
        cells = _header(next(csv.reader([first or " "], delimiter=mark)))
        if "id" in cells or ("name" in cells and len(cells) > 1):
            return mark
    return ""


def _header(cells: Iterable[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]


def _jsonl(text: str, name: str) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as e:
            raise SelectionError(f"{name}, line {number}: this is no JSON ({e.msg}); mend the line.") from None
        fields = cast("dict[str, Any]", row) if isinstance(row, dict) else {}
        texts = {key: value for key, value in fields.items() if isinstance(value, str)}
        if not {"id", "name"}.intersection(texts) or not isinstance(fields.get("id", ""), str):
            raise SelectionError(f'{name}, line {number}: no id; give an object such as {{"id": "…", "az": "…"}}.')
        yield number, _server(texts)


def _server(row: dict[str, str]) -> Server:
    return Server(as_server_id(row.get("id", "")), row.get("az", ""), row.get("name", ""), row.get("site", ""))


def _is_name(text: str) -> bool:
    return text.isprintable() and _NAME.fullmatch(text) is not None


def _tag(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _short(given: object) -> str:
    """Return what was given in a short form for messages; what a terminal cannot show is escaped."""
    said = given if isinstance(given, str) else repr(given)
    shown = said if len(said) <= 60 else said[:60] + "…"  # noqa: PLR2004  # about what fits into one line of a terminal
    return repr(shown) if isinstance(given, str) else shown


@dataclass(frozen=True, slots=True)
class Selection:
    """Which servers are to be restarted, as the command line was told.

    Attributes:
        servers: those of a file, with the id "" where only the name is given; None where the cloud is to be asked.
        tags, name, az, status, enterprise_project: see `filter_views`; without any of them the whole project.
        excluded, excluded_names: ids to leave alone, and names: all servers that are called so.
        exclude_claimed: True to leave other runs' servers out.
        restarted_since, updated_since: seconds since 1970; what was restarted or changed since then is left alone.
        from_stdin: True where the servers came from standard input.
    """

    servers: Sequence[Server] | None = None
    tags: tuple[str, ...] = ()
    name: str = ""
    az: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    enterprise_project: str = ""
    excluded: frozenset[str] = field(default=frozenset(), repr=False)
    excluded_names: frozenset[str] = field(default=frozenset(), repr=False)
    exclude_claimed: bool = False
    restarted_since: float | None = None
    updated_since: float | None = None
    from_stdin: bool = False

    def check(self, views: Iterable[ServerView]) -> list[ServerView]:
        """Return the servers of a listing that fit."""
        # `all_granted_eps` asks for all that the caller may see; no server's own project is called so.
        project = "" if self.enterprise_project == "all_granted_eps" else self.enterprise_project
        return filter_views(
            views, tags=self.tags, name=self.name, az=self.az, status=self.status, enterprise_project=project
        )

    def updated(self, views: Iterable[ServerView]) -> set[str]:
        """Return the ids of servers that have changed since ``updated_since``, by the cloud's record.

        Raises:
            SelectionError: the cloud does not say when a server has changed; to restart it would be a guess.
        """
        if self.updated_since is None:
            return set()
        since = self.updated_since
        return {view.id for view in views if view.found and _updated(view) >= since}


def _updated(view: ServerView) -> float:
    if (at := view.updated_at) is None:
        raise SelectionError(
            f"The cloud does not say when {view.id} changed last, which --skip-updated-since needs: "
            "exclude it, or leave the option out."
        )
    return at
