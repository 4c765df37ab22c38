"""What a transaction at a PostgreSQL server begins with: one message, one round trip, nothing that outlives it.

No setting is made for a session: behind a pooler the next transaction may have another one. All values in these texts
are our own numbers and hexadecimal digits, since a message of several statements takes no parameters.
"""

from __future__ import annotations

from typing import Final

IDLE: Final = 3.0
"""Seconds after which the server ends a transaction in which nothing is asked: its process stands still, or is gone."""

READING: Final = 2.0
"""How much longer than others a statement that reads may take, and we wait for it: much may be asked for."""

_CLAIMS: Final = 7_306_087_412_934_514_027
_TABLES: Final = 7_306_087_412_934_514_028
"""Keys of advisory locks that end with their transaction; others at the same database use their own."""

_FORGOTTEN: Final = 86_400
"""Seconds after which a row of ``writers`` goes: its process asks for it within minutes, or never."""

EPOCH: Final = "extract(epoch FROM clock_timestamp())::float8"
"""The server's time; `now()` would be when the transaction began."""

# A weaker setting would answer before all is durable; what is set stronger stays.
_DURABLE: Final = """set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit')
    IN ('off', 'local', 'remote_write') THEN 'on' ELSE current_setting('synchronous_commit') END, true)"""

_MAY_ASK: Final = "coalesce(has_function_privilege(to_regprocedure('{}')::oid, 'EXECUTE'), false)"
TELLS_TIMELINE: Final = f"{_MAY_ASK.format('pg_current_wal_lsn()')} AND {_MAY_ASK.format('pg_walfile_name(pg_lsn)')}"
"""Whether our role may ask for the timeline of the server's write-ahead log, by which a failover shows."""

ABOUT_SERVER: Final = f"""
    SELECT current_setting('transaction_read_only') = 'on', current_setting('server_encoding'),
        extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8,
        {TELLS_TIMELINE}
"""  # noqa: S608 - our own text
"""For a new connection: whether the server takes no writes, its encoding, for how long it runs, and whether it can be
asked for its timeline."""

_TIMELINE: Final = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
_EPOCH_NOTED: Final = "(SELECT value FROM ecsbatch WHERE name = 'timeline')"


def reading(deadline: float) -> str:
    """Return how a transaction begins that sees one state throughout.

    Here and below ``deadline`` is how long we wait for an answer; the server is to give up before that.
    """
    return f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_settings(deadline * READING)}"


def changing_tables(deadline: float) -> str:
    """Return how a transaction begins that may create and change tables, one at a time."""
    return f"{_writing(deadline)}; SELECT pg_advisory_xact_lock({_TABLES})"


def writing(nonce: str, number: int, deadline: float, *, claims: bool, tells_timeline: bool, forgets: bool) -> str:
    """Return how a transaction begins that writes.

    Of its answers the second has its number, or no row where a transaction of that number was committed before; the
    last one has the server's timeline and what the store has noted of it.

    Args:
        nonce: the opened store.
        number: higher than those of all its transactions that were committed.
        deadline: how long we wait for an answer.
        claims: it takes servers or runs: one such at a time.
        tells_timeline: the server can be asked for its timeline.
        forgets: rows of processes that are long gone are deleted.
    """
    parts = [
        _writing(deadline),
        f"""INSERT INTO writers AS w (nonce, number, seen_at) VALUES ('{nonce}', {number}, {EPOCH})
            ON CONFLICT (nonce) DO UPDATE SET number = excluded.number, seen_at = excluded.seen_at
            WHERE w.number < excluded.number RETURNING number""",  # noqa: S608 - our own digits
    ]
    if forgets:
        parts.append(
            f"""DELETE FROM writers WHERE nonce IN (SELECT nonce FROM writers
                WHERE seen_at < {EPOCH} - {_FORGOTTEN} LIMIT 1000 FOR UPDATE SKIP LOCKED)"""  # noqa: S608 - the same
        )
    if claims:
        parts.append(f"SELECT pg_advisory_xact_lock({_CLAIMS})")
    timeline = _TIMELINE if tells_timeline else "''"
    parts.append(f"SELECT {timeline}, {_EPOCH_NOTED}")
    return "; ".join(parts)


def _writing(deadline: float) -> str:
    # READ WRITE is not said: a database that its owner has set to read only is to stay so.
    return f"BEGIN ISOLATION LEVEL READ COMMITTED; {_settings(deadline)}, {_DURABLE}"


def _settings(deadline: float) -> str:
    local = {
        "search_path": "ecsbatch, pg_temp",
        "lock_timeout": f"{deadline * 500:.0f}",
        "statement_timeout": f"{deadline * 800:.0f}",
        "idle_in_transaction_session_timeout": f"{IDLE * 1000:.0f}",
    }
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in local.items())
