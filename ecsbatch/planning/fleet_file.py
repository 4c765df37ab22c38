"""Reads a fleet file: a list of servers in lines, CSV or JSON, named by their ids or names."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import orjson

from ecsbatch.errors import SelectionError, SelectionRefused
from ecsbatch.model.servers import Server
from ecsbatch.planning.selection import as_server_id, in_short, is_uuid

_LONGEST_HEADER: Final = 10_000
_DELIMITERS: Final = ",;\t"
"""Spreadsheets write semicolons where a comma stands in numbers, and tabs into what is copied."""
_CUT_ID: Final = re.compile(r"[0-9A-Fa-f-]{20,}")
"""What was to be an id; none of the cloud's names is like this."""

_NAME: Final = re.compile(r"[^\s,;]{1,128}")

_Row = tuple[int, Server]
"""A server and the line of the file in which it stands."""


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
                f"{name}, line {line}: {in_short(given)} is no server id; "
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
            raise SelectionError(
                f"{name}, line 1: the header has no column id ({in_short(', '.join(header))}); add one."
            )
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
