"""What a command writes: lines for people, objects for programs, and files. The form of stderr is set once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.errors import ConfigError
from ecsbatch.model.text import unwritable, visible

if TYPE_CHECKING:
    from ecsbatch.config.sources import Settings

Form = Literal["console", "json"]

_FLAG: Final = "--log-format"
_VARIABLE: Final = "ECSBATCH_LOG_FORMAT"
_WIDTH: Final = 80

_form: ContextVar[Form] = ContextVar("form", default="console")


def form_asked_for(tokens: Sequence[str], environment: Mapping[str, str]) -> Form:
    """Return the form of stderr that was typed or exported, for what is written before the settings are read."""
    asked = environment.get(_VARIABLE, "")
    for token, following in pairwise([*tokens, ""]):
        if token == _FLAG:
            asked = following
        elif token.startswith(f"{_FLAG}="):
            asked = token.partition("=")[2]
    return "json" if asked == "json" else "console"


def set_log_format(form: Form) -> None:
    """Set the form of stderr: lines for people, or one JSON object a line."""
    _form.set(form)


def in_json() -> bool:
    """Tell whether stderr is for programs."""
    return _form.get() == "json"


def log_json(level: Literal["info", "warning", "error"], event: str, fields: Mapping[str, Any]) -> None:
    """Write one object on stderr."""
    from ecsbatch.clock import SystemClock  # noqa: PLC0415 - only where there is something to write
    from ecsbatch.model.json_text import json_bytes, stamp  # noqa: PLC0415 - the same

    line = {"ts": stamp(SystemClock().wall()), "level": level, "event": event, **fields}
    sys.stderr.write(json_bytes(line, str).decode() + "\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    from ecsbatch.model.json_text import json_bytes  # noqa: PLC0415 - only where there is something to write

    sys.stdout.buffer.write(json_bytes(value) + b"\n")
    sys.stdout.buffer.flush()


@cache
def warn(text: str) -> None:
    """Say a warning once, however often a command comes to it."""
    if in_json():
        log_json("warning", "warning", {"message": text})
    else:
        print_lines([f"ecsbatch: warning: {text}"], to_stdout=False)


def print_lines(lines: Sequence[str], *, to_stdout: bool) -> None:
    """Print lines for people; on a terminal that is narrower they are broken between words."""
    if not to_stdout and in_json():
        log_json("info", "message", {"message": "\n".join(lines).strip()})
        return
    stream = sys.stdout if to_stdout else sys.stderr
    if width := _screen(stream):
        from ecsbatch.views.text import wrap_line  # noqa: PLC0415 - only for a terminal

        lines = [part for line in lines for part in wrap_line(line, width)]
    text = "".join(f"{visible(line)}\n" for line in "\n".join(lines).split("\n"))
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def columns(*, to_stdout: bool, most: int = _WIDTH) -> int:
    """Return how wide lines for people are on a stream: as wide as its terminal, 80 where that does not say."""
    return min(_screen(sys.stdout if to_stdout else sys.stderr) or _WIDTH, most)


def _screen(stream: TextIO) -> int:
    """Return how wide the terminal of a stream is, 0 where it has none or does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 0


def write_pieces(pieces: Iterable[bytes], out: Path | None) -> None:
    """Write pieces into a file, see `write_file`, or on standard output where none is named."""
    if out is not None:
        write_file(out, pieces)
        return
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def write_file(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file for its owner only; the old one stays until the new one is whole.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        part = path.with_name(path.name + ".part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as e:
        raise ConfigError(unwritable(f"--out {path}", e)) from e


def check_outputs(settings: Settings) -> None:
    """Refuse two kinds of data on one stream, and to write what cannot be written here.

    Raises:
        UsageError: events and JSON are both to go to standard output, the events' file is an option, or a package that
            metrics or traces need is missing.
    """
    from ecsbatch.cli.extras import need_extras  # noqa: PLC0415 - only for what runs

    need_extras(settings.observability)
    events = settings.output.events or ""
    if events.startswith("-") and events != "-":
        raise UsageError(f"--events needs a file, or -: {events} is an option.")
    if events == "-" and settings.output.output == "json":
        raise UsageError("--events - and -o json both want standard output: give --events a file.")
