"""What stands in files and rows of a store: its journal is compressed, and who searches it is to see all of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from ecsbatch.store.packing import unpacked


def readable(path: Path) -> bytes:
    """Return what a file has, and behind it the lines of the journal where it is a store."""
    written = path.read_bytes()
    return written + journal_of(path) if written.startswith(b"SQLite format 3") else written


def journal_of(path: Path) -> bytes:
    """Return all lines of the journal in a store's file, of what is not merged into it yet, too."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection, suppress(sqlite3.OperationalError):
        return b"\n".join(unpacked(lines) for (lines,) in connection.execute("SELECT lines FROM journal"))
    return b""  # no store yet, or none of ours
