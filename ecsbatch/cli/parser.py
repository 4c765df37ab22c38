"""What is typed becomes a call of a command; what cannot be one is told of in a line."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from cyclopts import App, CycloptsError, Group
from cyclopts.exceptions import UnknownCommandError, UnusedCliTokensError

from ecsbatch.cli.catalog import COMMANDS, EPILOGUE, SUMMARY, TITLES, installed_version
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.cli.help import TwoColumns


def call(tokens: Sequence[str]) -> Any:
    """Call the command that was typed and return what it returns; only its module is imported.

    Raises:
        UsageError: there is no such command, or it has no such option.
    """
    try:
        return build_app(_command(tokens))(tokens)
    except CycloptsError as e:
        raise UsageError(_complaint(e, tokens)) from None


def build_app(chosen: str = "") -> App:
    """Return the application.

    Args:
        chosen: the command whose own docstring is wanted instead of its one line.
    """
    app = App(
        name="ecsbatch",
        help=SUMMARY,
        help_epilogue=EPILOGUE,
        group_commands=Group("Options", sort_key=9),
        help_format="plaintext",
        help_formatter=TwoColumns(),
        version=installed_version,
        result_action="return_value",
        print_error=False,
        exit_on_error=False,
    )
    groups = {title: Group(title, sort_key=place) for place, title in enumerate(TITLES, 1)}
    listed = [(group, command) for title, group in groups.items() for command in TITLES[title]]
    for place, (group, command) in enumerate(listed):
        app.command(
            f"ecsbatch.cli.commands.{command.module}:{command.name}",
            name=command.name,
            group=group,
            usage=f"ecsbatch {command.name} {command.usage}",
            help=None if command.name == chosen else command.text,
            sort_key=place,
        )
    return app


def _command(tokens: Sequence[str]) -> str:
    """Return the command that was typed, "" where none was that there is."""
    first = next((token for token in tokens if not token.startswith("-")), "")
    return first if any(command.name == first for command in COMMANDS) else ""


def _complaint(error: CycloptsError, tokens: Sequence[str]) -> str:
    """Say in one line what is wrong with what was typed."""
    command = _command(tokens)
    hint = f"see ecsbatch {command} --help" if command else "see ecsbatch --help"
    unused = list(error.unused_tokens or ()) if isinstance(error, UnusedCliTokensError) else []
    stray = next((token for token in unused if token.startswith("-")), None)
    if stray is not None:
        return f"{command or 'ecsbatch'} has no option {stray}: {hint}."
    if unused:
        return f"{unused[0]!r} is one argument too many: {hint}."
    said = _said(error)
    return f"{said} {hint[0].upper()}{hint[1:]}." if said.endswith("?") else f"{said}: {hint}."


def _said(error: CycloptsError) -> str:
    """Return what the parser says is wrong, without the full stop."""
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        # The parser would import all commands to name one that is spelt alike.
        return _unknown(error.unused_tokens[0])
    error.verbose = False
    return " ".join(str(error).split()).rstrip(".")


def _unknown(name: str) -> str:
    alike = get_close_matches(name, [command.name for command in COMMANDS], n=1)
    return f'Unknown command "{name}"' + (f'. Did you mean "{alike[0]}"?' if alike else "")
