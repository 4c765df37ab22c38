"""A password that is typed stands in the process list: it is refused before anything is done, and is not repeated."""

from __future__ import annotations

import pytest

from ecsbatch.cli.app import main

URL = "postgresql://ops:CANARY@db.example.com/restarts"


@pytest.mark.parametrize(
    "typed",
    [
        ["runs", "--store", URL],
        ["runs", f"--store={URL}"],
        ["runs", "--store", "postgres://ops:C%41NARY@db.example.com/restarts"],
        ["runs", "--store", "postgresql://ops@db.example.com/restarts?password=CANARY"],
        ["runs", "--store", "postgresql://ops@db.example.com/restarts?p%61ssword=CANARY"],
        ["runs", "--store", "host=db.example.com user=ops password=CANARY"],
        ["runs", "--store=host=db.example.com password=CANARY"],
        ["runs", "--store", "postgresql+psycopg://ops:CANARY@db.example.com/restarts"],
        ["runs", "--store", "postgresql://ops:C@NARY:CANARY@db.example.com/restarts"],
        ["runs", "--store", "postgresql:ops:CANARY"],
        # Where no URL belongs.
        ["--store", URL, "runs"],
        ["status", URL],
        [URL],
        ["help", URL],
        ["restart", "fleet.txt", "--sotre", URL],
        ["config", "show", "--store", URL, "-o", "json"],
        ["--help", URL],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("form", ["console", "json"])
def test_a_password_that_is_typed_is_refused(typed: list[str], form: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([*typed, "--log-format", form])
    out, err = capsys.readouterr()

    assert (code, out) == (2, "")
    assert "CANARY" not in err
    assert "which a process list shows: keep it in a password file (~/.pgpass or what PGPASSFILE names" in err
    assert err.count("\n") == 1


def test_words_that_only_look_alike_are_no_stores(capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["restart", "none.txt", "--check", "cmd:./up --password=x", "--gate", "url password=x", "--yes"]

    assert main([*typed, "--store", "postgresql://ops@db/x?application_name=me@work:5"]) == 2
    assert "process list" not in capsys.readouterr().err
