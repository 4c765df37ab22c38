"""Texts that others wrote, made fit to be stored and shown: one line, no control characters, not too long."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import Final

MAX_TEXT: Final = 300
"""Characters of a foreign text that are kept."""

CUT: Final = "…"
"""Stands at the end of a text of which some is missing."""

NAMED: Final = 3
"""Ids of many that a sentence names."""

_ESCAPES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")
_BLANKS: Final = re.compile(r"\s+")
_PLACE: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:/=\s]*)(:[0-9]*)?(/.*)?")
"""A host, a port and a path."""
_NO_PLACE: Final = re.compile(r"[:= \t]")
_SCHEME: Final = re.compile(r"[A-Za-z0-9+.-]*")
_USER: Final = re.compile(r"//\S*@")
_FIRST_WORDS: Final = re.compile(r"[A-Za-z]+(?: (?:[A-Za-z]{2,}|[0-9]+))*")


def one_line(text: str) -> str:
    """Return a text as one line without control characters, escape sequences and invisible marks."""
    if text.isprintable():
        return text.strip()
    # What Unicode calls printable leaves out controls, marks that turn or hide text, and lone surrogates.
    return "".join(filter(str.isprintable, _BLANKS.sub(" ", _ESCAPES.sub("", text)))).strip()


def truncate(text: str, limit: int = MAX_TEXT) -> str:
    """Return at most ``limit`` characters of a text, with a mark where some are missing."""
    return text if len(text) <= limit else text[: limit - 1] + CUT


def printable(text: str, limit: int = 200) -> str:
    """Return at most ``limit`` characters of a text, with nothing in it that a terminal would act upon."""
    return visible(truncate(text, limit))


def visible(text: str) -> str:
    """Return a text with a mark in place of each character that a terminal would act upon."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def first_words(text: str) -> str:
    """Return what an error's text says before it quotes anything, which may be a secret; "" where it begins so."""
    words = _FIRST_WORDS.match(text)
    return words[0] if words else ""


def without_code(message: str, code: str) -> str:
    """Return what a message says beyond the code that it begins with, where the code is written beside it."""
    said = message.strip()
    while code and said.startswith(code) and (rest := said.removeprefix(code).lstrip()[:1]) in {"", ":", "."}:
        said = said.removeprefix(code).lstrip().removeprefix(rest).strip()
    return said


def with_code(message: str, code: str) -> str:
    """Return a code and what a message says beyond it, "" where there is neither."""
    return " ".join(word for word in (code, without_code(message, code)) if word)


def first_of(ids: Sequence[str]) -> str:
    """Name the first ids of many, and say how many more there are."""
    more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
    return ", ".join(printable(id_, 64) for id_ in ids[:NAMED]) + more


def without_password(address: str) -> str:
    """Return an address without what may be a password: a user, a query, a port that is no number."""
    if address.startswith("sqlite:///"):
        # A file's path may have any letter but one.
        path, asks, _ = address.partition("?")
        return path + ("?***" if asks else "")
    scheme, there, rest = address.partition("://") if "://" in address else ("", "", address)
    _, at, place = rest.rpartition("@")
    place, asks, _ = re.sub("[?#]", "?", place).partition("?")
    if not _PLACE.fullmatch(place):
        place = f"{_NO_PLACE.split(place)[0]}:***"
    shown = scheme if _SCHEME.fullmatch(scheme) else "***"
    return f"{shown}{there}{'***@' if at else ''}{place}{'?***' if asks else ''}"


def without_user(text: str) -> str:
    """Return a text without what stands before the @ of a URL in it: it may be a password."""
    return _USER.sub("//***@", text)


def counted(number: int, noun: str) -> str:
    """Write a count with its noun: ``1 server``, ``2,000 servers``, ``2 batches``."""
    plural = noun + ("es" if noun.endswith("ch") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def unwritable(what: str, error: Exception) -> str:
    """Say why a file cannot be written, and what to do about it; ``what`` names it as it was typed, with its flag."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
    elif isinstance(error, ValueError):
        reason = "that is no file's name"
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    way = "make room there, or name a file elsewhere" if full else "name a file in a folder of yours"
    return f"{what} cannot be written ({reason}): {way}."
