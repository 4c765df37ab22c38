"""The commands and their way in: what is typed is parsed, run, and answered with one line where it fails."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cyclopts import App, CycloptsError, Group
from cyclopts.exceptions import UnusedCliTokensError

from ecsbatch.cli.exit_codes import Exit, code_of_error
from ecsbatch.cli.help import TwoColumns
from ecsbatch.cli.output import form_asked_for, in_json, log_json, set_log_format
from ecsbatch.errors import EcsbatchError

RUNNING: Final = Group("Restarting", sort_key=1)
READING: Final = Group("Looking at runs", sort_key=2)
STEERING: Final = Group("Steering a run from another terminal", sort_key=3)
TRYING: Final = Group("Trying it out", sort_key=4)
SETTING_UP: Final = Group("Setting up", sort_key=5)

_SECRETS: Final = (
    *("HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SECURITY_TOKEN"),
    *("ECSBATCH_AUTH_TOKEN", "ECSBATCH_IAM_PASSWORD"),
)

_COMMANDS_LISTED: Final = " Available commands:"
"""The parser names only the first few after this."""

COMMANDS: Final = (  # name, where, group, usage, one line
    ("check", "check:check", RUNNING, "[OPTIONS]", "See that key, project, clock, store and quota are ready."),
    ("restart", "restart:restart", RUNNING, "[FILE|-] [OPTIONS]", "Restart the servers of a list or a selection."),
    ("plan", "plan:plan", RUNNING, "[FILE|-] [OPTIONS]", "Show what restart would do, and keep it in a file."),
    ("apply", "plan:apply", RUNNING, "FILE [OPTIONS]", "Carry out a plan that was kept, exactly as it is."),
    (
        "resume",
        "resume:resume",
        RUNNING,
        "[RUN] [OPTIONS]",
        "Go on with a run that was stopped, interrupted or paused.",
    ),
    ("servers", "servers:servers", READING, "[FILE|-] [OPTIONS]", "Look at a fleet before touching it."),
    ("status", "status:status", READING, "[RUN] [OPTIONS]", "Say where a run stands."),
    ("report", "report:report", READING, "[RUN] [OPTIONS]", "Write every server of a run with its outcome."),
    ("watch", "watch:watch", READING, "[RUN] [OPTIONS]", "Watch a run that another process holds."),
    (
        "explain",
        "explain:explain",
        READING,
        "[SERVER] [RUN] [OPTIONS]",
        "Say why a server is not restarted yet, or what holds the run now.",
    ),
    ("audit", "audit:audit", READING, "[RUN] [OPTIONS]", "Prove from a run's record that its promises were kept."),
    ("runs", "runs:runs", READING, "[OPTIONS]", "List the last runs."),
    ("pause", "steer:pause", STEERING, "[RUN] [OPTIONS]", "Send nothing new until the run is resumed."),
    ("promote", "steer:promote", STEERING, "[RUN] [OPTIONS]", "Let a run pass the hold that it stands at."),
    ("adjust", "steer:adjust", STEERING, "[RUN] [OPTIONS]", "Change the limits of a run while it goes on."),
    ("abort", "abort:abort", STEERING, "[RUN] [OPTIONS]", "End a run for good."),
    ("rehearse", "rehearse:rehearse", TRYING, "[FILE|-] [OPTIONS]", "Try a rollout in virtual time."),
    ("simulate", "simulate:simulate", TRYING, "[OPTIONS]", "Serve a simulated cloud on this machine."),
    ("demo", "demo:demo", TRYING, "[OPTIONS]", "Watch a rollout on a simulated cloud, in half a minute."),
    (
        "config",
        "config:config",
        SETTING_UP,
        "check FILE | show [OPTIONS]",
        "Check a settings file; show what holds.",
    ),
    ("completion", "completion:completion", SETTING_UP, "bash|zsh|fish", "Print what makes a shell complete commands."),
)


def build_app(chosen: str = "") -> App:
    """Return the application; a command's module is imported when the command is used.

    Args:
        chosen: the command whose own docstring is wanted instead of its one line.
    """
    app = App(
        name="ecsbatch",
        help="Restart fleets of Huawei Cloud ECS servers: never over the quota, never lost, never twice by accident.",
        help_epilogue=("Options can be given as variables ECSBATCH_<OPTION> and in the file of --config, too."),
        group_commands=Group("Options", sort_key=9),
        help_format="plaintext",
        help_formatter=TwoColumns(),
        version=_version,
        result_action="return_value",
        print_error=False,
        exit_on_error=False,
    )
    for place, (name, where, group, usage, text) in enumerate(COMMANDS):
        app.command(
            f"ecsbatch.cli.commands.{where}",
            name=name,
            group=group,
            usage=f"ecsbatch {name} {usage}",
            help=None if name == chosen else text,
            sort_key=place,
        )
    return app


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - as slow to import as half of all the rest

    return version("ecsbatch")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    # A command's values live as long as it does: looking for garbage among them took a tenth of its time.
    gc.set_threshold(50_000, 20, 20)
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    set_log_format(form_asked_for(tokens, os.environ))
    try:
        return _run(tokens)
    except KeyboardInterrupt:
        _complain("interrupted before anything was sent.")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; the interpreter must not trip over the same pipe at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.ERROR


def _run(tokens: list[str]) -> int:
    try:
        code = build_app(_command(tokens))(tokens)
        sys.stdout.flush()
    except CycloptsError as e:
        _complain(_usage(e, tokens))
        return Exit.USAGE
    except EcsbatchError as e:
        _complain(" ".join(str(e).split()))
        return code_of_error(e)
    except BrokenPipeError:
        raise
    except Exception as e:  # noqa: BLE001 - the last line of defence: nobody is to see a traceback unasked
        return _bug(e, tokens)
    return int(code or 0)


def _command(tokens: Sequence[str]) -> str:
    """Return the command that was typed, "" where none was that there is."""
    first = next((token for token in tokens if not token.startswith("-")), "")
    return first if any(name == first for name, *_ in COMMANDS) else ""


def _usage(error: CycloptsError, tokens: Sequence[str]) -> str:
    """Say in one line what is wrong with what was typed."""
    error.verbose = False
    unused = list(error.unused_tokens or ()) if isinstance(error, UnusedCliTokensError) else []
    command = _command(tokens)
    hint = f"see ecsbatch {command} --help" if command else "see ecsbatch --help"
    stray = next((token for token in unused if token.startswith("-")), None)
    if stray is not None:
        return f"{command or 'ecsbatch'} has no option {stray}: {hint}."
    if unused:
        return f"{unused[0]!r} is one argument too many: {hint}."
    said = " ".join(str(error).split()).partition(_COMMANDS_LISTED)[0].rstrip(".")
    return f"{said} {hint[0].upper()}{hint[1:]}." if said.endswith("?") else f"{said}: {hint}."


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
    text = "".join(traceback.format_exception(error))
    for name in _SECRETS:
        if secret := os.environ.get(name, "").strip():
            text = text.replace(secret, "***")
    return text


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
