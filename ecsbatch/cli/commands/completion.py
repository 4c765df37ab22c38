"""``ecsbatch completion``: the script that makes a shell complete commands, options and their words."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.parser import build_app

INSTALL: Final = {
    "bash": (
        "mkdir -p ~/.local/share/bash-completion/completions",
        "ecsbatch completion bash > ~/.local/share/bash-completion/completions/ecsbatch",
    ),
    "zsh": ("mkdir -p ~/.zfunc", "ecsbatch completion zsh > ~/.zfunc/_ecsbatch"),
    "fish": (
        "mkdir -p ~/.config/fish/completions",
        "ecsbatch completion fish > ~/.config/fish/completions/ecsbatch.fish",
    ),
}
"""What to type; a new shell completes from then on."""

BESIDES: Final = {
    "bash": (
        "Without the package bash-completion, add this line to ~/.bashrc too:",
        "  source ~/.local/share/bash-completion/completions/ecsbatch",
    ),
    "zsh": (
        "Unless ~/.zfunc is in fpath already, add this line to ~/.zshrc too:",
        "  fpath=(~/.zfunc $fpath); autoload -U compinit; compinit",
    ),
    "fish": (),
}
"""What it takes where the shell does not look there by itself."""

_PLAIN_WORD: Final = re.compile(r"^( +'\d:(?:[^':\\]|\\.)*)'", re.MULTILINE)
"""An argument of a command in zsh's script that is completed with nothing."""


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(show_choices=False)], /) -> int:
    """Print the script that makes a shell complete commands and options; it asks nobody.

    To install it in bash:

      mkdir -p ~/.local/share/bash-completion/completions
      ecsbatch completion bash > ~/.local/share/bash-completion/completions/ecsbatch

    Without the package bash-completion, add this line to ~/.bashrc too:

      source ~/.local/share/bash-completion/completions/ecsbatch

    In zsh, with the last line in ~/.zshrc, unless ~/.zfunc is in fpath already:

      mkdir -p ~/.zfunc
      ecsbatch completion zsh > ~/.zfunc/_ecsbatch
      fpath=(~/.zfunc $fpath); autoload -U compinit; compinit

    In fish:

      mkdir -p ~/.config/fish/completions
      ecsbatch completion fish > ~/.config/fish/completions/ecsbatch.fish

    Args:
        shell: bash, zsh or fish.
    """
    script = build_app().generate_completion(prog_name="ecsbatch", shell=shell)
    sys.stdout.write(_with_files(script))
    # Beside the script, not in it: stdout goes into a file.
    if sys.stdout.isatty():
        told = ["ecsbatch: to install it:", *(f"  {line}" for line in INSTALL[shell]), *BESIDES[shell]]
        sys.stderr.write("".join(f"{line}\n" for line in told))
    return Exit.OK


def _with_files(script: str) -> str:
    """Complete file names where nothing else is known, as fish does by itself: fleets and plans are files."""
    script = script.replace("complete -F _ecsbatch", "complete -o default -F _ecsbatch")
    return _PLAIN_WORD.sub(r"\1:_files'", script)
