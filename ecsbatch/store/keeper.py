"""Which process has the write lock of an SQLite file, as far as Linux shows it.

SQLite itself only says "busy". Its write lock is a lock on one byte of the shared memory beside the file, and Linux
lists all such locks with their processes. The file is not opened for this: closing it would drop our own locks on it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

_LOCKS: Final = Path("/proc/locks")

_WRITE_LOCK: Final = ["120", "120"]
"""The byte of the shared memory that a writer locks, as the first and the last one of a range."""


def keeper(database: Path) -> int:
    """Return the id of the process that is in the middle of a write, 0 where there is none or it is not known."""
    with suppress(OSError):
        inode = str(database.with_name(f"{database.name}-shm").stat().st_ino)
        for line in _LOCKS.read_text(encoding="ascii", errors="replace").splitlines():
            _, kind, _, mode, process, file, *span = line.replace("-> ", "").split()
            if (kind, mode, file.rpartition(":")[2], span) == ("POSIX", "WRITE", inode, _WRITE_LOCK):
                return max(0, int(process))
    return 0
