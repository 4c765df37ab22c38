"""What is typed becomes a call of a command; what cannot be one is told of in a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cyclopts import App, CycloptsError, Group
from cyclopts.exceptions import UnknownCommandError, UnusedCliTokensError

from ecsbatch.cli.catalog import COMMANDS, EPILOGUE, SUMMARY, TITLES, installed_version
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.cli.help import VERSION_FLAGS, TwoColumns
from ecsbatch.cli.misspelt import unknown_command, unknown_option


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
        version_flags=VERSION_FLAGS,
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
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        # The parser would import all commands to name one that is spelt alike.
        return unknown_command(error.unused_tokens[0])
    command = _command(tokens)
    if command and (stray := _stray_option(command, tokens)):
        return unknown_option(command, *stray)
    hint = f"see ecsbatch {command} --help" if command else "see ecsbatch --help"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"{error.unused_tokens[0]!r} is one argument too many: {hint}."
    error.verbose = False
    said = " ".join(str(error).split()).rstrip(".")
    return f"{said} {hint[0].upper()}{hint[1:]}." if said.endswith("?") else f"{said}: {hint}."


def _stray_option(command: str, tokens: Sequence[str]) -> tuple[str, Sequence[str]] | None:
    """Return the first option that a command does not have, and those that it has; None where it has them all."""
    takes = dict[str, int]()
    for argument in build_app(command)[command].assemble_argument_collection():
        takes |= dict.fromkeys(argument.names, argument.token_count()[0])
    options = [name for name in takes if name.startswith("-")]
    # The parser adds these two to every command.
    takes |= {"--help": 0, "-h": 0} | dict.fromkeys(VERSION_FLAGS, 0)
    rest = iter(tokens[1:])
    for token in rest:
        if token == "--":  # noqa: S105 - no password: what comes behind it is no option
            break
        for name in _names(token):
            if name not in takes:
                return name, options
            if takes[name]:
                if token == name:
                    next(rest, None)
                break
    return None


def _names(token: str) -> list[str]:
    """Return the options that a token may be: one, or one for each letter."""
    if token.startswith("--"):
        return [token.partition("=")[0].replace("_", "-")]
    return [f"-{letter}" for letter in token[1:]] if token.startswith("-") else []
