"""Every statement that the store makes, as SQL, table by table; `ecsbatch.store.sql` tells how to read them.

A test prepares each one on both databases. The tables are in the folder `schema`.
"""

from __future__ import annotations

from typing import Final

from ecsbatch.store.sql import Statement

# -- what the store says of itself -----------------------------------------------------------------------------------

FACT: Final = Statement("SELECT value FROM ecsbatch WHERE name = :name")
CHANGE_FACT: Final = Statement("UPDATE ecsbatch SET value = :value WHERE name = :name AND value = :before")
STATE: Final = Statement("INSERT INTO ecsbatch (name, value) VALUES (:name, :value)")
STATE_ONCE: Final = Statement("INSERT INTO ecsbatch (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING")
WITHDRAW: Final = Statement("DELETE FROM ecsbatch WHERE name = :name")
NOTES: Final = Statement("SELECT name FROM ecsbatch WHERE name BETWEEN :first AND :last")
TABLES: Final = Statement("""
    SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite?_%' ESCAPE '?'   -- sqlite
    SELECT CAST(tablename AS text) FROM pg_tables WHERE schemaname = 'ecsbatch'                    -- postgres
""")

# -- runs ------------------------------------------------------------------------------------------------------------

RUN_COLUMNS: Final = (
    "run_id",
    "kind",
    "created_at",
    "status",
    "fence",
    "seq",
    "total",
    "counts",
    "targets_hash",
    "plan",
    "holder",
    "host",
    "pid",
    "since",
)
_RUN: Final = f"SELECT {', '.join(RUN_COLUMNS)} FROM runs"

INSERT_RUN: Final = Statement(
    f"INSERT INTO runs ({', '.join(RUN_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in RUN_COLUMNS)})"
)
RUN: Final = Statement(f"{_RUN} WHERE run_id = :run")
LATEST_RUN: Final = Statement(f"{_RUN} ORDER BY kind DESC, number DESC LIMIT 1")
RUNS_BY_PREFIX: Final = Statement(f"{_RUN} WHERE run_id BETWEEN :prefix AND :last ORDER BY number DESC")
LAST_RUNS: Final = Statement(f"{_RUN} ORDER BY number DESC LIMIT :limit")
OPEN_ROLLOUTS: Final = Statement(f"""
    {_RUN} WHERE kind = 'rollout' AND status IN ('running', 'paused', 'interrupted') ORDER BY number DESC
""")
ANY_RUN: Final = Statement("SELECT 1 FROM runs LIMIT 1")
HOW_FAR: Final = Statement("SELECT fence, seq FROM runs WHERE run_id = :run")
STATUS: Final = Statement("SELECT status FROM runs WHERE run_id = :run")
TIMELINE_OF_RUN: Final = Statement("SELECT timeline FROM runs WHERE run_id = :run")
SET_TIMELINE: Final = Statement("UPDATE runs SET timeline = :timeline WHERE run_id = :run")
HOLDER: Final = Statement("SELECT holder FROM runs WHERE run_id = :run")
ADVANCE_RUN: Final = Statement("UPDATE runs SET seq = :seq, counts = :counts WHERE run_id = :run")
# The status is in an index, which SQLite writes anew even where the value is the same: a page of each commit.
CHANGE_STATUS: Final = Statement("UPDATE runs SET seq = :seq, counts = :counts, status = :status WHERE run_id = :run")
SET_HOLDER: Final = Statement("""
    UPDATE runs SET fence = :fence, status = :status, holder = :holder, host = :host, pid = :pid, since = :since
    WHERE run_id = :run
""")
DELETE_RUN: Final = Statement("DELETE FROM runs WHERE run_id = :run")
FIRST_HASH: Final = Statement("SELECT first_hash FROM runs WHERE run_id = :run")
SET_FIRST_HASH: Final = Statement("UPDATE runs SET first_hash = :hash WHERE run_id = :run")
WHAT_A_RUN_BEGAN_WITH: Final = Statement("""
    SELECT run_id, kind, created_at, total, targets_hash, plan FROM runs WHERE run_id = :run
""")

# A run ended with its last event; one of direct restarts that nobody has any more is over too.
_ENDED_AT: Final = """
    coalesce((SELECT j.ts FROM journal j WHERE j.run_id = r.run_id AND j.seq_last = r.seq), r.created_at)
"""
_OVER: Final = "r.status IN ('succeeded', 'failed', 'aborted')"
ENDED_BEFORE: Final = Statement(f"""
    SELECT r.run_id FROM runs r WHERE ({_OVER} OR r.kind = 'direct') AND {_ENDED_AT} < :before ORDER BY r.number
""")
ENDED: Final = Statement(f"SELECT r.kind, r.status, {_ENDED_AT} FROM runs r WHERE r.run_id = :run")
# One whose last event cannot be found may have gone on until whenever.
RUNS_BETWEEN: Final = Statement(f"""
    {_RUN} AS r WHERE created_at <= :until
    AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.run_id = r.run_id AND j.seq_last = r.seq AND j.ts < :since)
    ORDER BY number DESC
""")
RUNS_OVER: Final = Statement(f"SELECT r.run_id, r.kind FROM runs r WHERE {_OVER} ORDER BY r.number DESC")

# -- targets ---------------------------------------------------------------------------------------------------------

INSERT_TARGETS: Final = Statement("INSERT INTO targets (run_id, part, servers) VALUES (:run_id, :part, :servers)")
ANY_TARGETS: Final = Statement("SELECT 1 FROM targets WHERE run_id = :run LIMIT 1")
TARGETS: Final = Statement("""
    SELECT CAST(servers AS BLOB)                                            -- sqlite
    SELECT servers                                                          -- postgres
    FROM targets WHERE run_id = :run ORDER BY part
""")
NEXT_TARGETS: Final = Statement("SELECT part FROM targets WHERE run_id = :run ORDER BY part LIMIT :limit")
DELETE_TARGETS: Final = Statement("DELETE FROM targets WHERE run_id = :run AND part <= :last")

# -- claims ----------------------------------------------------------------------------------------------------------

# Servers come as a JSON text, [[site, id], ...]: one statement for all of them, however far away the database is.
_EACH: Final = """
    json_each(:servers) AS s                                                -- sqlite
    json_array_elements(CAST(:servers AS json)) AS s(value)                 -- postgres
"""
_SITE_AND_ID: Final = """
    json_extract(s.value, '$[0]') AS site, json_extract(s.value, '$[1]') AS server_id   -- sqlite
    s.value ->> 0 AS site, s.value ->> 1 AS server_id                                   -- postgres
"""
_THESE: Final = f"(site, server_id) IN (SELECT {_SITE_AND_ID} FROM {_EACH})"
CLAIM: Final = Statement(f"""
    INSERT INTO claims (site, server_id, run_id)
    SELECT e.site, e.server_id, :run_id FROM (SELECT {_SITE_AND_ID} FROM {_EACH}) AS e
    WHERE true ON CONFLICT DO NOTHING
""")
CLAIMS_OF: Final = Statement(f"""
    SELECT c.site, c.server_id, c.run_id FROM (SELECT {_SITE_AND_ID} FROM {_EACH}) AS e
    CROSS JOIN claims AS c WHERE c.site = e.site AND c.server_id = e.server_id
""")
FREE: Final = Statement(f"DELETE FROM claims WHERE {_THESE} AND run_id = :run_id")
INHERIT: Final = Statement(f"UPDATE claims SET run_id = :run_id WHERE {_THESE} AND run_id = :other")
CLAIMS_OF_RUN: Final = Statement("SELECT site, server_id FROM claims WHERE run_id = :run_id ORDER BY site, server_id")
COUNT_CLAIMS: Final = Statement("SELECT count(*) FROM claims WHERE run_id = :run_id")
CLAIMING_RUNS: Final = Statement("SELECT DISTINCT run_id FROM claims")
_BEHIND: Final = "(site, server_id) > (:site, :server_id)"
END_OF_PIECE: Final = Statement(f"""
    SELECT site, server_id FROM claims WHERE {_BEHIND} ORDER BY site, server_id LIMIT 1 OFFSET :skipped
""")
FREE_PIECE: Final = Statement(f"""
    DELETE FROM claims WHERE run_id = :run_id AND {_BEHIND} AND (site, server_id) <= (:last_site, :last_id)
""")
FREE_REST: Final = Statement(f"DELETE FROM claims WHERE run_id = :run_id AND {_BEHIND}")

# -- journal ---------------------------------------------------------------------------------------------------------

# Somebody may have written something else into them by hand, which SQLite takes.
_LINES: Final = """
    CAST(lines AS BLOB)                                                     -- sqlite
    lines                                                                   -- postgres
"""
APPEND: Final = Statement("""
    INSERT INTO journal (run_id, seq_last, seq_first, ts, lines, hash)
    VALUES (:run_id, :seq_last, :seq_first, :ts, :lines, :hash)
""")
LAST_ROWS: Final = Statement("""
    SELECT run_id, seq_first, seq_last, ts, lines, hash FROM journal
    WHERE run_id = :run ORDER BY seq_last DESC LIMIT :limit
""")
LAST_ROW: Final = Statement("SELECT seq_last, hash FROM journal WHERE run_id = :run ORDER BY seq_last DESC LIMIT 1")
HASH_AT: Final = Statement("SELECT hash FROM journal WHERE run_id = :run AND seq_last = :seq")
ROWS: Final = Statement(f"""
    SELECT CAST(seq_first AS BIGINT), CAST(seq_last AS BIGINT), ts, {_LINES}, hash
    FROM journal WHERE run_id = :run AND seq_last > :after ORDER BY seq_last LIMIT :limit
""")
_ROW: Final = (
    f"SELECT CAST(seq_first AS BIGINT), CAST(seq_last AS BIGINT), {_LINES}, hash FROM journal WHERE run_id = :run"
)
ROWS_UP_TO: Final = Statement(f"{_ROW} AND seq_last > :after AND seq_last <= :until ORDER BY seq_last")
NEXT_ROW: Final = Statement(f"{_ROW} AND seq_last > :after ORDER BY seq_last LIMIT 1")
ROWS_SINCE: Final = Statement(f"""
    SELECT ts, run_id, CAST(seq_first AS BIGINT), seq_last, {_LINES} FROM journal
    WHERE (ts, run_id, seq_last) > (:since, :run, :after) ORDER BY ts, run_id, seq_last LIMIT :limit
""")
NEXT_ROWS: Final = Statement("""
    SELECT seq_last, length(lines) FROM journal WHERE run_id = :run ORDER BY seq_last LIMIT :limit
""")
DELETE_ROWS: Final = Statement("DELETE FROM journal WHERE run_id = :run AND seq_last <= :last")

# -- grants ----------------------------------------------------------------------------------------------------------

# Rows of older versions, which may run beside us, have the endpoint before the group: `https://host/project`. A row of
# the group "*" takes all tokens of every group while the ledger is waited out.
_OF_GROUP: Final = """
    (quota_group IN (:name, '*') OR substr(quota_group, length(quota_group) - length(:tail) + 1) = :tail)
"""
# A row of another boot may be of any time.
_WAITING: Final = "turns.quota_group = :name AND asked_until > :now AND asked_until <= :now + 60"
# One that is free later by less was settled since the transaction that looks has read the clock.
_FOREIGN: Final = "(boot <> :boot OR free_at > :now + hold + 60)"
SUMS: Final = Statement(f"""
    SELECT CAST(coalesce(sum(CASE WHEN free_at > :now THEN tokens ELSE 0 END), 0) AS BIGINT),
        CAST(coalesce(sum(CASE WHEN {_FOREIGN} THEN 1 ELSE 0 END), 0) AS BIGINT),
        CAST(coalesce(sum(CASE WHEN free_at <= :now THEN 1 ELSE 0 END), 0) AS BIGINT),
        CAST(coalesce(sum(CASE WHEN free_at > :now AND nonce <> :nonce THEN tokens ELSE 0 END), 0) AS BIGINT),
        (SELECT count(*) FROM turns WHERE {_WAITING})
    FROM grants WHERE {_OF_GROUP}
""")
GRANTS: Final = Statement(f"SELECT tokens, free_at, settled, hold, boot FROM grants WHERE {_OF_GROUP}")
EVERY_GRANT: Final = Statement(
    "SELECT grant_id, quota_group, run_id, tokens, granted, free_at, hold, settled, boot FROM grants"
)
ADOPT: Final = Statement(f"UPDATE grants SET boot = :boot, free_at = :now + hold, granted = :now WHERE {_FOREIGN}")
INSERT_GRANT: Final = Statement("""
    INSERT INTO grants (grant_id, quota_group, run_id, tokens, granted, free_at, hold, settled, boot, nonce)
    VALUES (:grant_id, :name, :run_id, :tokens, :granted, :free_at, :hold, :settled, :boot, :nonce)
""")
# A second settlement never shortens the first: of two ends of one request the later one counts.
_LATER: Final = "settled = 1 AND free_at > :until"
SETTLE: Final = Statement(f"""
    UPDATE grants SET
        free_at = CASE WHEN {_LATER} THEN free_at ELSE :until END,
        hold = CASE WHEN {_LATER} THEN hold ELSE :hold END,
        settled = 1,
        boot = :boot
    WHERE grant_id = :grant_id
""")
REFUND: Final = Statement("""
    DELETE FROM grants WHERE grant_id = :grant_id AND settled = 0 RETURNING quota_group, run_id, tokens
""")
PURGE_GRANTS: Final = Statement("""
    DELETE FROM grants WHERE boot = :boot AND ((settled = 1 AND free_at <= :now) OR free_at <= :long_ago)
""")
LONGEST_HOLD: Final = Statement("SELECT coalesce(max(hold), 0.0) FROM grants WHERE quota_group <> '*'")
FORGET_GRANTS: Final = Statement("DROP TABLE IF EXISTS grants")

# The first that a transaction which takes tokens does where others may write meanwhile: those that take some of the
# same group wait behind it.
LOCK_GROUP: Final = Statement("""
    INSERT INTO quota_groups (name, seen_at)
    VALUES (:name, :now) ON CONFLICT (name) DO UPDATE SET seen_at = :now                             -- sqlite
    VALUES (:name, coalesce(CAST(:now AS float), extract(epoch FROM clock_timestamp())))             -- postgres
    ON CONFLICT (name) DO UPDATE SET seen_at = coalesce(CAST(:now AS float),                         -- postgres
        greatest(quota_groups.seen_at, extract(epoch FROM clock_timestamp())))                       -- postgres
    RETURNING seen_at
""")

# -- turns, of processes that wait for tokens --------------------------------------------------------------------------

TURNS: Final = Statement(f"""
    SELECT turns.nonce, CAST(coalesce(sum(g.tokens), 0) AS BIGINT), ticket, wants, allowed
    FROM turns LEFT JOIN grants AS g
    ON g.nonce = turns.nonce AND g.quota_group = turns.quota_group AND g.free_at > :now
    WHERE {_WAITING} GROUP BY turns.nonce, ticket, wants, allowed
""")
# Who has just been served has the ticket 0.
TAKE_TURN: Final = Statement("""
    INSERT INTO turns (quota_group, nonce, ticket, wants, allowed, asked_until)
    SELECT :name, :nonce, coalesce(max(ticket), 0) + 1, :wants, :allowed, :until FROM turns WHERE quota_group = :name
    ON CONFLICT (quota_group, nonce) DO UPDATE SET
        ticket = CASE WHEN turns.ticket > 0 AND turns.asked_until > :now THEN turns.ticket ELSE excluded.ticket END,
        wants = excluded.wants,
        allowed = excluded.allowed,
        asked_until = excluded.asked_until
""")
END_TURN: Final = Statement("""
    INSERT INTO turns (quota_group, nonce, ticket, wants, allowed, asked_until)
    VALUES (:name, :nonce, 0, :wants, :allowed, :until)
    ON CONFLICT (quota_group, nonce) DO UPDATE SET
        ticket = 0, wants = excluded.wants, allowed = excluded.allowed, asked_until = excluded.asked_until
""")
LEAVE_TURN: Final = Statement("DELETE FROM turns WHERE quota_group = :name AND nonce = :nonce")
FORGET_TURNS: Final = Statement("DELETE FROM turns WHERE quota_group = :name AND asked_until <= :now")

# -- what is spent, and freezes --------------------------------------------------------------------------------------

SPEND: Final = Statement("""
    INSERT INTO spent (quota_group, run_id, minute, tokens, allowed)
    VALUES (:name, :run_id, :minute, :tokens, :allowed)
    ON CONFLICT (quota_group, run_id, minute) DO UPDATE SET
        tokens = spent.tokens + excluded.tokens,
        allowed = CASE WHEN excluded.allowed > 0 THEN excluded.allowed ELSE spent.allowed END
""")
SPENT: Final = Statement("SELECT quota_group, run_id, minute, tokens, allowed FROM spent WHERE minute > :since")
FORGET_SPENT: Final = Statement("DELETE FROM spent WHERE minute <= :before")
TURNS_AND_HOLDERS: Final = Statement("""
    SELECT t.quota_group, t.wants, (SELECT max(l.holder) FROM leases l WHERE l.nonce = t.nonce)
    FROM turns t WHERE t.asked_until > :now AND t.ticket > 0 ORDER BY t.ticket
""")
THAT_FREEZE: Final = Statement("SELECT 1 FROM freezes WHERE since = :since AND frozen_by = :by")
LAST_FREEZE: Final = Statement("""
    SELECT frozen_by, reason, since, ends_at, thawed_by, thawed_at FROM freezes ORDER BY number DESC LIMIT 1
""")
BEGIN_FREEZE: Final = Statement("""
    INSERT INTO freezes (frozen_by, reason, since, ends_at) VALUES (:by, :reason, :since, :until)
""")
END_FREEZES: Final = Statement("""
    UPDATE freezes SET thawed_by = :by, thawed_at = :now WHERE thawed_at IS NULL AND (ends_at IS NULL OR ends_at > :now)
""")

# -- commands --------------------------------------------------------------------------------------------------------

# By the time, and not one after another: a failover must not give a number that a holder has followed to another one.
INSERT_COMMAND: Final = Statement("""
    INSERT INTO commands (id, run_id, ts, who, body)
    SELECT max(:number, coalesce(max(id), 0) + 1), :run_id, :ts, :who, :body FROM commands WHERE true    -- sqlite
    SELECT greatest(CAST(:number AS bigint), coalesce(max(id), 0) + 1), :run_id, :ts, :who, :body        -- postgres
    FROM commands                                                                                        -- postgres
    ON CONFLICT DO NOTHING RETURNING id
""")
COMMANDS: Final = Statement("SELECT id, ts, who, body FROM commands WHERE run_id = :run AND id > :after ORDER BY id")
DELETE_COMMANDS: Final = Statement("DELETE FROM commands WHERE run_id = :run")
