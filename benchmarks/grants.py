"""One process that takes tokens of a quota which it shares with others, on one database.

    python -m benchmarks.grants NAME URL SECONDS

It tells that it is ready, begins when it reads a line, and then prints the seconds that each grant took. `benchmarks
store` runs several at once on one database.
"""

# Each contestant imports what it needs itself: the peers are extras.
# ruff: noqa: PLC0415
from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final

from ecsbatch.model import events as ev
from ecsbatch.model.run import Holder, NewRun, Transaction
from ecsbatch.model.tokens import Grant, Settlement, TokenRequest
from ecsbatch.store import open_store

GROUP: Final = "0a0b0c0d0e0f40008000000000000001"
PLENTY: Final = 10**9
"""Tokens that there are, so that nobody waits for one: it is the database that is measured."""

WINDOW: Final = 60.05

Take = Callable[[], Awaitable[object]]
"""Takes tokens once; it returns when that is durable."""


def _request(want: int) -> TokenRequest:
    return TokenRequest(GROUP, want, 1, PLENTY, 155.0)


@asynccontextmanager
async def batches(url: str, servers: int = 100) -> AsyncGenerator[Take]:
    """What an engine does for each batch: tokens and intent in one transaction, which settles a grant before, too."""
    ids = [f"{number:08x}-0000-4000-8000-{os.getpid():012x}" for number in range(servers)]
    stamps = ["2026-11-27T02:11:20Z"] * servers
    settle: list[Settlement] = []

    def intent(grant: Grant) -> Sequence[ev.Event]:
        told: dict[str, Any] = {"grant": grant.id, "granted": grant.granted, "group": GROUP, "site": GROUP}
        return [ev.BatchSubmitting(batch=1, servers=ids, updated=stamps, type="SOFT", **told)]

    async with open_store(url) as store:
        lease = await store.create_run(NewRun(f"grants-{os.getpid()}", kind="direct"), Holder("benchmark", "", 1, 0.0))

        async def take() -> None:
            done = await store.commit(lease, Transaction(take=_request(servers), intent=intent, settle=settle))
            assert done.grant is not None
            settle[:] = [Settlement(done.grant.id, 0.0)]

        yield take


@asynccontextmanager
async def with_others_out(url: str) -> AsyncGenerator[Take]:
    """The same for one server each, while a thousand such grants are out: the most that the real quota allows."""
    async with open_store(url) as store:
        await asyncio.gather(*(store.take(_request(1)) for _ in range(1_000)))
    async with batches(url, 1) as take:
        yield take


@asynccontextmanager
async def counter(url: str) -> AsyncGenerator[Take]:
    """The least that a shared limiter has to do: one number is made smaller, durably. It forgets who has what."""
    statement = "UPDATE tokens SET tokens = tokens - 1 WHERE name = 'quota'"
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60, isolation_level=None)
        for line in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"):
            connection.execute(line)
        execute: Callable[[str], object] = connection.execute
    else:
        import psycopg

        driver = psycopg.connect(url, autocommit=True)
        execute = driver.execute  # pyright: ignore[reportAssignmentType] - our own literal texts
    _make(execute, "CREATE TABLE IF NOT EXISTS tokens (name TEXT PRIMARY KEY, tokens BIGINT NOT NULL)")
    execute("INSERT INTO tokens VALUES ('quota', 1000000000) ON CONFLICT DO NOTHING")

    async def take() -> None:
        execute(statement)

    yield take


def _make(execute: Callable[[str], object], table: str) -> None:
    """Make a table although another process does so in the same instant: who is refused finds it made."""
    try:
        execute(table)
    except Exception:  # noqa: BLE001 - whatever each driver calls it
        execute(table)


@asynccontextmanager
async def pyrate(url: str) -> AsyncGenerator[Take]:
    """`pyrate-limiter` on the same database, a token at a time."""
    from pyrate_limiter import Duration, Limiter, Rate
    from pyrate_limiter.buckets.sqlite_bucket import SQLiteBucket

    rates = [Rate(PLENTY, Duration.SECOND)]
    if url.startswith("sqlite"):
        bucket: Any = SQLiteBucket.init_from_file(rates, db_path=url.removeprefix("sqlite:///"))
    else:
        from pyrate_limiter.buckets.postgres import PostgresBucket

        bucket = PostgresBucket(_Connections(url), "quota", rates)  # pyright: ignore[reportArgumentType] - see there
    limiter = Limiter(bucket)

    async def take() -> None:
        assert limiter.try_acquire("quota")

    yield take


class _Connections:
    """All that a bucket asks of a pool: a connection for each of its threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._of_thread = threading.local()

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Lend the thread's connection for a transaction."""
        import psycopg

        if not hasattr(self._of_thread, "connection"):
            self._of_thread.connection = psycopg.connect(self._url)
        with self._of_thread.connection.transaction():
            yield self._of_thread.connection


CONTESTANTS: Final[Mapping[str, Callable[[str], Any]]] = {
    "batches": batches,
    "singles": partial(batches, servers=1),
    "with_others_out": with_others_out,
    "counter": counter,
    "pyrate": pyrate,
}


async def contend(name: str, url: str, seconds: float) -> list[float]:
    """Take tokens for so long, again and again; return the seconds that each grant took."""
    took: list[float] = []
    async with CONTESTANTS[name](url) as take:
        await take()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        until = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < until:
            await take()
            took.append(time.perf_counter() - begun)
    return took


if __name__ == "__main__":
    print(json.dumps(asyncio.run(contend(sys.argv[1], sys.argv[2], float(sys.argv[3])))))
