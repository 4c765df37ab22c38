"""``ecsbatch help`` and ``ecsbatch version``: other words for ``--help`` and ``--version``."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from ecsbatch.cli.catalog import COMMANDS, installed_version
from ecsbatch.cli.exit_codes import Exit, UsageError
from ecsbatch.cli.help import overview
from ecsbatch.cli.misspelt import unknown_command
from ecsbatch.cli.parser import call


def help(command: Annotated[str, Parameter(show_default=False)] = "", /) -> int:  # noqa: A001 - a function is called as its command
    """Say what there is, or what a command does and takes.

    Args:
        command: The command; all of them in a line each where left out.

    Raises:
        UsageError: there is no such command.
    """
    if not command:
        sys.stdout.write(overview())
    elif all(command != each.name for each in COMMANDS):
        raise UsageError(unknown_command(command))
    else:
        call([command, "--help"])
    return Exit.OK


def version() -> int:
    """Print the version."""
    sys.stdout.write(f"{installed_version()}\n")
    return Exit.OK
