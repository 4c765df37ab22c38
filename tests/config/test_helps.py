"""What ``help()`` and an editor show of a setting is what the command line says of it, and it is true."""

from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

from ecsbatch.config.settings import SECTIONS, SETTINGS

CLASSES = list(SECTIONS.values())


def entries(cls: type[Any]) -> dict[str, str]:
    """Return the entries of the docstring's section "Attributes", read by a rule of this test's own."""
    section = inspect.cleandoc(str(cls.__doc__)).split("\nAttributes:\n")[1].split("\n\n")[0]
    found = re.split(r"(?m)^    (\w+): ", section)[1:]
    return {name: " ".join(text.split()) for name, text in zip(found[::2], found[1::2], strict=True)}


@pytest.mark.parametrize("cls", CLASSES)
def test_a_docstring_tells_of_every_field_in_order_with_its_default(cls: type[Any]) -> None:
    told = entries(cls)

    assert list(told) == [f.name for f in fields(cls)]
    for name, text in told.items():
        setting = SETTINGS[name]
        default = str(setting.default) if isinstance(setting.default, bool) else setting.shown_default
        assert text == setting.help + (f" [{default}]" if default else "")


@pytest.mark.parametrize("cls", CLASSES)
def test_help_shows_what_the_command_line_says(cls: type[Any]) -> None:
    shown = " ".join(pydoc.plain(pydoc.render_doc(cls)).replace(" |", " ").split())

    for f in fields(cls):
        assert f"{f.name}: {SETTINGS[f.name].help}" in shown


@pytest.mark.real
@pytest.mark.parametrize("command", [["--help"], ["restart", "--help"], ["config", "show"]])
def test_without_docstrings_nothing_fails(command: list[str]) -> None:
    typed = [sys.executable, "-OO", "-m", "ecsbatch", *command]
    done = subprocess.run(typed, capture_output=True, text=True, check=False)  # noqa: S603 - our own

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
