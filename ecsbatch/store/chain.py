"""The chain of a run's journal: each row's hash is made of the hash before it and of everything in the row.

The first hash is made of the run's plan and servers. So the hash behind a row, the *head* of the record at that point,
stands for the whole record up to there: whoever has noted a head elsewhere can tell whether anything before it was
changed, added or taken away since. A row that a version without a chain has written carries no hash; the next hash is
made of it all the same, so that it cannot be changed any more from then on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import orjson

from ecsbatch.errors import RecordEdited
from ecsbatch.model.chain import ChainCheck
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database, found
from ecsbatch.store.packing import unpacked

_PAGE: Final = 500
"""Rows that are in memory at once."""


def link(before: str, seq_first: int, seq_last: int, ts: float, lines: bytes) -> str:
    """Return the hash behind a row of the journal, in 64 hex digits; ``before`` is the one that it follows."""
    digest = hashlib.sha256(f"{before}\n{seq_first} {seq_last} {ts!r}\n".encode())
    digest.update(lines)
    return digest.hexdigest()


def begin(database: Database, run_id: str) -> str:
    """Store the first hash of a run whose row and targets were just written; return it."""
    first = first_hash(database, run_id)
    database.execute(sql.SET_FIRST_HASH, {"run": run_id, "hash": first})
    return first


def first_hash(database: Database, run_id: str) -> str:
    """Return the hash of what a run was created with: its plan and its servers, byte by byte as they are stored."""
    row = database.execute(sql.WHAT_A_RUN_BEGAN_WITH, {"run": run_id}).fetchone()
    digest = hashlib.sha256(orjson.dumps(row, default=repr))
    for (servers,) in database.execute(sql.TARGETS, {"run": run_id}):
        digest.update(b"\n%d\n" % len(servers))
        digest.update(servers)
    return digest.hexdigest()


def head(database: Database, run_id: str, seq: int) -> str:
    """Return the hash that a run's next row follows, whose last event has the number ``seq``.

    Raises:
        RecordEdited: somebody has taken events away or added some: to go on might restart servers twice.
    """
    last_seq, last_hash = found(database.execute(sql.LAST_ROW, {"run": run_id})) or (0, "")
    if last_seq != seq:
        raise RecordEdited(
            f"The record of run {run_id} was edited: it ends with event {last_seq} where event {seq} was the last one. "
            "Nothing is sent: restore the store from a copy of before.",
            run_id=run_id,
        )
    if last_hash:
        return str(last_hash)
    behind = first_hash(database, run_id)
    for made, _ in computed(database, run_id, behind):
        behind = made
    return behind


def computed(database: Database, run_id: str, first: str) -> Iterator[tuple[str, Any]]:
    """Yield the hash behind each row of a run's journal, made anew from the first one, and the row as it is stored."""
    behind = first
    after = -1
    while page := database.execute(sql.ROWS, {"run": run_id, "after": after, "limit": _PAGE}).fetchall():
        for row in page:
            seq_first, seq_last, ts, stored, _ = row
            behind = link(behind, seq_first, seq_last, ts, unpacked(stored))
            yield behind, row
            if seq_last <= after:
                return  # somebody has written a number into it behind which there is no next row
            after = seq_last


def check(database: Database, run_id: str, anchor: str = "") -> ChainCheck:
    """Make a run's chain anew and compare it with the hashes that its record carries, in one transaction.

    Args:
        database: the database, in a transaction: the run may go on meanwhile.
        run_id: the run.
        anchor: a head of this run that somebody has noted elsewhere, "" for none.
    """
    first, told = first_hash(database, run_id), str(database.execute(sql.FIRST_HASH, {"run": run_id}).fetchone()[0])
    shown = ChainCheck(first, 0, since=None, anchored=0 if anchor == first else None)
    if told not in {"", first}:
        shown = replace(shown, breach="The plan or the list of servers is not the one that the run began with.")
    for behind, (seq_first, seq_last, _, _, carried) in computed(database, run_id, first):
        bare = not carried and (bool(told) or shown.since is not None)
        if not shown.breach and (bare or (carried and carried != behind)):
            shown = replace(shown, breach=_break(seq_first, seq_last, bare=bare), breach_at=seq_first)
        shown = replace(
            shown,
            head=behind,
            events=seq_last,
            since=seq_first if carried and shown.since is None else shown.since,
            anchored=seq_last if anchor == behind else shown.anchored,
        )
    return shown


def _break(first: int, last: int, *, bare: bool) -> str:
    which = f"Event {first}" if first == last else f"Events {first} to {last}"
    if bare:
        return f"{which} came into the record without a hash."
    return f"{which} or what was before is not as it was written: changed, added or taken away."
