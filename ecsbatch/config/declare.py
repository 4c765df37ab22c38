"""How a class of settings is declared: `setting` says what a field takes, `check_fields` checks what it was given.

The help of a setting is what the docstring of its class says of it, so that ``help()``, an editor and the command line
have the same words: see `helps_of`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from ecsbatch.config.types import SettingType
from ecsbatch.errors import Invalid
from ecsbatch.model.text import printable

Given_contra = TypeVar("Given_contra", contravariant=True)
Kept_co = TypeVar("Kept_co", covariant=True)

if TYPE_CHECKING:

    class Converted(Generic[Given_contra, Kept_co]):
        """A field that takes more types than `check_fields` leaves in it. Type checkers know both by it; it never runs.

        So a program may write ``soak="5m"``, and whoever reads ``strategy.soak`` has a float without a cast.
        """

        def __get__(self, settings: object, owner: type) -> Kept_co: ...
        def __set__(self, settings: object, given: Given_contra) -> None: ...

    TimeSpan: TypeAlias = Converted[float | str, float]
    TimeSpanOrNone: TypeAlias = Converted[float | str | None, float | None]
    WaveList: TypeAlias = Converted[str | int | Sequence[str | int], tuple[str, ...]]
else:
    TimeSpan = float | str
    TimeSpanOrNone = float | str | None
    WaveList = str | int | Sequence[str | int]

_ENTRY: Final = re.compile(r"    (\w+): (.*)")
_DEFAULT: Final = re.compile(r" \[[^][]*\]$")
_LONGEST: Final = 200
"""Characters of a value that a text repeats."""
_EXACT: Final = 2**53
"""Whole numbers below it are the same to every reader of JSON."""


def setting(default: Any, kind: SettingType, *, none: bool = False, file_only: bool = False, show: bool = True) -> Any:
    """Declare a field of a class of settings.

    Args:
        default: its value where none is given.
        kind: what can be given.
        none: None can be given, although it is not the default.
        file_only: there is no flag and no variable for it.
        show: False where a valid value may hold a secret, which no ``repr`` is to show.
    """
    metadata = {"kind": kind, "none": none or default is None, "file_only": file_only}
    return field(default=default, repr=show, metadata=metadata)


def check_fields(settings: Any) -> None:
    """Replace every field of a settings dataclass by its checked value.

    Raises:
        Invalid: a value cannot be.
    """
    for f in fields(settings):
        value = getattr(settings, f.name)
        if (value is None and f.metadata["none"]) or _left_empty(value, f.default):
            continue
        object.__setattr__(settings, f.name, checked(f.name, f.metadata["kind"], value))


def checked(name: str, kind: SettingType, value: object) -> Any:
    """Return the value that a program has passed for a setting in the form in which it is kept.

    Raises:
        Invalid: it cannot be.
    """
    try:
        return kind.check(value)
    except ValueError as e:
        raise invalid(name, kind, value, str(e)) from None


def _left_empty(value: object, default: object) -> bool:
    return isinstance(value, str | tuple) and not value and value == default


def invalid(name: str, kind: SettingType, value: object, expected: str, said: str = "") -> Invalid:
    """Make the error of a value that a setting cannot have.

    Args:
        name: the setting.
        kind: its type.
        value: what was given.
        expected: what can be given, worded to follow "give".
        said: the setting and its value as they were written; "" where a program passed it.
    """
    said = said or f"{name} = {_repeated(kind, value)}"
    told = None if kind.secret else _in_json(value)
    return Invalid(f"{said}: give {expected}.", field=name, value=told, expected=expected)


def _repeated(kind: SettingType, value: object) -> str:
    """Return a value as a text may repeat it."""
    if isinstance(value, str):
        return printable(repr(kind.shown(value)), _LONGEST)
    # What holds a secret among other things, such as a list of a command's words, cannot be told from what does not.
    return _kind_of(value) if kind.secret and value is not None else _text_of(value)


def _in_json(value: object) -> object:
    if value is None or isinstance(value, bool | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return value if isinstance(value, int) and abs(value) < _EXACT else _text_of(value)


def _text_of(value: object) -> str:
    try:
        return printable(repr(value), _LONGEST)
    except Exception:  # noqa: BLE001 - a value of any type may be given, and its text is foreign code
        return _kind_of(value)


def _kind_of(value: object) -> str:
    return f"something of the type {printable(type(value).__name__)}"


def helps_of(cls: type[Any]) -> Mapping[str, str]:
    """Return what the docstring of a class of settings says of each field, without the default in brackets.

    Under ``python -OO`` there are no docstrings, and no helps.
    """
    _, _, section = cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")
    texts: dict[str, str] = {}
    name = ""
    for line in section.split("\n\n")[0].splitlines():
        if begun := _ENTRY.fullmatch(line):
            name, texts[begun[1]] = begun[1], begun[2]
        else:
            texts[name] += f" {line.strip()}"
    return {name: _DEFAULT.sub("", text) for name, text in texts.items()}
