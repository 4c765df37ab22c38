"""The way in: a command is run, and answered with one line where it fails."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from ecsbatch.cli.catalog import installed_version
from ecsbatch.cli.endings import over
from ecsbatch.cli.exit_codes import Exit, UsageError, code_of_error
from ecsbatch.cli.help import VERSION_FLAGS, overview
from ecsbatch.cli.output import form_asked_for, in_json, log_json, set_log_format
from ecsbatch.errors import EcsbatchError
from ecsbatch.model.text import visible

_SECRETS: Final = (
    *("HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SECURITY_TOKEN"),
    *("ECSBATCH_AUTH_TOKEN", "ECSBATCH_IAM_PASSWORD", "PGPASSWORD", "ECSBATCH_DASHBOARD_TOKEN"),
)

_OVERVIEW: Final[tuple[list[str], ...]] = ([], ["--help"], ["-h"], ["help"])
_VERSION: Final[tuple[list[str], ...]] = (*([flag] for flag in VERSION_FLAGS), ["version"])
"""What is typed for the overview of all commands, and for the version."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    code = _answered(arguments)
    over(code)
    return code


def _answered(arguments: Sequence[str] | None) -> int:
    # A command's values live as long as it does: looking for garbage among them took a tenth of its time.
    gc.set_threshold(50_000, 20, 20)
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    _open_streams()
    set_log_format(form_asked_for(tokens, os.environ))
    try:
        return _run(tokens)
    except KeyboardInterrupt:
        _complain("interrupted before anything was sent.")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left.
        _leave_stdout()
        return Exit.ERROR


def _open_streams() -> None:
    """Give a stream that was closed by the caller (``>&-``) somewhere to write to, and no file of ours its number."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the process's life
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - the same


def _leave_stdout() -> None:
    """Keep the interpreter from tripping over what standard output could not take, at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _run(tokens: list[str]) -> int:
    try:
        code = _call(tokens)
        sys.stdout.flush()
    except EcsbatchError as e:
        from ecsbatch.cli.remedies import with_remedy  # noqa: PLC0415 - only for a complaint

        _complain(visible(with_remedy(e)))
        return code_of_error(e)
    except BrokenPipeError:
        raise
    except OSError as e:
        if not _is_stdouts(e):
            return _bug(e, tokens)
        _leave_stdout()
        _complain(f"standard output cannot be written ({e.strerror}): make room, or write it elsewhere.")
        return Exit.ERROR
    except Exception as e:  # noqa: BLE001 - the last line of defence: nobody is to see a traceback unasked
        return _bug(e, tokens)
    return int(code or 0)


def _call(tokens: list[str]) -> Any:
    """Call what was typed; neither the overview nor the version waits for the parser to be imported.

    Raises:
        UsageError: a password was typed; or, as the parser says, what was typed is no call.
    """
    if any(token.startswith("--cpu-profile") for token in tokens):
        return _call_profiled(tokens)
    if any("postgres" in token.lower() or token.startswith("--store") for token in tokens):
        _refuse_password(tokens)
    if tokens in _OVERVIEW:
        sys.stdout.write(overview())
        return Exit.OK
    if tokens in _VERSION:
        sys.stdout.write(f"{installed_version()}\n")
        return Exit.OK
    from ecsbatch.cli.parser import call  # noqa: PLC0415 - see above

    return call(tokens)


def _call_profiled(tokens: Sequence[str]) -> Any:
    """Call what was typed besides ``--cpu-profile FILE``, and write down where its CPU time goes."""
    from ecsbatch.cli.cpu_profile import cpu_profile, taken_from  # noqa: PLC0415 - only where it is asked for

    file, rest = taken_from(tokens)
    if not file:
        # Behind ``--``, or an option that only begins like it: what the parser says of it.
        from ecsbatch.cli.parser import call  # noqa: PLC0415 - see `_call`

        return call(tokens)
    with cpu_profile(Path(file)):
        return _call(rest)


def _refuse_password(tokens: Sequence[str]) -> None:
    """Refuse a store's password that was typed, before anything can repeat it.

    Raises:
        UsageError: there is one.
    """
    from ecsbatch.model.store_url import UNSEEN_WAYS, has_password, shown  # noqa: PLC0415 - only where there is a URL

    for before, token in pairwise(["", *tokens]):
        url = token.removeprefix("--store=")
        as_store = url != token or before == "--store" or token.lower().startswith("postgres")
        if as_store and has_password(url):
            raise UsageError(f"{shown(url)} was typed with a password, which a process list shows: {UNSEEN_WAYS}.")


def _is_stdouts(error: OSError) -> bool:
    """Tell whether it was standard output that could not be written: then another line cannot be, either."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError as e:
        return e.errno == error.errno
    return False


def _bug(error: Exception, tokens: Sequence[str]) -> Exit:
    """Tell of an error that nobody foresaw; the traceback goes to a file for its owner only, or to who asks for it."""
    if {"-v", "--verbose"} & set(tokens):
        if in_json():
            log_json("error", "traceback", {"traceback": _traceback(error)})
        else:
            sys.stderr.write(_traceback(error))
        _complain(f"this is a bug in ecsbatch: {type(error).__name__}. The run's record is safe; see the lines above.")
        return Exit.ERROR
    where = _note(error)
    again = f"the traceback is in {where}" if where else "run it again with -v for the traceback"
    _complain(f"this is a bug in ecsbatch ({type(error).__name__}): {again}. The run's record is safe, resume goes on.")
    return Exit.ERROR


def _note(error: Exception) -> Path | None:
    from ecsbatch.config.settings import default_store  # noqa: PLC0415 - only for a bug

    path = Path(default_store().removeprefix("sqlite:///")).with_name("traceback.log")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_traceback(error))
    except OSError:
        return None
    return path


def _traceback(error: Exception) -> str:
    """Write a traceback as one may send it to somebody: what the environment keeps secret is not in it."""
    import traceback  # noqa: PLC0415 - only for a bug

    from ecsbatch.model.store_url import hidden  # noqa: PLC0415 - the same

    text = "".join(traceback.format_exception(error))
    for name in _SECRETS:
        if secret := os.environ.get(name, "").strip():
            text = text.replace(secret, "***")
    return hidden(text, [os.environ.get("ECSBATCH_STORE", "")])


def _complain(text: str) -> None:
    if in_json():
        log_json("error", "error", {"message": text})
    else:
        sys.stderr.write("".join(f"{line}\n" for line in _fitted(f"ecsbatch: {text}")))


def _fitted(text: str) -> list[str]:
    """Break a line between words where a terminal would break it within one; for programs it stays one."""
    if not sys.stderr.isatty():
        return [text]
    from shutil import get_terminal_size  # noqa: PLC0415 - only for a complaint
    from textwrap import wrap  # noqa: PLC0415 - the same

    width = max(get_terminal_size().columns, 20)
    return wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
