"""A record that was edited behind ecsbatch's back: `audit` names the edit, and nothing ends in a traceback."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ecsbatch import Strategy
from ecsbatch.cli.app import main
from ecsbatch.errors import RecordEdited
from ecsbatch.simulator.virtual_time import Killed
from ecsbatch.store import MemoryDatabase
from ecsbatch.store.packing import unpacked
from ecsbatch.testing import World

OVER, KILLED = "over", "killed"
TWICE = (
    "INSERT INTO journal SELECT run_id, seq_last + 1, seq_last + 1, ts, lines, hash FROM journal "
    "WHERE run_id = 'over' ORDER BY seq_last DESC LIMIT 1"
)


@pytest.fixture(scope="module")
def lived() -> Generator[MemoryDatabase]:
    """Return a store with a run that has succeeded, one whose process was killed, and single restarts."""
    with World(60) as world:

        async def life() -> None:
            async with world.restarter() as restarter:
                await restarter.rollout(world.ids[:20], Strategy(max_unavailable="50%"), run_id=OVER).run()
                await asyncio.gather(*map(restarter.restart, world.ids[20:25]))

        async def killed() -> None:
            async with world.restarter() as restarter:
                await restarter.rollout(world.ids[30:50], Strategy(max_unavailable="10%"), run_id=KILLED).run()

        world.run(life)
        with pytest.raises(Killed):
            world.run(killed, kill_after=200)
        yield world.database


class Store:
    """A copy of that store in a file, which somebody edits."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._path = path
        self._capsys = capsys

    def edit(self, *statements: str) -> None:
        """Edit it as anybody can who may write the file."""
        with closing(sqlite3.connect(self._path)) as connection:
            connection.create_function("unpacked", 1, lambda stored: unpacked(stored).decode())
            for statement in statements:
                assert connection.execute(statement).rowcount, statement
            connection.commit()

    def ask(self, *words: str) -> tuple[int, str]:
        """Type a command; return its code and what it printed."""
        code = main([*words, "--store", f"sqlite:///{self._path}"])
        printed = self._capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    def receipt(self, run: str, *words: str) -> dict[str, Any]:
        """Return an audit's receipt."""
        code, printed = self.ask("audit", run, "-o", "json", *words)
        assert printed.startswith("{"), (code, printed)
        told: dict[str, Any] = json.loads(printed)
        return told


@pytest.fixture
def store(lived: MemoryDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Store:
    with closing(sqlite3.connect(tmp_path / "restarts.db")) as copy:
        lived.connection.backup(copy)
    return Store(tmp_path / "restarts.db", capsys)


@pytest.mark.parametrize("run", [OVER, KILLED])
def test_a_record_that_nobody_has_edited_is_proved(store: Store, run: str) -> None:
    receipt = store.receipt(run)

    assert (receipt["ok"], receipt["findings"], receipt["notes"]) == (True, [], [])
    assert (receipt["chain"]["since"], receipt["chain"]["breach"]) == (1, "")
    assert store.ask("audit", run)[0] == 0
    assert f"head {receipt['chain']['head']}" in store.ask("audit", run)[1]


@pytest.mark.parametrize(
    ("edit", "rule", "says"),
    [
        (
            "UPDATE journal SET lines = replace(unpacked(lines), 'az1', 'az2') WHERE run_id = 'over'",
            "chain",
            "is not as it was",
        ),
        ("DELETE FROM journal WHERE run_id = 'over' AND seq_first = 1", "chain", "is not as it was written"),
        ("UPDATE runs SET counts = '{\"restarted\":21}'", "record", "has counted the outcomes {'restarted': 21}"),
        (
            "UPDATE runs SET seq = 9, counts = '{\"restarted\":9}' WHERE run_id = 'over'",
            "record",
            "counted 9 events, and",
        ),
        ("UPDATE runs SET status = 'failed' WHERE run_id = 'over'", "record", "says failed, and by its events"),
        ("UPDATE runs SET plan = '{}' WHERE run_id = 'over'", "record", "plan is not the one"),
        ("UPDATE runs SET plan = '{}' WHERE run_id = 'over'", "chain", "The plan or the list of servers"),
        ("UPDATE runs SET targets_hash = 'x' WHERE run_id = 'over'", "targets", "The list of servers is not"),
        ("UPDATE journal SET hash = '' WHERE run_id = 'over'", "chain", "without a hash"),
    ],
)
def test_an_edit_is_found_and_named(store: Store, edit: str, rule: str, says: str) -> None:
    store.edit(edit)
    code, printed = store.ask("audit", OVER)

    assert code == 1
    assert (" head " in printed) == ("chain" not in store.receipt(OVER)["breaches"]), (
        "an edit's head is not to be noted"
    )
    assert any(says in each["text"] for each in store.receipt(OVER)["findings"] if each["rule"] == rule), printed


@pytest.mark.parametrize(
    "edit",
    [
        "DELETE FROM journal WHERE run_id = 'over'",
        "UPDATE journal SET lines = 'nonsense' WHERE run_id = 'over'",
        "UPDATE journal SET lines = replace(unpacked(lines), '\"over\"', '\"other\"') WHERE run_id = 'over'",
    ],
)
def test_an_audit_names_its_run_whatever_became_of_the_record(store: Store, edit: str) -> None:
    store.edit(edit)

    assert store.receipt(OVER)["run_id"] == OVER
    assert store.ask("audit", OVER)[1].startswith("Audit of run over (")


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("DELETE FROM claims WHERE run_id = 'killed'", "does not have 20 servers of its own: others may take them"),
        ("UPDATE claims SET run_id = 'other' WHERE run_id = 'killed'", "does not have 20 servers of its own"),
        (
            "INSERT INTO claims VALUES ('', 'mine', 'killed')",
            "has 1 server that it was not made of. The first is mine.",
        ),
    ],
)
def test_claims_that_are_not_the_runs_servers_are_found(store: Store, edit: str, says: str) -> None:
    store.edit(edit)
    findings = store.receipt(KILLED)["findings"]

    assert [each["rule"] for each in findings] == ["claims"]
    assert says in findings[0]["text"]


# -- heads -------------------------------------------------------------------------------------------------------------


def test_the_head_of_a_record_stands_for_it(store: Store) -> None:
    head = store.receipt(OVER)["chain"]["head"]

    assert store.ask("audit", OVER, "--head", head.upper())[0] == 0
    code, printed = store.ask("audit", KILLED, "--head", head)
    assert code == 1
    assert "The head that was given is none of this record's" in printed


def test_who_cuts_the_end_off_with_what_tells_of_it_is_found_by_the_head(store: Store) -> None:
    head = store.receipt(OVER)["chain"]["head"]
    end = "(SELECT max(seq_last) FROM journal WHERE run_id = 'over')"
    store.edit(
        f"DELETE FROM journal WHERE run_id = 'over' AND seq_last = {end}",  # noqa: S608  # our own words
        f"UPDATE runs SET seq = {end}, status = 'running' WHERE run_id = 'over'",  # noqa: S608  # our own words
    )

    assert "chain" not in store.receipt(OVER)["breaches"]
    assert store.receipt(OVER, "--head", head)["breaches"]["chain"] == 1


def test_a_head_that_was_noted_earlier_stands_for_what_was_before(store: Store, lived: MemoryDatabase) -> None:
    noted, seq = lived.connection.execute(
        "SELECT hash, seq_last FROM journal WHERE run_id = 'over' ORDER BY seq_last"
    ).fetchone()
    receipt = store.receipt(OVER, "--head", noted)

    assert receipt["ok"]
    assert receipt["notes"] == [f"The head that was given stands for the events up to {seq}; the others came later."]


@pytest.mark.parametrize("head", ["abc", "g" * 64, "0" * 65])
def test_what_is_no_head_is_refused(store: Store, head: str) -> None:
    code, printed = store.ask("audit", OVER, "--head", head)

    assert code == 2
    assert "give all 64 of its digits and letters a to f" in printed


# -- what cannot be read any more --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["status", "report", "explain"])
def test_a_line_that_is_no_event_any_more_leads_to_the_audit(store: Store, command: str) -> None:
    store.edit("UPDATE journal SET lines = 'nonsense' WHERE run_id = 'over' AND seq_first = 1")
    code, printed = store.ask(command, OVER)

    assert code == 1
    assert "`ecsbatch audit over` says what else was edited" in printed


def test_one_edited_record_hides_no_other_run(store: Store) -> None:
    store.edit("UPDATE journal SET lines = 'nonsense' WHERE run_id = 'killed' AND seq_first = 1")
    code, printed = store.ask("runs")

    assert code == 0
    assert "over " in printed.partition("ecsbatch: warning:")[0]
    assert "`ecsbatch audit killed` says what else was edited" in printed


_IN_LINES = "UPDATE journal SET lines = replace(unpacked(lines), {}) WHERE run_id = 'killed'"
CUT_OFF = "it ends with event"
OF_ANOTHER = "speaks of what that run does not have"


@pytest.mark.parametrize("command", ["status", "explain", "runs"])
@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("UPDATE targets SET servers = x'ff00' WHERE run_id = 'killed'", "The list of servers of run killed was not"),
        (_IN_LINES.format("""'"servers":[', '"servers":["x",'"""), OF_ANOTHER),
        (_IN_LINES.format("""'"servers":[', '"servers":[7,'"""), OF_ANOTHER),
        (_IN_LINES.format("""'"batch":', '"batch":99999999'"""), OF_ANOTHER),
        (_IN_LINES.format("""'"batch":', '"batch":-'"""), OF_ANOTHER),
        ("DELETE FROM journal WHERE run_id = 'killed' AND seq_first > 3", CUT_OFF),
        ("DELETE FROM journal WHERE run_id = 'killed'", CUT_OFF),
    ],
)
def test_a_record_that_is_not_its_runs_is_an_error_and_hides_no_other_run(
    store: Store, command: str, edit: str, says: str
) -> None:
    store.edit(edit)
    code, printed = store.ask(command, *([] if command == "runs" else [KILLED]))

    assert code == (0 if command == "runs" else 1)
    assert says in printed
    assert "restore the store from a copy of before" in printed
    assert ("`ecsbatch audit killed` says" in printed) == ("targets" not in edit)


@pytest.mark.parametrize("command", ["audit", "status", "runs", "report", "explain"])
@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("UPDATE runs SET plan = 'nonsense'", "was not written by ecsbatch and cannot be read"),
        ("UPDATE runs SET counts = x'ff00'", "was not written by ecsbatch and cannot be read"),
        ("UPDATE runs SET created_at = 'x'", "was not written by ecsbatch and cannot be read (created_at is 'x')"),
        ("UPDATE runs SET since = 9e999", "was not written by ecsbatch and cannot be read (since is inf)"),
        ("UPDATE runs SET seq = -1", "was not written by ecsbatch and cannot be read (seq is -1)"),
        ("UPDATE runs SET holder = x'ff'", "was not written by ecsbatch and cannot be read (holder is b'"),
        ("UPDATE runs SET counts = '[1]'", "was not written by ecsbatch and cannot be read"),
        ('UPDATE runs SET counts = \'{"restarted":"x"}\'', "was not written by ecsbatch and cannot be read"),
        ("UPDATE runs SET status = CAST(x'ff' AS TEXT)", "holds what is no text"),
        ("UPDATE runs SET status = 'fine'", "was not written by ecsbatch and cannot be read"),
        (
            "UPDATE targets SET servers = x'ff00' WHERE run_id = 'over'",
            "The list of servers of run over was not written by ecsbatch",
        ),
        (
            "UPDATE targets SET servers = 'text' WHERE run_id = 'over'",
            "The list of servers of run over was not written by ecsbatch",
        ),
    ],
)
def test_what_cannot_be_read_is_an_error_with_a_way_on(store: Store, command: str, edit: str, says: str) -> None:
    store.edit(edit)
    code, printed = store.ask(command, *([] if command == "runs" else [OVER]))

    if command == "runs" and "targets" in edit:
        assert code == 0
    else:
        assert (code, says in printed) == (1, True), printed
        assert "restore the store from a copy of before" in printed


@pytest.mark.parametrize("command", ["status", "report", "explain"])
def test_a_plan_that_is_none_any_more_leads_to_the_audit(store: Store, command: str) -> None:
    store.edit("UPDATE runs SET plan = '{}' WHERE run_id = 'over'")
    code, printed = store.ask(command, OVER)

    assert code == 1
    assert "The plan of run over was not written by ecsbatch and cannot be read" in printed


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE journal SET lines = 'nonsense' WHERE run_id = 'over' AND seq_first = 1",
        "UPDATE journal SET seq_first = 1000000000, seq_last = 1000000000 WHERE run_id = 'over' AND seq_first = 1",
        "UPDATE journal SET seq_first = 'x' WHERE run_id = 'over' AND seq_first = 1",
        "UPDATE journal SET seq_last = 'x' WHERE run_id = 'over' AND seq_first = 1",
        "UPDATE journal SET lines = replace(unpacked(lines), '\"seq\":1,', '\"seq\":\"1\",') WHERE run_id = 'over'",
        "DELETE FROM journal WHERE run_id = 'over' AND seq_first > 1 AND seq_first < 20",
        TWICE,
    ],
)
def test_an_audit_of_an_edited_journal_comes_to_an_end(store: Store, edit: str) -> None:
    store.edit(edit)

    assert "chain" in store.receipt(OVER)["breaches"]


@pytest.mark.parametrize("command", ["status", "report", "explain"])
def test_a_record_with_an_event_twice_comes_to_an_end(store: Store, command: str) -> None:
    store.edit(TWICE)
    code, printed = store.ask(command, OVER)

    assert code == 1
    assert "`ecsbatch audit over` says what else was edited" in printed


# -- what must not be gone on with -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        "DELETE FROM journal WHERE run_id = 'killed' AND seq_last > 3",
        "UPDATE runs SET seq = seq - 1 WHERE run_id = 'killed'",
    ],
)
def test_a_run_whose_last_events_are_not_the_ones_that_were_counted_is_not_gone_on_with(
    lived: MemoryDatabase, edit: str
) -> None:
    with World(60) as world:
        lived.connection.backup(world.database.connection)
        world.database.connection.execute(edit)

        async def goes_on() -> None:
            async with world.restarter() as restarter:
                await (await restarter.resume(KILLED)).run()

        with pytest.raises(RecordEdited, match=r"was edited: it ends with event .* Nothing is sent"):
            world.run(goes_on)


def test_a_run_of_which_an_event_speaks_of_others_is_not_gone_on_with(lived: MemoryDatabase) -> None:
    with World(60) as world:
        connection = world.database.connection
        lived.connection.backup(connection)
        connection.create_function("unpacked", 1, lambda stored: unpacked(stored).decode())
        connection.execute(_IN_LINES.format("""'"servers":[', '"servers":["x",'"""))

        async def goes_on() -> None:
            async with world.restarter() as restarter:
                await (await restarter.resume(KILLED)).run()

        with pytest.raises(RecordEdited, match=OF_ANOTHER):
            world.run(goes_on)
