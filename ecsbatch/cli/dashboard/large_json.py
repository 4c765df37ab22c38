"""JSON of a large value in pieces, none of which takes long to make: a thread that makes them lets others go on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from ecsbatch.model.json_text import json_bytes

_AT_ONCE: Final = 2000
_CHARACTERS: Final = 50_000
_PLAIN: Final = re.compile(r"[A-Za-z0-9+/=]*")


def json_pieces(value: Any) -> Iterator[bytes]:
    """Yield what `json_bytes` returns, bit by bit."""
    if isinstance(value, dict):
        yield from _object(cast("dict[str, Any]", value))
    elif isinstance(value, list) and len(cast("Sequence[Any]", value)) > _AT_ONCE:
        yield from _array(cast("Sequence[Any]", value))
    elif isinstance(value, str) and len(value) > _CHARACTERS:
        yield from _text(value)
    else:
        yield json_bytes(value)


def _object(value: dict[str, Any]) -> Iterator[bytes]:
    before = b"{"
    for name, each in value.items():
        yield b"%b%b:" % (before, json_bytes(name))
        yield from json_pieces(each)
        before = b","
    yield b"}" if value else b"{}"


def _array(value: Sequence[Any]) -> Iterator[bytes]:
    before = b"["
    for start in range(0, len(value), _AT_ONCE):
        yield before + json_bytes(value[start : start + _AT_ONCE])[1:-1]
        before = b","
    yield b"]"


def _text(value: str) -> Iterator[bytes]:
    """Yield a text; columns are in base64, of which nothing has to be escaped."""
    parts = [value[start : start + _CHARACTERS] for start in range(0, len(value), _CHARACTERS)]
    if not all(map(_PLAIN.fullmatch, parts)):
        yield json_bytes(value)
        return
    yield b'"'
    yield from (part.encode() for part in parts)
    yield b'"'
