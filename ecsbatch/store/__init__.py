"""What outlives a process: runs, their journals, claims and holders, and the quota ledger.

Read `store.py` first: `DatabaseStore` is what the rest of the program uses. Behind it `handle.py` opens and closes the
database, `worker.py` does everything on one thread, `sync_store.py` says what a transaction does, and `runs.py`,
`targets.py`, `claims.py`, `journal.py` and `ledger.py` each keep one table. `chain.py` ties the rows of a journal to
one another, `accounting.py` is the ledger's arithmetic, `taking.py` how a run is taken and its servers claimed,
`locks.py` the lock that dies with its process, `leases.py` the lease that runs out where machines share a database,
`lease_keeper.py` for how long it is trusted, `heart.py` what has it renewed; `database.py` a connection, `sqlite.py` a
database in a file.

Names are imported when they are first used: a program that needs only the words does not wait for a database.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecsbatch.model.conflicts import RunExists, RunHeld, RunOver, RunTaken, ServersClaimed
    from ecsbatch.model.run import Claim, Command, Committed, Lease, NewRun, RunKind, RunRecord
    from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest
    from ecsbatch.store.sqlite import MemoryDatabase
    from ecsbatch.store.store import DatabaseStore, open_store

__all__ = [
    "Claim",
    "Command",
    "Committed",
    "DatabaseStore",
    "Grant",
    "Lease",
    "MemoryDatabase",
    "NewRun",
    "RunExists",
    "RunHeld",
    "RunKind",
    "RunOver",
    "RunRecord",
    "RunTaken",
    "ServersClaimed",
    "Settlement",
    "Shortage",
    "TokenRequest",
    "open_store",
]

_HOMES = {
    "model.conflicts": ("RunExists", "RunHeld", "RunOver", "RunTaken", "ServersClaimed"),
    "model.run": ("Claim", "Command", "Committed", "Lease", "NewRun", "RunKind", "RunRecord"),
    "model.tokens": ("Grant", "Settlement", "Shortage", "TokenRequest"),
    "store.sqlite": ("MemoryDatabase",),
    "store.store": ("DatabaseStore", "open_store"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"ecsbatch.{_HOME[name]}"), name)
    return value
