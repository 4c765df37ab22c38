"""A command that changes a run and was typed without one is about the latest, or refused where others can be meant."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typed_commands import Terminal

from ecsbatch.cli.flags import typed_again
from ecsbatch.cli.which_run import meant_by, others_lines
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.run import Holder, Lease, NewRun, RunRecord, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import DatabaseStore, open_store

HOLDER = Holder("ann@web", "web", 7, 0.0)
STOPPED: list[ev.Event] = [ev.RunStopped(status="stopped", reason="max_failures")]


def record(run_id: str, status: str, *, held: bool = False) -> RunRecord:
    return RunRecord(run_id, "rollout", 0.0, RunStatus(status), HOLDER, held, 1, 1, 20, {"restarted": 5}, "", {})


GOES, PAUSED = record("goes", "running", held=True), record("paused", "paused", held=True)
STANDS, GONE = record("stands", "stopped"), record("gone", "orphaned")
DONE, ABORTED = record("done", "succeeded"), record("aborted", "aborted")


@pytest.mark.parametrize(
    ("command", "newest_first", "meant"),
    [
        ("pause", [], []),
        ("pause", [GOES], [GOES]),
        ("pause", [GOES, STANDS, DONE, GONE], [GOES]),
        ("pause", [GOES, PAUSED], [GOES, PAUSED]),
        ("adjust", [DONE, GOES], [DONE, GOES]),
        ("promote", [DONE, STANDS], [DONE]),
        ("abort", [STANDS, DONE, ABORTED], [STANDS]),
        ("abort", [GOES, GONE], [GOES, GONE]),
        ("abort", [DONE, GONE], [DONE, GONE]),
        ("resume", [STANDS, GOES, DONE], [STANDS]),
        ("resume", [PAUSED, GONE], [PAUSED, GONE]),
        ("resume", [DONE, STANDS], [DONE, STANDS]),
        ("resume", [DONE, ABORTED], [DONE]),
    ],
)
def test_the_latest_is_meant_and_whatever_the_command_fits(
    command: str, newest_first: list[RunRecord], meant: list[RunRecord]
) -> None:
    """A latest run that has ended by now must not make an older one be the one that is changed."""
    assert meant_by(command, newest_first) == meant


def test_what_was_typed_is_typed_again() -> None:
    options = {"retry": "", "forgive": True, "skip_domain": ["az 1", "az2"], "max_failures": 0, "yes": False}

    assert typed_again(options) == " --forgive --skip-domain 'az 1' --skip-domain az2 --max-failures 0"


def test_only_so_many_runs_are_named() -> None:
    lines = others_lines([record(f"r{number}", "running", held=True) for number in range(12)], " --store u")

    assert lines[1] == "12 other runs go on:"
    assert lines[2] == "  ecsbatch status r0 --store u  running, 5 of 20, held by ann@web, pid 7"
    assert lines[-1] == "  and 4 more"


@contextmanager
def two_runs(path: Path, *, first: list[ev.Event], status: RunStatus) -> Iterator[str]:
    """Hold two runs in a store of their own; the first has come to these events."""

    async def begin(store: DatabaseStore, run_id: str) -> Lease:
        plan = Plan(fleet=Fleet([f"{run_id}-1"]), waves=(Wave(1, 0, 1, "1"),))
        new = NewRun(run_id, plan=plan.to_json(), fleet=plan.fleet, events=[ev.RunStarted(total=1)])
        return await store.create_run(new, Holder("ann@web", "web", os.getpid(), 0.0))

    async def begin_both(store: DatabaseStore) -> None:
        await store.__aenter__()
        lease = await begin(store, "earlier")
        if first:
            await store.commit(lease, Transaction(first, status=status))
            await store.release(lease)
        await begin(store, "later")

    url = f"sqlite:///{path / 'two.db'}"
    with asyncio.Runner() as runner:
        store = open_store(url)
        runner.run(begin_both(store))
        yield url
        runner.run(store.aclose())


def test_a_command_that_can_mean_two_runs_names_both_and_does_nothing(tmp_path: Path) -> None:
    with two_runs(tmp_path, first=[], status=RunStatus.RUNNING) as url:
        terminal = Terminal(tmp_path)
        refused = [
            terminal.begin(*words, "--store", url)
            for words in (["pause"], ["promote"], ["adjust", "--max-failures", "0"], ["abort", "--yes"])
        ]
        for process, typed in zip(refused, ("pause", "promote", "adjust", "abort"), strict=True):
            out, err = process.communicate(timeout=30)
            options = f"{' --max-failures 0' if typed == 'adjust' else ''} --store {url}"
            assert (process.returncode, out) == (7, "")
            assert f"  ecsbatch {typed} later{options}    starting, 0 of 1, held by ann@web, pid {os.getpid()}\n" in err
            assert f"  ecsbatch {typed} earlier{options}  starting, 0 of 1" in err
            assert f"ecsbatch: 2 runs can be meant, and {typed} was typed without one: nothing was done.\n" in err
        told = json.loads(terminal.type("status", "--store", url, "-o", "json").stdout)
        shown = terminal.type("status", "--store", url).stdout
        held, let = (terminal.type(verb, "later", "--store", url).stderr for verb in ("resume", "promote"))
        terminal.end()

    assert (told["run_id"], told["status"]) == ("later", "running")
    assert told["others"] == [{"run_id": "earlier", "status": "running", "standing": "starting"}]
    assert f"Another run goes on:\n  ecsbatch status earlier --store {url}  starting, 0 of 1" in shown
    assert "Run later stands as starting and is held by ann@web" in held
    assert "Run later stands at no hold: it is starting." in let


def test_resume_takes_no_older_run_for_one_that_is_over(tmp_path: Path) -> None:
    with two_runs(tmp_path, first=STOPPED, status=RunStatus.STOPPED) as url:
        terminal = Terminal(tmp_path)
        paused = terminal.type("resume", "--retry", "failed", "--store", url)
        named = terminal.type("status", "earlier", "--store", url)
        terminal.end()

    assert paused.returncode == 7
    assert f"  ecsbatch resume earlier --retry failed --store {url}  stopped, 0 of 1\n" in paused.stderr
    assert "Another run goes on:\n  ecsbatch status later" in named.stdout


def test_runs_and_status_count_alike_while_failures_wait_to_be_tried_again(tmp_path: Path) -> None:
    again: list[ev.Event] = [
        ev.WaveStarted(wave=1, servers=1),
        ev.BatchSubmitting(batch=1, servers=["earlier-1"], updated=[""], wave=1),
        ev.ServerFailed(server="earlier-1", batch=1),
        ev.RunResumed(retry=["failed"], keeps_outcomes=True),
        *STOPPED,
    ]
    with two_runs(tmp_path, first=again, status=RunStatus.STOPPED) as url:
        terminal = Terminal(tmp_path)
        listed = json.loads(terminal.type("runs", "--store", url, "-o", "json").stdout)["runs"]
        told = json.loads(terminal.type("status", "earlier", "--store", url, "-o", "json").stdout)
        terminal.end()

    assert told["failed"] == 1
    assert [row["counts"] for row in listed if row["run_id"] == "earlier"] == [{"failed": 1}]
