"""Where one server is looked at, it may be named; where what was typed may be a run or a server, both are told."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from ecsbatch.cli.app import main
from ecsbatch.config.settings import Strategy
from ecsbatch.model.run import Holder, NewRun
from ecsbatch.model.servers import Fleet
from ecsbatch.planning.strategy import make_plan
from ecsbatch.store import open_store

IDS = [f"{i}aaaaaaa-0000-4000-8000-00000000000{i}" for i in range(3)]
NAMES = ["web-1", "web-2", "night"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two runs of three servers, of which the run that is not the latest is called as a server is."""
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    monkeypatch.setenv("ECSBATCH_STORE", url)
    asyncio.run(_fill(url))
    return url


async def _fill(url: str) -> None:
    async with open_store(url) as opened:
        for run_id, ids in (("night", ["f" + id_[1:] for id_ in IDS]), ("tonight", IDS)):
            plan = make_plan(Fleet(ids, names=NAMES), Strategy())
            new = NewRun(run_id, plan=plan.to_json(), fleet=plan.fleet)
            await opened.release(await opened.create_run(new, Holder("ann@desk", "desk", 7, since=0.0)))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("typed", [IDS[1], IDS[1].upper(), "web-2", "1aa"])
def test_explain_takes_a_servers_id_name_or_begin_of_its_id(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([typed], [typed, "tonight"], ["tonight", typed]):
        answer = told(capsys, "explain", *arguments, "-o", "json")
        assert (answer["run_id"], answer["server"], answer["name"]) == ("tonight", IDS[1], "web-2")


@pytest.mark.usefixtures("store")
def test_explain_takes_a_run_first_and_refuses_what_may_be_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "explain", "toni", "-o", "json")["server"] is None
    assert main(["explain", "night"]) == 2
    refused = capsys.readouterr().err
    assert f"'night' may be run night or server night ({IDS[2]}) of run tonight" in refused
    assert told(capsys, "explain", IDS[2], "tonight", "-o", "json")["name"] == "night"
    assert told(capsys, "explain", "", "night", "-o", "json")["run_id"] == "night"


def test_a_run_is_meant_though_several_servers_ids_begin_so(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def begin() -> None:
        async with open_store(store) as opened:
            plan = make_plan(Fleet([f"1{n}aaaaaa{IDS[1][8:]}" for n in range(2)]), Strategy())
            new = NewRun("1", plan=plan.to_json(), fleet=plan.fleet)
            await opened.release(await opened.create_run(new, Holder("ann@desk", "desk", 7, since=0.0)))

    asyncio.run(begin())

    answer = told(capsys, "explain", "1", "-o", "json")
    assert (answer["run_id"], answer["server"]) == ("1", None)


@pytest.mark.usefixtures("store")
def test_what_is_no_run_and_no_server_is_refused_with_the_way_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "web-9"]) == 2
    assert "No server of run tonight has 'web-9' as its id" in capsys.readouterr().err
    assert told(capsys, "explain", "0" * 8 + IDS[0][8:], "-o", "json")["cause"] == "not_of_run"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("typed", [IDS[1], "web-2", "1aa"])
def test_report_tells_of_one_server(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    servers = told(capsys, "report", "tonight", "--server", typed, "-o", "json")["servers"]
    assert [(server["id"], server["name"]) for server in servers] == [(IDS[1], "web-2")]

    assert main(["report", "tonight", "--server", typed, "-o", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["id"], row["name"]) for row in rows] == [(IDS[1], "web-2")]
    assert main(["report", "tonight", "--server", "web-9"]) == 2
