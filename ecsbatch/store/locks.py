"""Who holds a run: a lock that dies with its process.

It is a lock on a file beside the database: the kernel drops it when the process ends, however it ends, so a dead
holder is known at once and a living one, however slow, is never taken for dead. For a database in memory a dictionary
takes its place.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from ecsbatch.errors import StoreError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.run import Holder
from ecsbatch.store.keeper import is_flocked

_TRIES: Final = 10_000
"""Attempts at a lock while others ask about it, some tens of milliseconds; whoever asks longer counts as a holder."""


@dataclass(frozen=True, slots=True)
class TimedLease:
    """A lock that ends by itself unless it is renewed.

    Attributes:
        holder: who has it; until the run is stored as its own it has no name but its machine's.
        left: seconds until then, below 0 where it has ended.
    """

    holder: Holder
    left: float


class _EndsWithProcess:
    """Locks that last as long as their process."""

    def lease(self, run_id: str) -> None:
        """Return None: none ends by itself."""

    def leave(self, run_id: str) -> None:
        """Do nothing: none is ever lost to another process."""


class Holding(Protocol):
    """Which runs have a living holder; asked inside a transaction."""

    def held(self, run_id: str) -> bool:
        """Return True where a living holder has the lock of a run, be it this store."""
        ...

    def left(self, run_id: str) -> float | None:
        """Return the seconds until a run's lease ends, negative where it has; None: it has none that ends by itself."""
        ...


class Locks(Holding, Protocol):
    """The runs that one store holds."""

    def acquire(self, run_id: str) -> bool:
        """Lock a run; return False where a living holder has the lock, be it this store."""
        ...

    def seen(self, run_id: str = "") -> Holding:
        """Return who holds a run, or all of them, as it is now: to be asked more than once."""
        ...

    def release(self, run_id: str) -> None:
        """Release a run; nothing happens where this store does not hold it."""
        ...

    def drop(self) -> None:
        """Drop all locks, as the kernel does for a dead process."""
        ...

    def mine(self, run_id: str) -> bool:
        """Return True where this store has the lock and nobody takes it before the end of the present transaction."""
        ...

    def kept(self, run_id: str) -> bool:
        """Return what `mine` does; a lock that went lost while nobody took it is had again before."""
        ...

    def regain(self, run_id: str) -> bool:
        """Lock a run anew in the transaction of the caller, where nobody has it, as only a lease can be lost."""
        ...

    def leave(self, run_id: str) -> None:
        """Leave a run in the transaction of the caller that was had again, and which another process has written to."""
        ...

    def trusted(self, run_id: str) -> bool:
        """Return True while this store knows that nobody else has the lock. Safe from any thread; it never waits."""
        ...

    def lease(self, run_id: str) -> TimedLease | None:
        """Return who has the lock and for how long, where it ends by itself; called inside a transaction."""
        ...


class MemoryLocks(_EndsWithProcess):
    """Locks in a dictionary that all stores of one database in memory share."""

    def __init__(self, holders: dict[str, object]) -> None:
        self._holders = holders

    def acquire(self, run_id: str) -> bool:
        """Lock a run."""
        if run_id in self._holders:
            return False
        self._holders[run_id] = self
        return True

    def held(self, run_id: str) -> bool:
        """Return True where any store has the lock."""
        return run_id in self._holders

    def left(self, run_id: str) -> None:
        """Return None: these locks last."""

    def seen(self, run_id: str = "") -> Holding:  # noqa: ARG002 - to look costs nothing here
        """Return these."""
        return self

    def release(self, run_id: str) -> None:
        """Release a run."""
        if self._holders.get(run_id) is self:
            del self._holders[run_id]

    def mine(self, run_id: str) -> bool:
        """Return True where this store has the lock."""
        return self._holders.get(run_id) is self

    kept = regain = trusted = mine

    def drop(self) -> None:
        """Drop all locks of this store."""
        for run_id in [run_id for run_id, owner in self._holders.items() if owner is self]:
            del self._holders[run_id]


class FileLocks(_EndsWithProcess):
    """``flock`` on one file per held run, beside the database."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptors: dict[str, int] = {}

    def acquire(self, run_id: str) -> bool:
        """Lock a run."""
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

    def left(self, run_id: str) -> None:
        """Return None: these locks last."""

    def seen(self, run_id: str = "") -> Holding:  # noqa: ARG002 - to look costs nothing here
        """Return these."""
        return self

    def held(self, run_id: str) -> bool:
        """Return True where any process has the lock."""
        if run_id in self._descriptors:
            return True
        path = self._path(run_id)
        with suppress(OSError):
            if not os.access(path, os.R_OK):
                return is_flocked(path)
        try:
            descriptor = _open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not _flock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def release(self, run_id: str) -> None:
        """Release a run, and remove its file while the lock is still ours; where ours was removed, no other's."""
        descriptor = self._descriptors.pop(run_id, None)
        if descriptor is not None:
            with suppress(OSError):
                if _is(descriptor, self._path(run_id)):
                    self._path(run_id).unlink()
            os.close(descriptor)

    def mine(self, run_id: str) -> bool:
        """Return True where this store has the lock."""
        return run_id in self._descriptors

    kept = regain = trusted = mine

    def drop(self) -> None:
        """Drop all locks; the files stay, as a dead process's do."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _path(self, run_id: str) -> Path:
        return self._database.with_name(f"{self._database.name}.{run_id}.lock")


def _open(path: Path, flags: int) -> int:
    """Open a lock. Where others may write the folder, a link must not make a file elsewhere, nor a pipe stop us."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except FileNotFoundError:
        raise
    except OSError as e:
        if e.errno == errno.ELOOP:
            raise StoreError(f"The lock {path} is a link, which we do not make: remove it, then try again.") from e
        raise StoreError(f"The lock {path} cannot be opened ({e.strerror}): mend that, then resume.") from e


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _exclusive(descriptor: int) -> bool:
    """Lock a file, unless a holder has locked it.

    Whoever only asks whether a run is held locks its file, shared, for a moment. Where a shared lock can be had beside
    it, it was such a question and no holder.
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
