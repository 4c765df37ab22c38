"""``report -o html``: one file with the audit's verdict, by the command and by whoever writes one at a run's end."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from ecsbatch.cli.app import main
from ecsbatch.cli.html_report import write_html_report
from ecsbatch.config.settings import Strategy
from ecsbatch.errors import ConfigError
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Holder, NewRun, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.planning.strategy import make_plan
from ecsbatch.store import open_store

IDS = [f"{i}aaaaaaa-0000-4000-8000-00000000000{i}" for i in range(3)]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run of three servers, of which one has failed."""
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    monkeypatch.setenv("ECSBATCH_STORE", url)
    monkeypatch.chdir(tmp_path)
    asyncio.run(_fill(url))
    return url


async def _fill(url: str) -> None:
    plan = make_plan(Fleet(IDS, ["az1"] * 3, ["web-1", "web-2", "web-3"]), Strategy(waves="100%", max_failures=1))
    told = [
        ev.RunStarted(total=3, plan=plan.to_json()),
        ev.HolderChanged(holder="ann@desk", fence=1, limit=1000, window=60.0),
        ev.ServerFailed(IDS[0], 1, "az1", code="Ecs.0227"),
        ev.RunStopped("interrupted"),
    ]
    async with open_store(url) as opened:
        new = NewRun("night", plan=plan.to_json(), fleet=plan.fleet, events=told)
        lease = await opened.create_run(new, Holder("ann@desk", "desk", 7, since=0.0))
        await opened.commit(lease, Transaction(status=RunStatus.INTERRUPTED))
        await opened.release(lease)


@pytest.mark.usefixtures("store")
def test_a_report_is_one_file_for_its_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "night", "-o", "html", "--out", "r.html"]) == 0
    written = tmp_path / "r.html"
    text = written.read_text(encoding="utf-8")

    assert capsys.readouterr().out == ""
    assert written.stat().st_mode & 0o777 == 0o600
    assert text.startswith("<!doctype html>")
    assert "web-1 (0aaaaaaa-0000-4000-8000-000000000000)" in text
    assert "Audit of run night (interrupted)" in text
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.usefixtures("store")
def test_a_report_goes_to_a_pipe_and_never_to_a_terminal(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["report", "night", "-o", "html"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"<!doctype html>")

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["report", "night", "-o", "html"]) == 2
    out, err = capfdbinary.readouterr()
    assert (out, b"give it a file with --out report.html" in err) == (b"", True)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("only", [("--outcome", "failed"), ("--server", "web-1")])
def test_a_part_of_a_report_is_refused_with_what_does_that(
    only: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "night", "-o", "html", "--out", "r.html", *only]) == 2

    assert "leave --outcome and --server out, or take -o table, json or csv" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_whoever_has_the_store_open_can_write_one_too(store: str, tmp_path: Path) -> None:
    async def write(name: str, path: Path) -> None:
        async with open_store(store) as opened:
            await write_html_report(opened, name, path)

    asyncio.run(write("night", tmp_path / "end.html"))
    assert "begun by ann@desk" in (tmp_path / "end.html").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="nights"):
        asyncio.run(write("nights", tmp_path / "no.html"))
    assert not (tmp_path / "no.html").exists()
