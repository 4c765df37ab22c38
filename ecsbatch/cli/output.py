"""In which form a command speaks on stderr: lines for people, or an object a line where the log is JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, Literal

import orjson

from ecsbatch.clock import SystemClock
from ecsbatch.model.events import stamp

Form = Literal["console", "json"]

_FLAG: Final = "--log-format"
_VARIABLE: Final = "ECSBATCH_LOG_FORMAT"
_form: ContextVar[Form] = ContextVar("form", default="console")


def form_asked_for(tokens: Sequence[str], environment: Mapping[str, str]) -> Form:
    """Return the form that was typed or exported, for what is said before the settings are read."""
    asked = environment.get(_VARIABLE, "")
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        if token == _FLAG:
            asked = following
        elif token.startswith(f"{_FLAG}="):
            asked = token.partition("=")[2]
    return "json" if asked == "json" else "console"


def speak(form: Form) -> None:
    """Speak in this form from now on."""
    _form.set(form)


def in_json() -> bool:
    """Tell whether stderr is for programs."""
    return _form.get() == "json"


def tell(level: Literal["info", "warning", "error"], event: str, fields: Mapping[str, Any]) -> None:
    """Write one object on stderr."""
    line = {"ts": stamp(SystemClock().wall()), "level": level, "event": event, **fields}
    sys.stderr.write(orjson.dumps(line, default=str).decode() + "\n")
    sys.stderr.flush()
