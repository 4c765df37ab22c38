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
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import ClientSession

from ecsbatch.ecs.auth.signer import Signer

_done: list[str] = []


def freeze(point: str) -> None:
    """Stop this process, the first time that it comes by here."""
    if not _done:
        _done.append(point)
        Path(os.environ["HOSTILE_MARK"]).write_text(point)
        os.kill(os.getpid(), signal.SIGSTOP)


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
        signed = Signer.signed

        def signing(self: Signer, unsigned: Any) -> Any:
            if unsigned.method == "POST":
                freeze(point)
            return signed(self, unsigned)

        Signer.signed = signing  # type: ignore[method-assign]
    elif point == "connected":
        ClientSession.request = _connected(ClientSession.request)  # type: ignore[method-assign]
    else:
        raise SystemExit(f"freezing.py: no point {point}")


def _connected(request: Callable[..., Any]) -> Callable[..., Any]:
    def asked(session: aiohttp.ClientSession, method: str, url: Any, **options: Any) -> Any:
        on_sent = options.get("trace_request_ctx")
        if method == "POST" and callable(on_sent):

            def told() -> None:
                freeze("connected")
                on_sent()

            options["trace_request_ctx"] = told
        return request(session, method, url, **options)

    return asked


if __name__ == "__main__":
    arm(sys.argv.pop(1))
    from ecsbatch.cli.app import main

    sys.exit(main())
