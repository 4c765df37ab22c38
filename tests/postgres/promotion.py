"""A primary with a streaming standby, and the failover that forgets: what the standby had not received is gone."""

from __future__ import annotations

import time

from .bridge import Bridge
from .server import PATIENCE, Server, run

_SENDS = {"wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on"}


class Pair:
    """Two servers and one address, which leads to the primary.

    Attributes:
        primary: takes writes.
        standby: copies the primary's log, and can be read.
        address: the line by which clients come.
        stream: the line by which the standby copies.
    """

    def __init__(self) -> None:
        self.primary = Server(_SENDS)
        self.primary.start()
        self.address = Bridge(self.primary.socket)
        self.stream = Bridge(self.primary.socket)
        self.standby = Server(_SENDS)
        run(
            self.standby.programs / "pg_basebackup",
            *("--pgdata", str(self.standby.data), "--dbname", self.stream.url(self.primary.url())),
            *("--write-recovery-conf", "--checkpoint", "fast", "--no-sync", "--no-manifest"),
        )
        self.standby.settings |= {"wal_retrieve_retry_interval": "100ms"}
        self.standby.start()

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database that goes on to lead to the primary after a failover."""
        return self.address.url(self.primary.url(database))

    def catch_up(self) -> None:
        """Wait until the standby has all that the primary has committed."""
        import psycopg  # noqa: PLC0415 - most tests need none of it

        with (
            psycopg.connect(self.primary.url(), autocommit=True) as primary,
            psycopg.connect(self.standby.url(), autocommit=True) as standby,
        ):
            [at] = primary.execute("SELECT pg_current_wal_lsn()").fetchone() or (None,)
            until = time.monotonic() + PATIENCE
            while standby.execute("SELECT pg_last_wal_replay_lsn() >= %s", (at,)).fetchone() != (True,):
                assert time.monotonic() < until, self.standby.told()
                time.sleep(0.005)

    def break_stream(self) -> None:
        """From now on the standby receives nothing: what the primary commits, a failover forgets."""
        self.catch_up()
        self.stream.cut()

    def fail_over(self) -> None:
        """Let the primary crash, make the standby the primary, and let the address lead to it."""
        self.primary.stop("immediate")
        self.address.cut()
        self.promote()
        self.address.leads_to = self.standby.socket
        self.address.heal()

    def promote(self) -> None:
        """Make the standby a primary, whatever the other one does."""
        run(self.standby.programs / "pg_ctl", "promote", "--wait", "--pgdata", str(self.standby.data))

    def remove(self) -> None:
        """End and delete all of it."""
        self.address.close()
        self.stream.close()
        self.standby.remove()
        self.primary.remove()
