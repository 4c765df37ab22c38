"""Has what tests write lie in memory, where there is room: PostgreSQL makes a database there in a tenth of the time.

Hundreds of stores and database servers are made and deleted again, and nothing of them is to outlive the machine.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - each file there is in a folder that `tempfile` or pytest has made
ROOM: Final = 4 << 30
"""Bytes that are to be free: a few times what all tests write."""


def write_to_memory() -> None:
    """Have this process and those that it starts make temporary files in memory, unless somebody has said where."""
    if "TMPDIR" not in os.environ and _fits():
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def _fits() -> bool:
    try:
        disk = os.statvfs(MEMORY)
    except OSError:
        return False
    # Containers often have next to no room there, or let nothing run.
    return disk.f_bavail * disk.f_frsize >= ROOM and not disk.f_flag & os.ST_NOEXEC and os.access(MEMORY, os.W_OK)
