"""Every judge can speak: small tales told by hand, each with one promise broken, and the same ones without."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import orjson
import pytest

from ecsbatch.errors import RunConflict
from ecsbatch.model.events import BatchAccepted
from ecsbatch.model.outcome import Outcome, OutcomeKind
from ecsbatch.model.run import Holder, NewRun, Transaction
from ecsbatch.simulator.cloud import Exchange, Reply
from ecsbatch.simulator.faults import Fate
from ecsbatch.simulator.gateway import ReceivedRequest
from ecsbatch.store import open_store

from . import three_batches
from .allowed import judge_course
from .callers import judge_callers
from .checker import judge_once
from .evidence import Case, gather
from .outcomes import judge_outcomes
from .play import End, Frozen, Record, Told
from .remains import judge_chain, judge_claims, judge_places
from .run_log import Fact, RunLog
from .sight import unseen_for
from .witnesses import Begun, Foreign, Ordered, Sent, WatchedCloud, WatchedDatabase
from .words import judge_words
from .world import Ask

WORLD: Final = three_batches.world()
IDS: Final = tuple(server for server, _ in WORLD.runs[0].servers)
ONE, TWO = IDS[:2]
ZONE: Final = dict(WORLD.runs[0].servers)
PLAN: Final[dict[str, Any]] = {
    "waves": [{"number": 1, "start": 0, "end": 2}, {"number": 2, "start": 2, "end": 6}],
    "max_unavailable": 4,
    "max_failures": 6,
    "server_timeout": 30.0,
    "soak": 5.0,
    "hold_after": [1],
    "gate": "./fine",
}
RUN: Final = "run-3"

Entry = tuple[float, str, dict[str, Any]]
BEGIN: Final[list[Entry]] = [
    (0.0, "run.started", {"plan": PLAN}),
    (0.0, "holder.changed", {"holder": "life-0-0"}),
    (0.0, "wave.started", {"wave": 1}),
]


def tale(*entries: Entry, status: str = "running", kind: str = "rollout") -> RunLog:
    """Tell a run; every event has a commit of its own, and the tick of its second."""
    begin = BEGIN if kind == "rollout" else BEGIN[1:2]
    facts = [
        Fact(_tick(at) + number, at, number, name, {"seq": number, **body})
        for number, (at, name, body) in enumerate([*begin, *entries], 1)
    ]
    rollout = kind == "rollout"
    told = RunLog(RUN if rollout else "d1", status, kind, facts, IDS if rollout else (), ZONE if rollout else {})
    told.read()
    assert told.broken == []
    return told


def _tick(at: float) -> int:
    return round(at * 1000)


def case(*tales: RunLog, sends: tuple[Sent, ...] = ()) -> Case:
    """Put a tale and what the cloud saw together."""
    ticks = itertools.count(1)
    cloud = WatchedCloud(WORLD.cloud, ticks, WORLD.longest)
    cloud.sends += sends
    cloud.now = lambda: 1000.0
    return gather(Record(WORLD, cloud, WatchedDatabase(ticks)), {each.run_id: each for each in tales})


def left(at: float, *servers: str, begun: float | None = None, ends: float = 0.0, ending: str = "ok") -> Sent:
    """Return a request that left, and began all its restarts at once."""
    starts = [] if begun is None else [Begun(server, begun, ends, ending) for server in servers]
    return Sent(_tick(at) + 500, at, servers, ReceivedRequest("POST", "", "", {}, b""), begun, starts)


def submitting(at: float, batch: int, *servers: str, wave: int = 1) -> Entry:
    known = ["2026-01-01T00:00:00Z"] * len(servers)
    return at, "batch.submitting", {"batch": batch, "servers": list(servers), "wave": wave, "updated": known}


def accepted(at: float, batch: int) -> Entry:
    return at, "batch.accepted", {"batch": batch}


def ended(at: float, kind: str, server: str, **body: Any) -> Entry:
    return at, f"server.{kind}", {"server": server, **body}


def rejected(at: float, batch: int) -> Entry:
    return at, "batch.rejected", {"batch": batch}


def unstarted(at: float, batch: int, *servers: str) -> Entry:
    return at, "batch.unstarted", {"batch": batch, "servers": list(servers)}


def resumed(at: float, **body: Any) -> Entry:
    return at, "run.resumed", body


def finished(at: float, status: str, **counts: int) -> Entry:
    return at, "run.finished", {"status": status, "counts": counts}


def ordered(at: float, command: str) -> Ordered:
    return Ordered(_tick(at) + 900, at, 0, RUN, {"command": command}, 1)


def first(found: Iterator[str]) -> str:
    """Return which promise the first sentence names, "" for none."""
    return next(found, "").partition(":")[0]


# -- what somebody asked for -------------------------------------------------------------------------------------------

PAUSED: Final[Entry] = (2, "run.paused", {"reason": "paused"})
OUT: Final = resumed(3, skip_domains=[ZONE[ONE]])


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([submitting(1, 1, ONE), rejected(2, 1), OUT, submitting(4, 2, ONE)], "left out"),
        ([submitting(1, 1, ONE), OUT, unstarted(4, 1, ONE), submitting(5, 2, ONE)], "left out"),
        ([submitting(1, 1, ONE), rejected(2, 1), OUT, submitting(4, 2, TWO)], ""),
        ([(1, "run.aborting", {}), submitting(2, 1, ONE)], "over"),
        ([(1, "run.aborting", {}), (2, "holder.changed", {}), resumed(2), submitting(3, 1, ONE)], "over"),
        ([(1, "run.stopped", {}), submitting(1, 1, ONE)], "over"),
        ([(1, "run.stopped", {}), (2, "holder.changed", {}), submitting(3, 1, ONE)], ""),
        ([(1, "run.paused", {}), submitting(1, 1, ONE)], "over"),
        ([(1, "run.paused", {}), resumed(2), submitting(3, 1, ONE)], ""),
    ],
)
def test_the_journal_keeps_the_word(entries: list[Entry], expected: str) -> None:
    assert first(judge_words(case(tale(*entries)))) == expected


@pytest.mark.parametrize(
    ("asked", "entries", "expected"),
    [
        ([(1, "pause")], [submitting(9, 1, ONE)], "words"),
        ([(1, "pause")], [submitting(2, 1, ONE), PAUSED], ""),
        ([(1, "pause")], [submitting(2, 1, ONE)], "words"),
        ([(1, "pause")], [PAUSED, resumed(3), submitting(9, 1, ONE)], "words"),
        ([(1, "pause"), (3, "resume")], [submitting(9, 1, ONE)], ""),
        ([(1, "resume"), (1.3, "pause")], [submitting(9, 1, ONE)], "words"),
        ([(1, "pause"), (1.3, "resume")], [(1.5, "run.paused", {"reason": "paused"})], "words"),
        ([(1, "pause"), (1.3, "resume")], [(1.5, "run.paused", {"reason": "max_failures"})], ""),
        ([(1, "pause")], [(0.5, "run.aborting", {}), (0.6, "holder.changed", {}), resumed(0.6)], ""),
        ([(1, "abort")], [submitting(9, 1, ONE)], "words"),
        ([(1, "abort")], [(2, "holder.changed", {}), resumed(2), submitting(9, 1, ONE)], "abort"),
        ([(1, "abort")], [(2, "holder.changed", {}), resumed(2), finished(5, "failed")], ""),
    ],
)
def test_the_last_word_holds(asked: list[tuple[float, str]], entries: list[Entry], expected: str) -> None:
    played = case(tale(*entries))
    played.record.commands += [ordered(at, word) for at, word in asked]
    played.record.ends += [End(0, RUN, RuntimeError(), doomed=False, at=100.0)]

    assert first(judge_words(played)) == expected


@pytest.mark.parametrize(("life", "expected"), [(0, "words"), (1, "")])
def test_who_has_died_hears_no_word_and_its_successor_only_once_it_has_the_run(life: int, expected: str) -> None:
    played = case(tale(submitting(9, 1, ONE)))
    played.record.commands += [replace(ordered(1, "pause"), life=life)]
    played.record.ends += [End(life, RUN, RuntimeError(), doomed=False, at=100.0)]

    assert first(judge_words(played)) == expected


def test_an_abort_that_nobody_followed_is_found_in_the_end() -> None:
    played = case(tale((50.0, "run.finished", {"status": "failed"}), status="failed"))
    played.record.commands += [ordered(1, "abort")]

    assert first(judge_words(played)) == "abort"


def test_a_process_that_stands_still_hears_nothing() -> None:
    played = case(tale(submitting(9, 1, ONE)))
    played.record.commands += [ordered(1, "pause")]
    played.record.freezes += [Frozen(0, 2.0, 8.0)]

    assert first(judge_words(played)) == ""


@pytest.mark.parametrize(
    ("entries", "returned", "expected"),
    [
        ([submitting(1, 1, ONE), (2, "run.stopped", {})], 100.0, "over"),
        ([submitting(1, 1, ONE)], 2.0, "over"),
        ([submitting(1, 1, ONE)], 100.0, ""),
    ],
)
def test_no_request_leaves_behind_the_end(entries: list[Entry], returned: float, expected: str) -> None:
    played = case(tale(*entries), sends=(left(3, ONE),))
    played.record.ends += [End(0, RUN, RuntimeError(), doomed=False, at=returned)]

    assert first(judge_words(played)) == expected


# -- the course --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([("hold", "go"), ("./fine", "go")], ""),
        ([("hold", "wait"), ("./fine", "go")], "waves"),
        ([("hold", "go"), ("./fine", "wait")], "waves"),
        ([("hold", "go"), ("./fine", "inconclusive")], "waves"),
    ],
)
def test_no_wave_begins_without_its_words(entries: list[tuple[str, str]], expected: str) -> None:
    checks: list[Entry] = [
        (8, "gate.checked", {"gate": gate, "verdict": verdict, "wave": 2}) for gate, verdict in entries
    ]
    told = tale((2, "wave.finished", {"wave": 1}), *checks, (8, "wave.started", {"wave": 2}))

    assert first(judge_course(case(told))) == expected


@pytest.mark.parametrize(("began", "expected"), [(6, "waves"), (7, "")])
def test_a_wave_soaks(began: float, expected: str) -> None:
    go: list[Entry] = [(3, "gate.checked", {"gate": gate, "verdict": "go", "wave": 2}) for gate in ("hold", "./fine")]
    told = tale((2, "wave.finished", {"wave": 1}), *go, (began, "wave.started", {"wave": 2}))

    assert first(judge_course(case(told))) == expected


def test_a_left_out_server_holds_up_no_wave() -> None:
    out = resumed(1, skip_domains=[ZONE[ONE], ZONE[TWO]])
    third = next(server for server in IDS[2:] if ZONE[server] not in {ZONE[ONE], ZONE[TWO]})
    told = tale(out, submitting(2, 1, third, wave=2))

    assert first(judge_course(case(told))) == ""


def test_a_server_is_sent_again_twice_at_most() -> None:
    again = [
        entry
        for batch in (1, 2, 3, 4)
        for entry in (submitting(batch * 10, batch, ONE), unstarted(batch * 10 + 9, batch, ONE))
    ]

    assert (first(judge_once(case(tale(*again)))), first(judge_once(case(tale(*again[:6]))))) == ("once", "")


# -- outcomes ----------------------------------------------------------------------------------------------------------


def test_a_run_that_left_servers_out_has_not_succeeded() -> None:
    out = resumed(1, skip_domains=list(set(ZONE.values())))
    played = {
        status: case(tale(out, finished(2, status, not_started=6), status=status)) for status in ("succeeded", "failed")
    }

    assert {status: first(judge_outcomes(each)) for status, each in played.items()} == {
        "succeeded": "left out",
        "failed": "",
    }


SENT_ONE: Final = [submitting(1, 1, ONE), accepted(2, 1)]
UNANSWERED: Final = [submitting(1, 1, ONE), (2.0, "batch.unknown", {"batch": 1})]
UP_BY_STATE: Final = ended(40, "restarted", ONE, evidence="state")


@pytest.mark.parametrize(
    ("end", "ends", "expected"),
    [
        (ended(40, "timed_out", ONE, holds=True), 50.0, ""),
        (ended(40, "timed_out", ONE, holds=True), 30.0, "outcome"),
        (ended(40, "unknown", ONE, reason="no_trace"), 30.0, "outcome"),
        (ended(40, "unknown", ONE, reason="cloud_unreachable"), 30.0, "outcome"),
        (ended(40, "restarted", ONE), 30.0, ""),
    ],
)
def test_outcomes_are_what_the_cloud_did(end: Entry, ends: float, expected: str) -> None:
    """A server that has been up at every look is not timed out; a cloud that nobody has asked is not out of sight."""
    played = case(tale(*SENT_ONE, end), sends=(left(1, ONE, begun=1.5, ends=ends),))

    assert first(judge_outcomes(played)) == expected


@pytest.mark.parametrize(
    ("entries", "theirs", "begun", "expected"),
    [
        (UNANSWERED, (10.0, 20.0), 50.0, ""),
        (UNANSWERED, None, 50.0, "outcome"),
        (UNANSWERED, (0.5, 20.0), 50.0, "outcome"),
        (UNANSWERED, (30.0, 45.0), 50.0, "outcome"),
        (UNANSWERED, (10.0, 20.0), 30.0, "outcome"),
        (SENT_ONE, (10.0, 20.0), 50.0, "outcome"),
        (SENT_ONE, (10.0, 20.0), 1.5, ""),
        (SENT_ONE, (10.0, 45.0), 1.5, "outcome"),
    ],
    ids=[
        "behind ours",
        "nobody else",
        "before ours",
        "not over",
        "ours was to be seen",
        "ours was answered",
        "has put ours right",
        "is putting ours right",
    ],
)
def test_somebody_elses_restart_is_taken_for_ours_only_where_ours_is_not_to_be_seen(
    entries: list[Entry], theirs: tuple[float, float] | None, begun: float, expected: str
) -> None:
    """A request without an answer may begin late; `three_batches` gives looks three seconds to be answered."""
    played = case(tale(*entries, UP_BY_STATE), sends=(left(1, ONE, begun=begun, ends=60.0),))
    if theirs is not None:
        played.record.foreign.append(Foreign(ONE, *theirs))

    assert first(judge_outcomes(played)) == expected


@pytest.mark.parametrize(
    ("answer", "theirs", "lag", "expected"),
    [
        (rejected(2, 1), 1.5, 0.0, ""),
        (rejected(2, 1), 0.5, 0.0, "outcome"),
        (rejected(2, 1), 0.5, 0.4, ""),
        (rejected(2, 1), 0.3, 0.4, "outcome"),
        ((2.0, "batch.unknown", {"batch": 1}), 0.5, 0.0, ""),
    ],
    ids=["behind a refusal", "seen before a refusal", "not seen yet", "seen late", "without an answer"],
)
@pytest.mark.parametrize("outcome", ["restarted", "failed"])
def test_what_was_seen_under_way_before_a_refused_request_is_not_by_it(
    outcome: str, answer: Entry, theirs: float, lag: float, expected: str
) -> None:
    begun = (3.0, "batch.started", {"batch": 1, "servers": [ONE]})
    again = [begun] if answer[1] == "batch.rejected" else []
    played = case(tale(submitting(1, 1, ONE), answer, *again, ended(40, outcome, ONE, reason="", evidence="check")))
    played.record.world = replace(WORLD, cloud=replace(WORLD.cloud, task_state_lag=lag))
    played.record.foreign.append(Foreign(ONE, theirs, 30.0))
    looks(played.record.cloud, 0.8, status=200, reply=Reply(200, b'{"servers":[]}'), query=f"server_id={ONE}")

    assert first(judge_outcomes(played)) == expected


@pytest.mark.parametrize(
    ("kind", "theirs", "expected"), [("direct", 1.5, ""), ("direct", 0.5, "outcome"), ("rollout", 1.5, "outcome")]
)
def test_another_run_may_have_restarted_a_server_in_between_only_where_it_restarts_single_ones(
    kind: str, theirs: float, expected: str
) -> None:
    begun = (5.0, "batch.started", {"batch": 1, "servers": [ONE]})
    ours = tale(submitting(1, 1, ONE), rejected(2, 1), begun, ended(40, "restarted", ONE, evidence="state"))
    other = tale(submitting(0.1, 1, ONE), accepted(4, 1), ended(30, "restarted", ONE), kind=kind)
    for each in (other, *other.intents.values(), *other.rounds):
        each.run_id = "other"
    played = case(ours, other, sends=(left(0.4, ONE, begun=theirs, ends=20.0),))
    looks(played.record.cloud, 0.8, status=200, reply=Reply(200, b'{"servers":[]}'), query=f"server_id={ONE}")

    assert first(judge_outcomes(played)) == expected


@pytest.mark.parametrize(
    ("code", "job", "fault", "at", "expected"),
    [
        ("", "j", "garbage", 20.0, ""),
        ("", "j", "", 20.0, "outcome"),
        ("", "k", "garbage", 20.0, "outcome"),
        ("", "j", "garbage", 41.0, "outcome"),
        ("Ecs.0227", "j", "garbage", 20.0, "outcome"),
    ],
)
def test_a_failure_without_a_code_was_told_by_a_garbled_answer_about_its_job(
    code: str, job: str, fault: str, at: float, expected: str
) -> None:
    known = (2.0, "batch.accepted", {"batch": 1, "job_id": job})
    played = case(tale(SENT_ONE[0], known, ended(40, "failed", ONE, evidence="job", code=code)))
    looks(played.record.cloud, at, status=200)
    for _, exchange in played.record.cloud.exchanges:
        exchange.fault = fault

    assert first(judge_outcomes(played)) == expected


def over(at: float, status: str) -> Entry:
    return at, "job.finished", {"batch": 1, "status": status}


ASKED_AGAIN: Final[list[Entry]] = [
    ended(33, "timed_out", ONE),
    resumed(34, retry=["timed_out"]),
    (35.0, "batch.started", {"batch": 1, "servers": [ONE]}),
]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([over(32, "GONE")], "outcome"),
        ([over(32, "SUCCESS")], "outcome"),
        ([over(32, "RUNNING")], ""),
        ([over(32, "UNSEEN")], ""),
        ([over(32, "RUNNING"), *ASKED_AGAIN], "outcome"),
        ([over(32, "RUNNING"), *ASKED_AGAIN, over(39, "RUNNING")], ""),
    ],
)
def test_a_state_is_believed_against_a_job_only_where_the_job_could_not_be_asked(
    told: list[Entry], expected: str
) -> None:
    """A restart that failed leaves its server ACTIVE; the cloud remembers its jobs for a day here."""
    failed = left(1, ONE, begun=1.5, ends=36.0, ending="fail")

    assert first(judge_outcomes(case(tale(*SENT_ONE, *told, UP_BY_STATE), sends=(failed,)))) == expected


@pytest.mark.parametrize(("gone_at", "expected"), [(90_000.0, ""), (50_000.0, "outcome")])
def test_a_job_is_gone_once_the_cloud_has_forgotten_it(gone_at: float, expected: str) -> None:
    told = tale(*SENT_ONE, over(gone_at, "GONE"), ended(gone_at + 1, "restarted", ONE, evidence="state"))

    assert first(judge_outcomes(case(told, sends=(left(1, ONE, begun=1.5, ends=30.0, ending="fail"),)))) == expected


def test_a_job_whose_request_a_failover_has_forgotten_tells_nothing() -> None:
    failed = left(1, ONE, begun=1.5, ends=36.0, ending="fail")
    played = case(tale(*SENT_ONE, over(32, "SUCCESS"), UP_BY_STATE), sends=(failed,))
    for restarts in played.restarts.values():
        for each in restarts:
            each.intent.run_id = "forgotten"

    assert first(judge_outcomes(played)) == ""


@pytest.mark.parametrize(("times", "expected"), [(2, "outcome"), (3, "")])
def test_nothing_is_known_of_a_server_only_after_enough_looks(times: int, expected: str) -> None:
    played = case(
        tale(*SENT_ONE, ended(40, "unknown", ONE, reason="no_trace")), sends=(left(1, ONE, begun=1.5, ends=30.0),)
    )
    looks(played.record.cloud, *range(32, 32 + times), reply=Reply(200, b'{"servers":[]}'), query=f"server_id={ONE}")

    assert first(judge_outcomes(played)) == expected


def test_nothing_can_be_said_of_a_server_of_which_nothing_was_known() -> None:
    at, name, body = SENT_ONE[0]
    told = tale((at, name, body | {"updated": [""]}), SENT_ONE[1], ended(40, "unknown", ONE, reason="no_trace"))

    assert first(judge_outcomes(case(told, sends=(left(1, ONE, begun=1.5, ends=30.0),)))) == ""


def test_our_own_restart_is_never_somebody_elses() -> None:
    late = ended(40, "timed_out", ONE, holds=True)
    skip = ended(42, "skipped", ONE, reason="already_restarting")
    told = tale(*SENT_ONE, late, resumed(41, retry=["timed_out"]), skip)

    assert first(judge_outcomes(case(told, sends=(left(1, ONE, begun=1.5, ends=90.0),)))) == "outcome"


def test_a_request_that_is_found_to_have_begun_flies_again() -> None:
    begun = (20.0, "batch.started", {"batch": 1, "servers": [ONE]})
    told = tale(*SENT_ONE[:1], unstarted(10, 1, ONE), begun, ended(40, "restarted", ONE))

    assert first(judge_outcomes(case(told, sends=(left(1, ONE, begun=15.0, ends=30.0),)))) == ""


# -- what is left ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "entries", "expected"),
    [
        ("rollout", "failed", (), "claims"),
        ("rollout", "stopped", (), ""),
        ("direct", "running", (submitting(1, 1, ONE), rejected(2, 1)), "claims"),
        ("direct", "running", (submitting(1, 1, ONE),), ""),
    ],
)
def test_nobody_keeps_a_server_without_a_need(
    kind: str, status: str, entries: tuple[Entry, ...], expected: str
) -> None:
    told = tale(*entries, kind=kind, status=status)
    played = case(told)
    played.record.database.prepare()
    played.record.database.stamps[1] = (1, 0.0)
    claim = "INSERT INTO claims (site, server_id, run_id) VALUES ('', ?, ?)"
    played.record.database.connection.execute(claim, (ONE, told.run_id))

    assert first(judge_claims(played)) == expected


async def test_a_row_that_does_not_follow_the_one_before_is_seen() -> None:
    played, holder = case(), Holder("alice@desk", "desk", 11, 0.0)
    async with open_store(played.record.database, inline=True) as store:
        lease = await store.create_run(NewRun("d1", "direct", events=[BatchAccepted(batch=1)]), holder)
        await store.commit(lease, Transaction([BatchAccepted(batch=2)]))
    assert first(judge_chain(played)) == ""
    played.record.database.connection.execute("UPDATE journal SET ts = ts + 1 WHERE seq_first = 1")
    assert first(judge_chain(played)) == "chain"


FAILED: Final = ended(5, "failed", ONE, holds=True)


@pytest.mark.parametrize(
    ("entries", "ends", "expected"),
    [
        ([FAILED, (900, "run.stopped", {})], 30.0, "places"),
        ([FAILED, (900, "run.stopped", {})], 899.0, ""),
        ([FAILED, (60, "run.stopped", {"reason": "budget_exhausted"})], 30.0, "places"),
        ([FAILED, resumed(6, forgive=True), (900, "run.stopped", {})], 30.0, ""),
        ([FAILED, (20, "server.released", {"server": ONE, "why": "up"}), (900, "run.stopped", {})], 30.0, "places"),
        ([FAILED, (31, "server.released", {"server": ONE, "why": "up"}), (900, "run.stopped", {})], 30.0, ""),
        ([FAILED, (31, "server.released", {"server": ONE, "why": "not_found"})], 30.0, "places"),
    ],
)
def test_a_place_is_kept_as_long_as_its_server_is_down(entries: list[Entry], ends: float, expected: str) -> None:
    played = case(tale(*SENT_ONE, *entries), sends=(left(1, ONE, begun=1.5, ends=ends, ending="fail"),))

    assert first(judge_places(played)) == expected


def test_a_place_is_not_kept_against_what_looks_have_shown() -> None:
    """Nor is it where nobody has looked for long, which is the table's business above."""
    played = case(tale(*SENT_ONE, FAILED, (17, "run.stopped", {})), sends=(left(1, ONE, begun=1.5, ends=9),))
    assert first(judge_places(played)) == ""

    row = {"id": ONE, "status": "ACTIVE", "OS-EXT-STS:task_state": None}
    shown = Reply(200, orjson.dumps({"servers": [row]}))
    looks(played.record.cloud, 9.5, 10, 11, reply=shown, query=f"server_id={ONE}")
    assert first(judge_places(played)) == "places"


@pytest.mark.parametrize(("workers_wait_for", "expected"), [("nothing", "places"), ("looks at others", "")])
def test_nobody_can_look_while_all_look_workers_wait(workers_wait_for: str, expected: str) -> None:
    end = (900, "run.stopped", {})
    played = case(tale(*SENT_ONE, FAILED, end), sends=(left(1, ONE, begun=1.5, ends=30.0, ending="fail"),))
    engine = played.record.world.engine
    if workers_wait_for != "nothing":
        timeout = played.record.world.request_timeout
        instants = [30.0 + at * timeout for at in range(int(870 / timeout) + 1)]
        looks(played.record.cloud, *(instants * engine.look_workers), fate="silence")

    assert first(judge_places(played)) == expected


# -- callers -----------------------------------------------------------------------------------------------------------


def asked(heard: float, how: Any, patience: float | None = None) -> Told:
    return Told(0, Ask(1.0, 0, ONE, patience), 1.0, heard, how, doomed=False, cancelled=patience is not None)


NOT_STARTED: Final = Outcome(ONE, OutcomeKind.NOT_STARTED, "store")


@pytest.mark.parametrize(
    ("told", "sent_at", "expected"),
    [
        (asked(5, NOT_STARTED), 4.5, "caller"),
        (asked(5, NOT_STARTED), 9.0, "caller"),
        (asked(5, TimeoutError(), 4.0), 9.0, "caller"),
        (asked(5, TimeoutError(), 4.0), 5.2, ""),
        (asked(30, Outcome(ONE, OutcomeKind.RESTARTED)), 5.2, ""),
    ],
)
def test_nothing_is_sent_for_who_has_been_told_otherwise(told: Told, sent_at: float, expected: str) -> None:
    direct = tale(submitting(sent_at, 1, ONE), accepted(sent_at + 1, 1), kind="direct")
    played = case(direct, sends=(left(sent_at, ONE, begun=sent_at + 0.7, ends=20.0),))
    played.record.told.append(told)

    assert first(judge_callers(played)) == expected


@pytest.mark.parametrize(("over_at", "expected"), [(2.7, ""), (0.2, "caller")], ids=["under way", "over"])
def test_nobody_is_refused_for_who_does_not_have_it(over_at: float, expected: str) -> None:
    other = tale(submitting(0.1, 1, ONE), ended(over_at, "restarted", ONE), kind="direct")
    played = case(other, sends=(left(0.1, ONE, begun=0.1, ends=0.2),))
    played.record.told += [asked(0.1, TimeoutError(), 1.0)]
    played.record.told[0].asked = 0.0
    played.record.told += [replace(asked(1.6, RunConflict("It belongs to run d1.")), asked=1.5)]

    assert first(judge_callers(played)) == expected


# -- what can be seen --------------------------------------------------------------------------------------------------


def looks(
    cloud: WatchedCloud,
    *at: float,
    status: int = 0,
    reply: Reply | None = None,
    query: str = "",
    fate: Fate = "answer",
) -> None:
    """Let somebody look at these instants, and be answered."""
    for when in at:
        cloud.now = lambda when=when: when  # type: ignore[misc]  # each look at its own instant
        exchange = cloud.receive("GET", f"/v1/p/jobs/j?{query}", {})
        exchange.performed, exchange._reply, exchange.fate = True, reply or Reply(status), fate


SEEN: Final = "that is not so"


@pytest.mark.parametrize(
    ("prepare", "reason", "expected"),
    [
        (lambda cloud: looks(cloud, *range(700, 1000, 30), status=500), "cloud_unreachable", ""),
        (lambda cloud: looks(cloud, *range(700, 1000, 30), status=200), "cloud_unreachable", SEEN),
        (lambda cloud: looks(cloud, 720, 990, status=500), "cloud_unreachable", SEEN),
        (lambda cloud: looks(cloud, 990, status=500), "auth", SEEN),
        (lambda cloud: looks(cloud, 990, status=401), "auth", ""),
    ],
)
def test_a_cloud_is_out_of_sight_only_where_nothing_was_seen(
    prepare: Callable[[WatchedCloud], None], reason: str, expected: str
) -> None:
    played = case(tale())
    prepare(played.record.cloud)

    assert bool(unseen_for(played, IDS, 1000.0, reason)) is bool(expected)


def test_a_cloud_that_does_not_know_us_is_no_reason_for_anothers_servers() -> None:
    played = case(tale())
    other = WatchedCloud(replace(WORLD.cloud, seed=4), itertools.count(1), WORLD.longest)
    played.record.clouds |= {"": played.record.cloud, "b": other}
    looks(other, 990, status=401)

    assert unseen_for(played, IDS, 1000.0, "auth")
    assert not unseen_for(played, other.ids(), 1000.0, "auth")


def test_an_exchange_is_noted_whatever_becomes_of_it() -> None:
    cloud = case(tale()).record.cloud
    cloud.begin_outage(10.0)
    exchange: Exchange = cloud.receive("GET", "/v1/p/jobs/j", {})

    assert ([each for _, each in cloud.exchanges], exchange.refused) == ([exchange], True)
