"""Runs the command line and stops its own process, once, at an instant that no signal from outside could hit.

``python freezing.py POINT COMMAND...``, with ``HOSTILE_MARK`` naming a file that is written just before; whoever began
it sends SIGCONT. It reaches into nothing but what is named here; everything else is the product as it is.

``granted``: behind the COMMIT of the transaction that took quota tokens, before anybody has heard of it.
``transaction``: in that transaction, before its COMMIT.
``signing``: when the restart request is about to be signed.
``connected``: when its connection stands, and its sender is about to be told that the first byte leaves.
``wall``: nothing stops, but at the first quota tokens the wall clock is set forward by ten minutes.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from ecsbatch.ecs import aiohttp_sender
from ecsbatch.ecs.auth.schemes import UnsignedRequest
from ecsbatch.ecs.auth.signer import Signed, Signer

_done: list[str] = []


def freeze(point: str) -> None:
    """Stop this process, the first time that it comes by here."""
    if not _done:
        _done.append(point)
        Path(os.environ["HOSTILE_MARK"]).write_text(point)
        # To this very thread: where a process is told, another one may hear it, and this one goes on until that runs.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


class Connection(sqlite3.Connection):
    """A connection that stops at the end of the transaction which takes tokens."""

    point = ""
    _takes = False

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Do it; stop before or behind the COMMIT."""
        if sql.startswith("BEGIN"):
            self._takes = False
        if sql.startswith("INSERT INTO grants"):
            self._takes = True
        if sql != "COMMIT" or not self._takes:
            return super().execute(sql, *values)
        if self.point == "transaction":
            freeze(self.point)
        done = super().execute(sql, *values)
        if self.point == "granted":
            freeze(self.point)
        if self.point == "wall":
            _set_forward()
        return done


def _set_forward() -> None:
    if not _done:
        _done.append("wall")
        real = time.time
        time.time = lambda: real() + 600.0


def arm(point: str) -> None:
    """Put the wanted seam in."""
    if point in {"granted", "transaction", "wall"}:
        Connection.point = point
        sqlite3.connect = partial(sqlite3.connect, factory=Connection)  # type: ignore[assignment]
    elif point == "signing":
        send = Signer.send

        def signing(self: Signer, unsigned: UnsignedRequest, attempt: Callable[[Signed], Awaitable[Any]]) -> Any:
            if unsigned.method == "POST":
                freeze(point)
            return send(self, unsigned, attempt)

        Signer.send = signing  # type: ignore[method-assign]
    elif point == "connected":
        # Only a POST is traced.
        aiohttp_sender._headers_sent = _connected(aiohttp_sender._headers_sent)
    else:
        raise SystemExit(f"freezing.py: no point {point}")


def _connected(told: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    def connected(*of: object) -> Awaitable[None]:
        freeze("connected")
        return told(*of)

    return connected


if __name__ == "__main__":
    arm(sys.argv.pop(1))
    from ecsbatch.cli.app import main

    sys.exit(main())
