"""A store's password, wherever it was given, is in nothing that is printed, written, stored or handed to a child."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from postgres.server import Server
from test_secrets import FAST, KEY, LEAK, SPEAKING, cloud, desk

from ecsbatch.simulator.server import serve
from ecsbatch.store.packing import unpacked

PASSWORD = "CANARY: of/ops@db?"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with a database of ops, who is asked for a password."""
    made = Server()
    made.let_in("local all ops scram-sha-256\nlocal all all trust")
    made.start()
    with psycopg.connect(made.url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE ops LOGIN PASSWORD '{PASSWORD}'".encode())
        connection.execute(b"CREATE DATABASE restarts OWNER ops")
    yield made
    made.remove()


def with_password(url: str) -> str:
    return url.replace("ops@", f"ops:{quote(PASSWORD, safe='')}@")


async def test_a_good_night_keeps_the_stores_password(tmp_path: Path, server: Server) -> None:
    """Its gate and its check write down what they were told."""
    url = server.url("restarts", "ops")
    variables = {
        **KEY,
        "ECSBATCH_STORE": with_password(url),
        "PGPASSWORD": PASSWORD,
        "PGPASSFILE": "/CANARY/passwords",
        "PGSERVICEFILE": "/CANARY/services",
    }
    waves = ["2,100%" if before == "--waves" else word for before, word in zip(("", *FAST), FAST, strict=False)]
    programs = (
        "--min-ready",
        "0s",
        "--gate",
        "sh -c 'umask 077; env > gate.told'",
        "--check",
        "cmd:sh -c 'umask 077; env >> check.told'",
    )
    async with serve(cloud(), speed=60) as running:
        typed = desk(tmp_path, running, environment=variables)
        code = await typed.type("restart", "fleet.txt", *waves, *programs, *SPEAKING)
        assert code in {0, 3, 6}, typed.said.decode()[-3000:]
        for arguments in (
            *(("check",), ("check", "-o", "json"), ("config", "show"), ("config", "show", "-o", "json"), ("runs",)),
            *(("status", "-o", "json"), ("report", "--out", "report.json"), ("explain",), ("audit", "-o", "json")),
            *(
                ("plan", "fleet.txt", *FAST, "--out", "plan.json"),
                ("servers", "--all"),
                ("resume", "tonight"),
                ("watch",),
            ),
            *(
                ("store", "check"),
                ("store", "check", "-o", "json"),
                ("store", "upgrade"),
                ("store", "upgrade", "--print"),
            ),
            *(("store", "prune", "--older-than", "1s"), ("pause",), ("status", "no-such-run"), ("runs", "--stor")),
            *(("freeze", "--reason", "power cut"), ("plan", "fleet.txt", *FAST), ("thaw",), ("quota", "-o", "json")),
        ):
            assert await typed.type(*arguments) in {0, 1, 2, 3, 7}, typed.said.decode()[-3000:]

    assert b"\nStore       postgresql://ops@/restarts" in typed.said
    assert "ECSBATCH_SERVER_ID" in (tmp_path / "check.told").read_text()
    assert "PATH=" in (tmp_path / "gate.told").read_text()
    for told in ("check.told", "gate.told"):
        assert not {"ECSBATCH_STORE=", "PGPASSWORD="} & set((tmp_path / told).read_text())
    typed.search()
    with psycopg.connect(server.url("restarts")) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'ecsbatch'")
        ]
        for table in tables:
            rows = connection.execute(f"SELECT * FROM ecsbatch.{table}".encode()).fetchall()  # noqa: S608 - our own
            told = [[unpacked(value) if isinstance(value, bytes) else value for value in row] for row in rows]
            assert not LEAK.search(repr(told).encode()), table
        assert len(tables) > 5


@pytest.mark.parametrize("way", ["PGPASSWORD", "PGPASSFILE", "ECSBATCH_STORE", "--config", "PGSERVICE"])
async def test_each_way_that_is_not_seen_opens_the_store(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, server: Server, way: str
) -> None:
    url, elsewhere = server.url("restarts", "ops"), tmp_path_factory.mktemp("private")
    passwords, services, settings = (elsewhere / name for name in ("passwords", "services", "settings.toml"))
    passwords.write_text(f"*:*:*:ops:{PASSWORD.replace(':', chr(92) + ':')}\n", encoding="utf-8")
    services.write_text(
        f"[restarts]\nhost={server.folder}\ndbname=restarts\nuser=ops\npassword={PASSWORD}\n", encoding="utf-8"
    )
    settings.write_text(f'[output]\nstore = "{with_password(url)}"\n', encoding="utf-8")
    for path in (passwords, services, settings):
        path.chmod(0o600)
    given: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
        "PGPASSWORD": (("--store", url), {"PGPASSWORD": PASSWORD}),
        "PGPASSFILE": (("--store", url), {"PGPASSFILE": str(passwords)}),
        "ECSBATCH_STORE": ((), {"ECSBATCH_STORE": with_password(url)}),
        "--config": (("--config", str(settings)), {}),
        "PGSERVICE": (("--store", "postgresql:///?service=restarts"), {"PGSERVICEFILE": str(services)}),
    }
    words, variables = given[way]
    async with serve(cloud(), speed=60) as running:
        typed = desk(tmp_path, running, environment={**KEY, **variables})
        assert await typed.type("store", "upgrade", *words) == 0, typed.said.decode()
        assert await typed.type("runs", *words) == 0
        assert await typed.type("check", *words) == 0
        assert await typed.type("restart", "fleet.txt", "--dry-run", *words) == 0
        if way == "PGPASSWORD":
            assert await typed.type("runs", *words, PGPASSWORD="CANARY-but-wrong") == 1

    typed.search()
