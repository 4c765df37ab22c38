"""``ecsbatch completion``: the script that makes a shell complete commands and options."""

from __future__ import annotations

import sys
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from ecsbatch.cli.exits import Exit

INSTALL: Final = {
    "bash": "ecsbatch completion bash > ~/.local/share/bash-completion/completions/ecsbatch",
    "zsh": 'ecsbatch completion zsh > "${fpath[1]}/_ecsbatch"',
    "fish": "ecsbatch completion fish > ~/.config/fish/completions/ecsbatch.fish",
}
"""Where each shell looks; a new shell completes from then on."""


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(show_choices=False)], /) -> int:
    """Print the script that makes a shell complete commands and options; it asks nobody.

    To install it: in bash, ecsbatch completion bash > ~/.local/share/bash-completion/completions/ecsbatch;
    in fish, ecsbatch completion fish > ~/.config/fish/completions/ecsbatch.fish;
    in zsh, into a file _ecsbatch of a folder in fpath.

    Args:
        shell: bash, zsh or fish.
    """
    from ecsbatch.cli.app import build_app  # noqa: PLC0415 - it names this module

    sys.stdout.write(build_app().generate_completion(prog_name="ecsbatch", shell=shell))
    # Beside the script, not in it: stdout goes into a file.
    if sys.stdout.isatty():
        sys.stderr.write(f"ecsbatch: to install it: {INSTALL[shell]}\n")
    return Exit.OK
