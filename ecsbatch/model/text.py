"""Texts that others wrote, made fit to be shown and stored: one line, no control characters, not too long."""

from __future__ import annotations

import re
from typing import Final

MAX_TEXT: Final = 300
"""Characters of a foreign text that are kept."""

_ESCAPES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")
_BLANKS: Final = re.compile(r"\s+")


def clean(text: str) -> str:
    """Return a foreign text as one line without control characters, escape sequences and invisible marks."""
    if text.isprintable():
        return text
    # What Unicode calls printable leaves out controls, marks that turn or hide text, and lone surrogates.
    return "".join(filter(str.isprintable, _BLANKS.sub(" ", _ESCAPES.sub("", text)))).strip()


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """Return at most ``limit`` characters of a text, with a mark where some are missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
