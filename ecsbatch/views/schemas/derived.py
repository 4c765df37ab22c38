"""Schemas of dataclasses: types come from the annotations, meanings from the docstrings, which are the contract."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from inspect import getdoc
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from ecsbatch.views.schemas.words import Schema, described, each, nullable, record

_PLAIN: Final[Mapping[Any, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}
_ATTRIBUTE: Final = re.compile(r"    (\w+(?:, \w+)*): (.*)")
_BULLET: Final = re.compile(r"- (``\w+``(?:, ``\w+``)*): (.*)")


def about(kind: type) -> str:
    """Return the first sentence of a class."""
    return _read(_doc(kind).partition("\n\n")[0])


def attributes(kind: type) -> Mapping[str, str]:
    """Return what each attribute of a class means, by the docstrings of the class and of those that it is made from.

    Where Python was told to leave docstrings out (-OO) nothing is said.
    """
    found = defaultdict[str, str](str)
    for base in reversed(kind.__mro__[:-1]):
        section = _doc(base).partition("Attributes:\n")[2].partition("\n\n")[0]
        found |= _entries(section.splitlines(), _ATTRIBUTE)
    return found


def bullets(function: Callable[..., Any]) -> Mapping[str, str]:
    """Return what each name means that a docstring tells of as ``- ``name``: meaning``."""
    return _entries(_doc(function).splitlines(), _BULLET)


def of_class(
    kind: type,
    *,
    instead: Mapping[str, Schema] | None = None,
    more: Mapping[str, Schema] | None = None,
    optional: Collection[str] = (),
) -> Schema:
    """Return the schema of a dataclass as JSON has it, by the names of its attributes.

    Args:
        kind: the class.
        instead: schemas of attributes that JSON has in another form.
        more: fields that JSON has besides.
        optional: those that may be left out.
    """
    meant, types, told = attributes(kind), get_type_hints(kind), dict(instead or {})
    found = {f.name: told.get(f.name) or described(of_type(types[f.name]), meant[f.name]) for f in fields(kind)}
    return record(about(kind), found | dict(more or {}), optional)


def of_type(annotation: Any) -> Schema:
    """Return the schema of an annotation's values."""
    if annotation in _PLAIN:
        return {"type": _PLAIN[annotation]}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {"type": "string", "enum": [member.value for member in annotation]}
    if isinstance(annotation, type) and is_dataclass(annotation):
        return of_class(annotation)
    return _of_generic(get_origin(annotation), get_args(annotation))


def _of_generic(origin: Any, arguments: Sequence[Any]) -> Schema:
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin in {Union, UnionType}:
        kinds = [of_type(kind) for kind in arguments if kind is not NoneType]
        one = kinds[0] if len(kinds) == 1 else {"type": [kind["type"] for kind in kinds]}
        return nullable(one) if len(kinds) == 1 and NoneType in arguments else one
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        return each("", of_type(arguments[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": of_type(arguments[1])}
    return {}


def _entries(lines: Sequence[str], pattern: re.Pattern[str]) -> defaultdict[str, str]:
    """Read entries of one or several names, whose meanings go on in lines that are indented further."""
    found = defaultdict[str, str](str)
    names: list[str] = []
    for line in lines:
        if match := pattern.fullmatch(line):
            names = [name.strip("` ") for name in match[1].split(",")]
            found |= dict.fromkeys(names, _read(match[2]))
        elif names and line.strip():
            found |= {name: f"{found[name]} {_read(line)}" for name in names}
        else:
            names = []
    return found


def _doc(told: Any) -> str:
    """Return a docstring of its own, "" where Python was told to leave them out."""
    return (getdoc(told) or "") if told.__doc__ else ""


def _read(words: str) -> str:
    return " ".join(words.split()).replace("``", "`")
