"""``{id}``, ``{name}`` and ``{address}`` in the words of a check: filled with a server's data, which is never code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Final

VARIABLES: Final[Mapping[str, str]] = {
    "id": "ECSBATCH_SERVER_ID",
    "name": "ECSBATCH_SERVER_NAME",
    "address": "ECSBATCH_SERVER_ADDRESS",
}
"""The environment variables in which a command finds what the placeholders stand for."""

_PLACEHOLDER: Final = re.compile(r"\{(id|name|address)\}")

_CODE_BEHIND: Final[Sequence[tuple[re.Pattern[str], re.Pattern[str]]]] = [
    (re.compile(program), re.compile(option, re.DOTALL))
    for program, option in (
        (r"(ba|da|a|z|k|mk|pdk|c|tc|fi)?sh|busybox|su|runuser|script|flock", r"-[A-Za-z]*c.*|--command(=.*)?"),
        (r"(python|pypy)[0-9.]*", r"-[A-Za-z]*c.*"),
        (r"perl[0-9.]*|ruby[0-9.]*|lua[0-9.]*|node|nodejs|deno|bun", r"-[A-Za-z]*[eEp].*|--(eval|print)(=.*)?|eval"),
        (r"php[0-9.]*", r"-[A-Za-z]*[rRBE].*"),
        (r"pwsh", r"-[cCeE].*"),
        (r"env", r"-[A-Za-z]*S.*|--split-string(=.*)?"),
        (r"ssh|watch|parallel", r".*"),
    )
]
"""Programs that read words as code, each with the option behind which they do."""

_HARMLESS: Final = "address"
"""An IP address is no code to anybody; behind ``ssh`` it is the usual word."""


def placeholders_in(text: str) -> Iterator[str]:
    """Yield the names of a text's placeholders."""
    return (found[1] for found in _PLACEHOLDER.finditer(text))


def filled(template: str, values: Mapping[str, str]) -> str:
    """Fill placeholders in one pass: a value that looks like a placeholder stays what it is."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def placeholder_in_code(words: Sequence[str]) -> str:
    """Return the first placeholder of a command that an interpreter would read as code, "" where there is none.

    All words behind a ``-c`` or the like count, since a script may take its arguments for code as well.
    """
    for at, word in enumerate(words):
        for program, option in _CODE_BEHIND:
            if program.fullmatch(PurePath(word).name) is None:
                continue
            behind = next((i for i in range(at + 1, len(words)) if option.fullmatch(words[i])), len(words))
            harmless = _HARMLESS if option.pattern == ".*" else ""
            for each in words[behind:]:
                if found := next((name for name in placeholders_in(each) if name != harmless), ""):
                    return found
    return ""
