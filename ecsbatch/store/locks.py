"""Who holds a run: a lock that dies with its process.

A lock on a file beside the database: the kernel drops it when the process ends, however it ends, so a dead holder is
known at once and a living one, however slow, is never taken for dead. In memory the same is played by a dictionary.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from ecsbatch.errors import StoreError

_TRIES: Final = 10_000
"""Attempts at a lock beside others' questions, some tens of milliseconds: one that lasts is as good as a holder."""


class Locks(Protocol):
    """The runs that one store holds."""

    def acquire(self, run_id: str) -> bool:
        """Take a run; False where a living holder has it, this store included."""
        ...

    def held(self, run_id: str) -> bool:
        """Return whether a living holder has a run, this store included."""
        ...

    def release(self, run_id: str) -> None:
        """Let a run go; nothing happens where it is not held here."""
        ...

    def drop(self) -> None:
        """Let all go at once, as the kernel does for a dead process."""
        ...


class MemoryLocks:
    """Locks in a dictionary that all stores of one database in memory share."""

    def __init__(self, holders: dict[str, object]) -> None:
        self._holders = holders

    def acquire(self, run_id: str) -> bool:
        """Take a run."""
        if run_id in self._holders:
            return False
        self._holders[run_id] = self
        return True

    def held(self, run_id: str) -> bool:
        """Return whether any store has it."""
        return run_id in self._holders

    def release(self, run_id: str) -> None:
        """Let a run go."""
        if self._holders.get(run_id) is self:
            del self._holders[run_id]

    def drop(self) -> None:
        """Let all of this store's go."""
        for run_id in [run_id for run_id, owner in self._holders.items() if owner is self]:
            del self._holders[run_id]


class FileLocks:
    """``flock`` on one file per held run, beside the database."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptors: dict[str, int] = {}

    def acquire(self, run_id: str) -> bool:
        """Take a run."""
        if run_id in self._descriptors:
            return False
        path = self._path(run_id)
        while True:
            descriptor = _open(path, os.O_RDWR | os.O_CREAT)
            if not _exclusive(descriptor):
                os.close(descriptor)
                return False
            if _is(descriptor, path):
                self._descriptors[run_id] = descriptor
                return True
            os.close(descriptor)  # its holder removed the file after we had opened it: lock the one there is now

    def held(self, run_id: str) -> bool:
        """Return whether any process has it."""
        if run_id in self._descriptors:
            return True
        try:
            descriptor = _open(self._path(run_id), os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not _flock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def release(self, run_id: str) -> None:
        """Let a run go, and remove its file while it is still ours."""
        descriptor = self._descriptors.pop(run_id, None)
        if descriptor is not None:
            with suppress(OSError):
                self._path(run_id).unlink()
            os.close(descriptor)

    def drop(self) -> None:
        """Let all go; their files stay, as a dead process's do."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _path(self, run_id: str) -> Path:
        return self._database.with_name(f"{self._database.name}.{run_id}.lock")


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise StoreError(f"The lock {path} cannot be opened ({e.strerror}): mend that, then resume.") from e


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _exclusive(descriptor: int) -> bool:
    """Lock it, unless a holder has.

    Whoever only asks whether a run is held locks its file, shared, for a moment. A shared lock that can be had beside
    it tells such a question from a holder.
    """
    for _ in range(_TRIES):
        if _flock(descriptor, fcntl.LOCK_EX):
            return True
        if not _flock(descriptor, fcntl.LOCK_SH):
            return False
    return False


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
