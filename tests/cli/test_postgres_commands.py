"""Commands on a store at a PostgreSQL server: what each role may, and one line and nothing sent where it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from postgres.pgbouncer import PgBouncer
from postgres.promotion import Pair
from postgres.server import Server
from typed_commands import Simulator, Terminal

from ecsbatch.store.migrations import VERSION, step

ROLES = Path(__file__).parent.parent.parent / "config" / "postgres-roles.sql"
FAST = (
    *("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s"),
    *("--waves", "100%", "--max-unavailable", "100%", "--yes", "-q"),
)


def do(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with the three roles, which asks another one, ops, for its password."""
    made = Server(tcp=True)
    made.let_in("local all ops scram-sha-256\nlocal all all trust\nhost all all 127.0.0.1/32 trust")
    made.start()
    do(made.url(), "CREATE DATABASE restarts", "CREATE ROLE ops LOGIN PASSWORD 'another'", "CREATE ROLE guest LOGIN")
    do(made.url("restarts"), ROLES.read_text(encoding="utf-8"))
    yield made
    made.remove()


def fleet(terminal: Terminal, ids: list[str]) -> str:
    (terminal.folder / "fleet.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    return "fleet.txt"


def test_each_role_may_what_it_is_for(terminal: Terminal, cloud: Simulator, server: Server) -> None:
    owner, run, read = (server.url("restarts", f"ecsbatch_{role}") for role in ("owner", "run", "read"))

    def type_(*words: str, store: str = run) -> tuple[int, str]:
        done = terminal.type(*words, "--store", store)
        return done.returncode, done.stdout + done.stderr

    # The tables are the owner's to make.
    assert type_("store", "check")[0] == 1
    code, told = type_("store", "upgrade")
    assert (code, "cannot be upgraded by this role (permission denied for schema ecsbatch)" in told) == (1, True)
    for words in (["freeze", "--reason", "r"], ["restart", fleet(terminal, cloud.ids[:3]), *FAST]):
        code, told = type_(*words)
        assert (code, "has no tables yet: have the owner make them. `ecsbatch store upgrade` does" in told) == (1, True)
    code, script = type_("store", "upgrade", "--print")
    assert (code, script.splitlines()[-1]) == (0, "COMMIT;")
    do(owner, script)
    code, told = type_("store", "upgrade", store=owner)
    assert (code, told.endswith(f" has schema {VERSION} already.\n")) == (0, True)

    # One restarts, and one looks on.
    code, told = type_("restart", fleet(terminal, cloud.ids[:3]), *FAST, "--run-id", "tonight")
    assert code == 0, told
    for words in (["runs"], ["status"], ["report"], ["explain"], ["audit"], ["watch"]):
        code, told = type_(*words, store=read)
        assert code == 0, told
        if words not in (["audit"], ["watch"]):
            assert "tonight" in told or "restarted" in told
    before = cloud.audit()["requests"]
    code, told = type_("restart", fleet(terminal, cloud.ids[3:5]), *FAST, store=read)
    assert (code, "takes no writes (its transactions are read-only)" in told, told.count("\n")) == (1, True, 1)
    assert type_("abort", "tonight", "--yes", store=read)[0] != 0
    assert cloud.audit()["requests"] == before

    # What each is told of its rights.
    states = {}
    for name, store in (("owner", owner), ("run", run), ("read", read)):
        code, told = type_("store", "check", "-o", "json", store=store)
        rights = {each["name"]: each for each in json.loads(told)["checks"]}["rights"]
        states[name] = (code, rights["state"], rights["text"].partition("may ")[2].partition(":")[0])
    assert states == {
        "owner": (0, "ok", "read and write, and change tables"),
        "run": (0, "ok", "read and write"),
        "read": (0, "warning", ""),
    }

    code, told = type_("check", "-o", "json")
    checks = {each["name"]: each for each in json.loads(told)["checks"]}
    assert (code, checks["store: commits"]["state"], checks["quota"]["state"]) == (0, "warning", "ok")
    assert "writable (a socket of this machine); a database server may be written by others" in checks["store"]["text"]

    # Old runs.
    assert "Nothing was deleted" in type_("store", "prune", "--older-than", "0s", store=read)[1]
    assert type_("store", "prune", "--older-than", "0s", "--yes", store=read)[0] == 1
    assert type_("store", "prune", "--older-than", "0s", "--yes") == (
        0,
        "1 run deleted that ended longer ago than 0s.\n",
    )


def test_who_may_write_rows_may_change_no_table(terminal: Terminal, server: Server) -> None:
    terminal.type("store", "upgrade", "--store", server.url("restarts", "ecsbatch_owner"))
    for role in ("run", "read"):
        for statement in (
            "ALTER TABLE ecsbatch.runs ADD COLUMN more TEXT",
            "DROP TABLE ecsbatch.runs",
            "TRUNCATE ecsbatch.runs",
            "CREATE TABLE ecsbatch.more (id INT)",
        ):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
                do(server.url("restarts", f"ecsbatch_{role}"), statement)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        do(
            server.url("restarts", "ecsbatch_read"),
            "SET default_transaction_read_only = off",
            "DELETE FROM ecsbatch.runs",
        )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        do(server.url("restarts", "guest"), "SELECT 1 FROM ecsbatch.runs")


def schema(version: str) -> tuple[str, ...]:
    return (
        "CREATE SCHEMA ecsbatch",
        "CREATE TABLE ecsbatch.ecsbatch (name TEXT, value TEXT)",
        f"INSERT INTO ecsbatch.ecsbatch VALUES ('schema', '{version}')",  # noqa: S608 - ours
    )


def columns_of(url: str) -> list[tuple[object, ...]]:
    asked = "SELECT table_name, column_name, data_type, column_default FROM information_schema.columns"
    with psycopg.connect(url) as connection:
        return connection.execute(f"{asked} WHERE table_schema = 'ecsbatch' ORDER BY 1, 2".encode()).fetchall()


def test_tables_of_before_are_upgraded_by_their_owner_in_either_way(terminal: Terminal, server: Server) -> None:
    do(server.url(), "CREATE DATABASE before", "CREATE DATABASE printed", "CREATE DATABASE new")
    before, printed, new = map(server.url, ("before", "printed", "new"))
    for url in (before, printed):
        told = "INSERT INTO ecsbatch (name, value) VALUES ('schema', '1')"
        do(url, "CREATE SCHEMA ecsbatch", "; ".join(["SET search_path = ecsbatch", *step(1, "postgres"), told]))
    refused = terminal.type("runs", "--store", before)
    assert refused.stderr.endswith("have the owner of its tables upgrade them. `ecsbatch store upgrade` does.\n")
    assert f"schema 1, this ecsbatch has {VERSION}" in terminal.type("store", "check", "--store", before).stdout

    script = terminal.type("store", "upgrade", "--print", "--store", printed).stdout
    do(printed, script)
    with pytest.raises(psycopg.errors.RaiseException, match="not at schema 1 any more"):
        do(printed, script)
    for url, said in ((before, "now, upgraded from 1."), (printed, "already."), (new, "now, made new.")):
        done = terminal.type("store", "upgrade", "--store", url)
        assert (done.returncode, done.stdout.endswith(f"has schema {VERSION} {said}\n")) == (0, True), done.stdout
        assert columns_of(url) == columns_of(before)
    assert terminal.type("runs", "--store", before).stdout == "No runs yet.\n"


def test_a_pooler_between_changes_nothing(terminal: Terminal, pgbouncer: PgBouncer, database_url: str) -> None:
    url = pgbouncer.url(database_url)

    assert terminal.type("store", "upgrade", "--store", url).returncode == 0
    checked = terminal.type("store", "check", "--store", url)
    assert (checked.returncode, f"schema {VERSION}, 0 runs" in checked.stdout) == (0, True), checked.stdout


REFUSED: list[tuple[str, tuple[str, ...], Callable[[Server], str], str]] = [
    ("down", (), lambda _: "postgresql://ops@127.0.0.1:1/x", "cannot be reached (connection refused): start the data"),
    ("missing", (), lambda server: server.url("nothing"), 'database "nothing" does not exist): create the database'),
    ("password", (), lambda server: server.url("password", "ops"), "does not accept our password (password auth"),
    ("rights", schema(str(VERSION)), lambda server: server.url("rights", "guest"), "denies us a right (permission"),
    (
        "theirs",
        ("CREATE SCHEMA ecsbatch", "CREATE TABLE ecsbatch.x ()"),
        lambda s: s.url("theirs"),
        "another program's",
    ),
    ("older", schema("2"), lambda server: server.url("older"), "upgrade them. `ecsbatch store upgrade` does."),
    ("newer", schema("99"), lambda server: server.url("newer"), "written by a newer ecsbatch (schema 99,"),
    (
        "standing",
        (*schema(str(VERSION)), "ALTER DATABASE standing SET default_transaction_read_only = on"),
        lambda server: server.url("standing"),
        "takes no writes (its transactions are read-only): name the primary server",
    ),
    ("latin", (), lambda server: server.url("latin"), "use a database with encoding UTF8"),
    ("name", (), lambda _: "postgresql:///x?hostaddr=192.0.2.1", "hostaddr without a host"),
    (
        "plain",
        (),
        lambda server: f"postgresql://postgres@127.0.0.1:{server.port}/x?sslmode=require",
        "offers no TLS (server",
    ),
    ("service", (), lambda _: "postgresql:///?service=nothing", 'definition of service "nothing" not found'),
]


def test_what_cannot_be_used_gets_one_line_and_nothing_is_sent(
    terminal: Terminal, cloud: Simulator, server: Server
) -> None:
    for name, statements, _, _ in REFUSED:
        if statements or name == "password":
            do(server.url(), f"CREATE DATABASE {name}")
            do(server.url(name), *statements)
    do(server.url(), "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1'")
    file = fleet(terminal, cloud.ids[:3])
    before = cloud.audit()["requests"]
    secret = {"PGPASSWORD": "CANARY"}
    begun = [
        (says, url(server), terminal.begin("restart", file, *FAST, "--store", url(server), **secret))
        for _, _, url, says in REFUSED
    ]
    for says, url, restart in begun:
        out, err = restart.communicate(timeout=60)
        check = terminal.type("store", "check", "--store", url, **secret)
        usage = "hostaddr" in says or "service" in says
        assert (restart.returncode, out, err.count("\n")) == (2 if usage else 1, "", 1), (url, err)
        assert says in err
        assert "CANARY" not in err + check.stdout + check.stderr
        # What is no error of a look is one of a restart: an older schema, a role or database that only reads.
        assert check.returncode == 1 or says in {"older", "standing"} or "/older" in url or "/standing" in url, url
    assert cloud.audit()["requests"] == before


def test_a_check_tells_whether_a_failover_forgets(terminal: Terminal, pair: Pair) -> None:
    def checked(store: str) -> dict[str, tuple[str, str]]:
        done = terminal.type("store", "check", "-o", "json", "--store", store)
        assert done.returncode == 0, done.stderr
        return {each["name"]: (each["state"], each["text"]) for each in json.loads(done.stdout)["checks"]}

    primary, standby = pair.primary.url(), pair.standby.url()
    assert terminal.type("store", "upgrade", "--store", primary).returncode == 0
    pair.catch_up()

    assert checked(standby)["rights"] == (
        "warning",
        "it is a standby: it can be read, nothing can be restarted with it.",
    )
    told = "1 standby may lack the last commits when promoted: set synchronous_standby_names there."
    assert checked(primary)["commits"] == ("warning", told)
