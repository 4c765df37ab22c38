"""A shell offers what only the store and the last plan know: runs, domains, zones and tags, and the forms of values."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ecsbatch.cli.app import main
from ecsbatch.cli.candidates import remember
from ecsbatch.config.settings import default_store
from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.run import Holder, NewRun
from ecsbatch.model.servers import Fleet, ServerView
from ecsbatch.store import open_store


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("ECSBATCH_STORE", "ECSBATCH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def offered(capsys: pytest.CaptureFixture[str], *typed: str) -> list[str]:
    """Return what a shell is offered for the last word, each with what it is."""
    main(["__complete", *typed])
    out, err = capsys.readouterr()
    assert err == ""
    return out.partition("\x1fbegin\n")[2].split("\n")[:-1]


async def begin(path: Path) -> str:
    url = f"sqlite:///{path / 'runs.db'}"
    async with open_store(url) as store:
        for run_id, zones in (("monday", ["az1", "az2"]), ("tuesday", ["az3", "az3"])):
            plan = Plan(fleet=Fleet([f"{run_id}-1", f"{run_id}-2"], zones), waves=(Wave(1, 0, 2, "2"),))
            new = NewRun(run_id, plan=plan.to_json(), fleet=plan.fleet, events=[ev.RunStarted(total=2)])
            await store.release(await store.create_run(new, Holder("ann@web", "web", 7, 0.0)))
    return url


def test_runs_and_their_domains_are_offered(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", asyncio.run(begin(home))]
    for command in ("status", "report", "watch", "explain", "audit", "pause", "abort", "resume"):
        told = offered(capsys, command, *store, "")
        assert told == ["tuesday\torphaned, 0 of 2", "monday\torphaned, 0 of 2"], command

    assert offered(capsys, "restart", "fleet.csv", *store, "--run-id", "")[0].startswith("tuesday\t")
    assert offered(capsys, "resume", "monday", *store, "--skip-domain", "") == ["az1", "az2"]
    assert offered(capsys, "resume", *store, "--skip-domain", "") == ["az3"]


def test_where_there_is_no_store_none_is_made_and_nothing_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered(capsys, "status", "") == []
    assert offered(capsys, "restart", "--tag", "") == []
    assert list(home.iterdir()) == []


def test_tags_and_zones_are_those_of_the_last_plan(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remember({"a": ServerView("a", az="az9", tags=("old=1",))}, default_store())
    views = {"a": ServerView("a", az="az2", tags=("app=web", "b")), "b": ServerView("b", tags=("app=web",))}
    remember(views, default_store())
    remember({"a": ServerView("a", az="az7")}, f"sqlite:///{home / 'another' / 'runs.db'}")

    assert offered(capsys, "restart", "--tag", "") == ["app=web", "b"]
    assert offered(capsys, "plan", "--az", "") == ["az2"]
    [kept] = (home / "state" / "ecsbatch").iterdir()
    assert offered(capsys, "plan", "--store", f"sqlite:///{home / 'another' / 'runs.db'}", "--az", "") == ["az7"]
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        (["restart", "--waves", ""], "20,domain"),
        (["plan", "--check", ""], "tcp:22"),
        (["servers", "--status", ""], "SHUTOFF"),
        (["report", "--outcome", ""], "timed_out"),
        (["resume", "--retry", ""], "not_started"),
        (["restart", "--skip-updated-since", ""], "22:00"),
    ],
)
def test_the_forms_of_values_are_offered(typed: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert word in offered(capsys, *typed)
