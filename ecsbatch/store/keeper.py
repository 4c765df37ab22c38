"""Which process has a lock, on an SQLite file to write or on a run, as far as Linux shows it.

SQLite itself only says "busy". Its write lock is a lock on one byte of the shared memory beside the file, and Linux
lists all such locks with their processes. The file is not opened for this: closing it would drop our own locks on it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

_LOCKS: Final = Path("/proc/locks")

_WHOLE: Final = ["0", "EOF"]
_WRITE_LOCK: Final = ["120", "120"]
"""The byte of the shared memory that a writer locks, as the first and the last one of a range."""


def keeper(database: Path) -> int:
    """Return the id of the process that is in the middle of a write, 0 where there is none or it is not known."""
    with suppress(OSError):
        return _holder("POSIX", database.with_name(f"{database.name}-shm"), _WRITE_LOCK)
    return 0


def is_flocked(path: Path) -> bool:
    """Return True where some process has a file locked that we may not open.

    Raises:
        OSError: it is not there, or not known.
    """
    return bool(_holder("FLOCK", path, _WHOLE))


def _holder(kind: str, path: Path, span: list[str]) -> int:
    """Return the id of the process that has some bytes of a file locked to write, 0 where none has or is known."""
    wanted = (kind, "WRITE", str(path.stat().st_ino), span)
    for line in _LOCKS.read_text(encoding="ascii", errors="replace").splitlines():
        _, its_kind, _, mode, process, file, *its_span = line.replace("-> ", "").split()
        if (its_kind, mode, file.rpartition(":")[2], its_span) == wanted:
            return max(0, int(process))
    return 0
