"""``ecsbatch store``: whether a store is well, its tables upgraded, runs that are long over deleted."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ecsbatch.cli.app import main
from ecsbatch.store.migrations import VERSION

BEFORE = Path(__file__).parent.parent / "store" / "before" / "store.sqlite"
"""A store of version 0.1.0, whose tables are of schema 1: a run that is over, and three that are not."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the store of before, in a folder of this user alone."""
    tmp_path.chmod(0o700)
    monkeypatch.delenv("ECSBATCH_STORE", raising=False)
    return Path(shutil.copy(BEFORE, tmp_path / "runs.db"))


@pytest.fixture
def typed(path: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    """Type a command about the store; return its code, its output and its complaint."""

    def type_(*words: str, store: str = f"sqlite:///{path}") -> tuple[int, str, str]:
        code = main(["store", *words, "--store", store])
        return code, *capfd.readouterr()

    return type_


def checks(out: str) -> Mapping[str, Mapping[str, str]]:
    return {each["name"]: each for each in json.loads(out)["checks"]}


def test_a_check_changes_nothing_and_tells_what_is_amiss(typed: Any, path: Path) -> None:
    path.chmod(0o600)
    before = path.read_bytes()

    code, out, err = typed("check", "-o", "json")

    assert (code, err) == (0, "")
    assert {name: each["state"] for name, each in checks(out).items()} == {
        "store": "ok",
        "tables": "warning",
        "whole": "ok",
        "rights": "ok",
    }
    assert checks(out)["tables"]["text"].startswith(f"schema 1, this ecsbatch has {VERSION}: ")
    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.iterdir()) == ["runs.db"]


def test_a_file_is_upgraded_once_and_kept_as_it_was(typed: Any, path: Path) -> None:
    assert typed("upgrade")[:2] == (0, f"sqlite:///{path} has schema {VERSION} now, upgraded from 1.\n")
    assert typed("upgrade")[:2] == (0, f"sqlite:///{path} has schema {VERSION} already.\n")
    assert json.loads(typed("upgrade", "-o", "json")[1])["before"] == VERSION
    assert "schema 1, this" in typed("check", store=f"sqlite:///{path}.schema-1")[1]
    assert f"schema {VERSION}, 5 runs" in typed("check")[1]


def test_a_freeze_is_told_until_it_ends(typed: Any, path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    typed("upgrade")
    assert main(["freeze", "--reason", "power cut", "--store", f"sqlite:///{path}"]) == 0
    capfd.readouterr()
    told = checks(typed("check", "-o", "json")[1])["freeze"]
    assert told["state"] == "warning"
    assert told["text"].endswith(
        "power cut. Nothing new is sent by any run of this store; servers under way go on. `ecsbatch thaw` ends it."
    )

    main(["thaw", "--store", f"sqlite:///{path}"])
    capfd.readouterr()
    assert "freeze" not in checks(typed("check", "-o", "json")[1])


def test_a_printed_upgrade_does_what_an_upgrade_does(typed: Any, path: Path) -> None:
    code, script, _ = typed("upgrade", "--print")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)

    assert code == 0
    assert typed("upgrade")[1] == f"sqlite:///{path} has schema {VERSION} already.\n"
    assert typed("upgrade", "--print")[1].startswith("-- Nothing to do: ")
    assert typed("upgrade", "--print", store=f"sqlite:///{path}.new")[1].splitlines()[0] == "BEGIN IMMEDIATE;"
    assert not path.with_name("runs.db.new").exists()


def test_no_upgrade_is_printed_for_a_newer_version(typed: Any, path: Path) -> None:
    typed("upgrade")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE ecsbatch SET value = '99' WHERE name = 'schema'")

    code, out, err = typed("upgrade", "--print")

    assert (code, out) == (1, "")
    assert "was written by a newer ecsbatch (schema 99" in err


def test_old_runs_are_named_first_and_deleted_when_that_is_said(typed: Any) -> None:
    code, out, _ = typed("prune", "--older-than", "1s", "-o", "json")
    would = json.loads(out)
    assert (code, would["deleted"]) == (0, False)

    code, out, _ = typed("prune", "--older-than", "1s")
    assert code == 0
    assert all(any(line.startswith(run) for line in out.splitlines()) for run in would["runs"])
    assert (
        "Nothing was deleted; this deletes them:\n  ecsbatch store prune --older-than 1s --yes --store sqlite:" in out
    )

    code, out, _ = typed("prune", "--older-than", "1s", "--yes")
    assert (code, out) == (0, f"{len(would['runs'])} runs deleted that ended longer ago than 1s.\n")
    assert typed("prune", "--older-than", "1s")[1] == "No run ended longer ago than 1s.\n"
    assert f"{5 - len(would['runs'])} runs" in typed("check")[1]


def test_young_runs_stay(typed: Any) -> None:
    assert typed("prune", "--older-than", "36500d", "--yes")[1] == "No run ended longer ago than 36500d.\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prune"], "needs an age: ecsbatch store prune --older-than 90d."),
        (["prune", "--older-than", "90"], "--older-than 90: give a duration with its unit"),
        (["check", "--yes"], "--yes belongs to ecsbatch store prune"),
        (["check", "--print"], "--print belongs to ecsbatch store upgrade"),
        (["upgrade", "--older-than", "1d"], "--older-than belongs to ecsbatch store prune"),
        (["mend"], 'Choose from: "check", "upgrade", "prune"'),
        (["prune", "--older_then", "1d"], "Did you mean --older-than?"),
    ],
)
def test_what_cannot_be_meant_is_refused(typed: Any, words: list[str], says: str) -> None:
    code, out, err = typed(*words)

    assert (code, out) == (2, "")
    assert says in err


def test_what_is_damaged_or_anothers_fails_a_check(typed: Any, path: Path) -> None:
    typed("upgrade")
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\x5a" * 4096 + whole[12288:])
    code, out, _ = typed("check")
    assert code == 1
    assert "failed     " in out

    with closing(sqlite3.connect(path.with_name("theirs.db"))) as connection:
        connection.execute("CREATE TABLE theirs (id)")
    theirs = f"sqlite:///{path.with_name('theirs.db')}"
    code, out, _ = typed("check", "-o", "json", store=theirs)
    assert (code, checks(out)["tables"]["state"]) == (1, "failed")
    assert typed("upgrade", store=theirs)[0] == 1
    assert typed("upgrade", "--print", store=theirs)[0] == 1

    path.with_name("text.db").write_text("no database, but longer than the header of one would be" * 9)
    code, out, _ = typed("check", store=f"sqlite:///{path.with_name('text.db')}")
    assert code == 1
    assert "is not a database" in " ".join(out.split())


def test_a_store_that_is_not_there_is_not_made(typed: Any, path: Path) -> None:
    code, out, _ = typed("check", store=f"sqlite:///{path.parent}/none/x.db")

    assert code == 0
    assert "the first run makes it" in " ".join(out.split())
    assert not (path.parent / "none").exists()


def test_a_check_finds_what_others_may_write(typed: Any, path: Path) -> None:
    path.chmod(0o666)

    code, out, _ = typed("check")

    assert code == 0
    assert "may be written by everybody" in " ".join(out.split())
