"""Commands to a run's holder, read with care: anybody may append a row to the store, and it may be garbage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from ecsbatch.errors import ConfigError

_VERBS: Final = ("pause", "resume", "promote", "abort", "adjust")


def asked_for(body: object) -> tuple[str, dict[str, Any]]:
    """Return a command's verb, and its arguments by name.

    Args:
        body: a `Command`'s body, an object such as ``{"command": "resume", "retry": ["failed"]}``.

    Raises:
        ConfigError: there is no such verb, or an argument is of the wrong type.
    """
    given: Mapping[object, object] = cast("Mapping[object, object]", body) if isinstance(body, Mapping) else {}
    verb = given.get("command")
    if not isinstance(verb, str) or verb not in _VERBS:
        raise ConfigError(f"A command is one of {', '.join(_VERBS)}.")
    if verb == "resume":
        return verb, {name: read(given[name]) for name, read in _RESUME.items() if name in given}
    if verb == "adjust":
        return verb, _limits(given.get("limits", {}))
    return verb, {}


def is_abort(body: object) -> bool:
    """Return True where a command's body asks to end the run for good."""
    return isinstance(body, Mapping) and cast("Mapping[object, object]", body).get("command") == "abort"


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError("A command's forgive is true or false.")
    return value


def _words(value: object) -> list[str]:
    words = cast("Sequence[object]", value) if isinstance(value, list | tuple) else (None,)
    if not all(isinstance(word, str) for word in words):
        raise ConfigError("A command's retry and skip_domains are lists of words.")
    return [str(word) for word in words]


def _limits(value: object) -> dict[str, Any]:
    limits = cast("Mapping[object, object]", value) if isinstance(value, Mapping) else {None: None}
    if not all(isinstance(name, str) and isinstance(limit, int | str) for name, limit in limits.items()):
        raise ConfigError("A command's limits are names with a number or a percentage each.")
    return {str(name): limit for name, limit in limits.items()}


_RESUME: Final = {"forgive": _yes_or_no, "retry": _words, "skip_domains": _words}
