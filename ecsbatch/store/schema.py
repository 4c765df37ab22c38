"""The tables, in SQLAlchemy Core: the same for every database.

Times are floats: ``ts``, ``created_at`` and ``since`` in seconds since 1970, ``granted`` and ``free_at`` in seconds on
the ledger's clock. JSON is in text columns, so that a row can be read with any tool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

VERSION: Final = 2
"""The version of these tables; a store with a higher one is refused."""

STEPS: Final[Mapping[int, Sequence[str]]] = {
    2: (
        "ALTER TABLE journal ADD COLUMN hash TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE runs ADD COLUMN first_hash TEXT NOT NULL DEFAULT ''",
    ),
}
"""What makes a version's tables out of those of the version before, in SQL that every database knows.

A new store is created whole. Columns have defaults, since a process of an older version may go on writing beside us.
"""

metadata = sa.MetaData()

facts = sa.Table(
    "ecsbatch",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""What the store says of itself: ``schema``, its version. Without this table it is another program's database."""

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("counts", sa.Text, nullable=False),
    sa.Column("targets_hash", sa.Text, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("first_hash", sa.Text, nullable=False, server_default=""),
    sqlite_autoincrement=True,
)
"""``first_hash`` is where the chain of a run's journal begins, "" where the run is of a version without one."""

targets = sa.Table(
    "targets",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("servers", sa.LargeBinary, nullable=False),
)
"""The frozen list of a run's servers: compressed JSON columns, a part per some ten thousand servers."""

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("server_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

# The key is the last event's number in a row: "everything after n" is then one search in the index.
journal = sa.Table(
    "journal",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("seq_last", sa.Integer, primary_key=True),
    sa.Column("seq_first", sa.Integer, nullable=False),
    sa.Column("ts", sa.Float, nullable=False),
    sa.Column("lines", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.Text, nullable=False, server_default=""),
)
"""One row for each transaction and run: its events as lines of JSON, joined by line ends, and the last one's time.

``hash`` is the row's link in the run's chain, "" where a version without one has written the row.
"""

grants = sa.Table(
    "grants",
    metadata,
    sa.Column("grant_id", sa.Text, primary_key=True),
    sa.Column("quota_group", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("tokens", sa.Integer, nullable=False),
    sa.Column("granted", sa.Float, nullable=False),
    sa.Column("free_at", sa.Float, nullable=False),
    sa.Column("hold", sa.Float, nullable=False),
    sa.Column("settled", sa.Integer, nullable=False),
    sa.Column("boot", sa.Text, nullable=False),
    sa.Index("grants_by_group", "quota_group"),
)
"""Tokens that are out, never what is left. ``hold`` is the seconds after which they are free, at ``free_at``."""

commands = sa.Table(
    "commands",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False, index=True),
    sa.Column("ts", sa.Float, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
