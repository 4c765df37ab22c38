"""The receipt: a correct run's record is clean, and every broken promise is found in it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecsbatch.audit.quota_windows import HolderSettings, SentRequest, Timeline, fullest_windows
from ecsbatch.audit.receipt import Receipt, Rule
from ecsbatch.audit.replay import Replay, audit
from ecsbatch.model import events as ev
from ecsbatch.model.quota import Quota
from ecsbatch.model.recorded import Recorded, encode
from ecsbatch.model.servers import Fleet
from ecsbatch.views.receipt import receipt_lines

START = 1_767_225_600.0
IDS = [f"s{i}" for i in range(6)]
FLEET = Fleet(IDS, ["az1", "az2"] * 3)
PLAN: dict[str, Any] = {
    "waves": [{"number": 1, "start": 0, "end": 2}, {"number": 2, "start": 2, "end": 6}],
    "max_unavailable": 3,
    "max_failures": 1,
}

At = tuple[float, ev.Event]


def history(*entries: At, plan: dict[str, Any] | None = None, limit: int = 1000) -> list[Recorded]:
    """Number events; the times are seconds since the run's start."""
    begin: list[At] = [
        (0, ev.RunStarted(total=len(IDS), plan=PLAN | (plan or {}))),
        (0, ev.HolderChanged(fence=1, limit=limit, window=60.0, unknown_grace=60.0, request_timeout=30.0)),
        (0, ev.WaveStarted(wave=1, servers=2)),
    ]
    return [Recorded(seq, START + at, "k7f", event) for seq, (at, event) in enumerate([*begin, *entries], 1)]


def sent(batch: int, *servers: str, wave: int = 1) -> ev.BatchSubmitting:
    return ev.BatchSubmitting(batch=batch, servers=servers, wave=wave)


def accepted(batch: int) -> ev.BatchAccepted:
    return ev.BatchAccepted(batch=batch, job_id=f"j{batch}")


def up(server: str, wave: int = 1) -> ev.ServerRestarted:
    return ev.ServerRestarted(server=server, wave=wave, evidence="job")


def failed(server: str, wave: int = 1, *, holds: bool = True) -> ev.ServerFailed:
    return ev.ServerFailed(server=server, wave=wave, evidence="job", holds=holds)


WAVE_1: list[At] = [
    (1, sent(1, "s0", "s1")),
    (2, accepted(1)),
    (40, up("s0")),
    (41, up("s1")),
    (41, ev.WaveFinished(wave=1)),
    (41, ev.WaveStarted(wave=2, servers=4)),
]
CLEAN: list[At] = [
    *WAVE_1,
    (42, sent(2, "s2", "s3", "s4", wave=2)),
    (43, accepted(2)),
    (80, up("s2", 2)),
    (81, sent(3, "s5", wave=2)),
    (82, ev.BatchRejected(batch=3, kind="throttled", status=429)),
    (142, sent(4, "s5", wave=2)),
    (143, accepted(4)),
    (150, up("s3", 2)),
    (151, failed("s4", 2)),
    (152, ev.ServerReleased(server="s4")),
    (180, up("s5", 2)),
    (180, ev.WaveFinished(wave=2)),
    (180, ev.RunFinished(status="failed", counts={"restarted": 5, "failed": 1})),
]


def rules(receipt: Receipt) -> dict[Rule, int]:
    return dict(receipt.breaches)


def broken(entries: Sequence[At], plan: dict[str, Any] | None = None, **terms: Any) -> dict[Rule, int]:
    return rules(audit(history(*entries, plan=plan, **terms), FLEET))


def test_the_receipt_of_a_correct_run() -> None:
    receipt = audit(history(*CLEAN, limit=5), FLEET)

    assert (receipt.ok, receipt.status, receipt.notes) == (True, "failed", ())
    assert (receipt.submitted, receipt.repeated, receipt.requests) == (7, 1, 4)
    assert (receipt.down.servers, receipt.down.allowed, receipt.down.at) == (3, 3, START + 42)
    assert {name: peak.servers for name, peak in receipt.down_by_domain.items()} == {"az1": 2, "az2": 2}
    assert receipt.outcomes == {"restarted": 5, "failed": 1}
    assert (receipt.failures, receipt.allowed_failures) == (1, 1)
    assert receipt.fullest_window is not None
    assert (receipt.fullest_window.servers, receipt.fullest_window.certain) == (5, 5)


def test_lines_of_json_tell_the_same_as_events() -> None:
    recorded = history(*CLEAN)

    assert audit([encode(each) for each in recorded], FLEET) == audit(recorded, FLEET)


def test_events_that_are_not_known_yet_are_noted_and_leave_no_gap() -> None:
    lines = [encode(each) for each in history(*CLEAN)]
    raw = orjson.loads(lines[-1])
    later = {"v": 1, "ts": raw["ts"], "seq": raw["seq"] + 1, "run_id": "k7f", "event": "moon.rose"}

    receipt = audit([*lines, orjson.dumps(later)], FLEET)

    assert (receipt.ok, receipt.notes) == (True, ("Events named 'moon.rose' are not known to this version.",))


def test_the_receipt_says_for_how_long_the_store_was_frozen_and_why() -> None:
    frozen = [(10.0, FROZEN), (40.0, replace(FROZEN, by="", reason="else")), (100.0, THAWED), (200.0, FROZEN)]

    assert audit(history(*frozen), FLEET).notes == (
        "The store was frozen for 30 s, by ann: why.",
        "The store was frozen for 60 s, by somebody: else.",
        "The store was frozen until the record's end, by ann: why.",
    )


RETRY = ev.RunResumed(retry=["failed"])
OUT = ev.RunResumed(skip_domains=["az1"])
ABORTING = ev.RunAborting(by="ann")
ABORTED = ev.RunFinished(status="aborted", counts={"not_started": 6})
UNKNOWN = ev.BatchUnknown(batch=1)
FAIL_2: list[At] = [(1, sent(1, "s0", "s1")), (2, accepted(1)), (40, failed("s0", holds=False)), (41, failed("s1"))]
WAVE_2: list[At] = [(42, ev.WaveFinished(wave=1)), (42, ev.WaveStarted(wave=2, servers=4))]


FROZEN, THAWED = ev.RunFrozen(by="ann", reason="why.", since=START), ev.RunThawed(by="bob")
TAKEN = ev.HolderChanged(fence=2, limit=1000, window=60.0, unknown_grace=60.0, request_timeout=30.0)


def dated(batch: int, *servers: str) -> ev.BatchSubmitting:
    """An intent of one second after the run's start, which the ledger's clock calls 101."""
    return ev.BatchSubmitting(batch=batch, servers=servers, wave=1, granted=101.0)


def left(batch: int, at: float) -> ev.BatchAccepted:
    """An accepted request that left so many seconds after the run's start."""
    return ev.BatchAccepted(batch=batch, job_id="j", sent=100.0 + at, answered=104.0)


UNSTARTED = ev.BatchUnstarted(batch=1, servers=["s0"])
BEGUN_LATE: list[At] = [
    (1, sent(1, "s0")),
    (9, UNKNOWN),
    (70, UNSTARTED),
    (80, ev.BatchStarted(batch=1, servers=["s0"])),
]
NO_TRACE: list[At] = [
    entry
    for batch, at in ((1, 1), (2, 101), (3, 201))
    for entry in (
        (at, sent(batch, "s0")),
        (at + 1, ev.BatchUnknown(batch=batch)),
        (at + 90, ev.BatchUnstarted(batch=batch, servers=["s0"])),
    )
]
LEFT_OUT: list[At] = [
    (1, sent(1, "s0", "s1")),
    (2, OUT),
    (3, ev.BatchRejected(batch=1)),
    (4, sent(2, "s1")),
    (5, accepted(2)),
    (40, up("s1")),
    *WAVE_2,
    (43, sent(3, "s3", "s5", wave=2)),
    (44, accepted(3)),
    (80, up("s3", 2)),
    (80, up("s5", 2)),
    (81, ev.RunFinished(status="failed", counts={"restarted": 3, "not_started": 3})),
]


@pytest.mark.parametrize(
    ("entries", "plan", "expected"),
    [
        pytest.param([*WAVE_1, (42, sent(2, *IDS[2:], wave=2))], {}, {Rule.BUDGET: 1}, id="over the budget"),
        pytest.param(
            [*WAVE_1, (42, sent(2, "s2", "s4", wave=2))],
            {"max_unavailable_per_domain": {"az1": 1, "az2": 1}},
            {Rule.BUDGET: 1},
            id="over a domain's budget",
        ),
        pytest.param(
            [
                (1, sent(1, "s0", "s1")),
                (2, accepted(1)),
                (40, up("s0")),
                (41, failed("s1")),
                *WAVE_2,
                (43, sent(2, "s2", "s3", "s4", wave=2)),
            ],
            {},
            {Rule.BUDGET: 1},
            id="a failed server that is not back holds its place",
        ),
        pytest.param(
            [
                (1, ev.LimitChanged(limit="max_unavailable", old=3, new=1)),
                (5, sent(1, "s0", "s1")),
            ],
            {},
            {Rule.BUDGET: 1},
            id="a tightened budget binds",
        ),
        pytest.param(
            [(1, ev.LimitChanged(limit="max_unavailable", old=3, new=1)), (1.5, sent(1, "s0", "s1"))],
            {},
            {},
            id="an intent on its way to the disk is no breach",
        ),
        pytest.param(
            [*WAVE_1, (42, ev.LimitChanged(limit="max_unavailable", old=3, new=4)), (42, sent(2, *IDS[2:], wave=2))],
            {},
            {},
            id="a loosened budget counts",
        ),
        pytest.param(
            [(1, sent(1, "s0")), (2, accepted(1)), (3, sent(2, "s0"))], {}, {Rule.TWICE: 1}, id="sent while under way"
        ),
        pytest.param([(1, sent(1, "s0")), (9, UNKNOWN), (10, sent(2, "s0"))], {}, {Rule.TWICE: 1}, id="resent blindly"),
        pytest.param(
            [(1, sent(1, "s0")), (9, UNKNOWN), (10, ev.BatchUnstarted(batch=1, servers=["s0"])), (11, sent(2, "s0"))],
            {},
            {Rule.RESENT_EARLY: 1},
            id="resent before the grace was over",
        ),
        pytest.param(
            [(1, sent(1, "s0")), (9, UNKNOWN), (70, ev.BatchUnstarted(batch=1, servers=["s0"])), (71, sent(2, "s0"))],
            {},
            {},
            id="resent by the cloud's record",
        ),
        pytest.param(
            [(1, sent(1, "s0")), (9, accepted(1)), (99, ev.BatchUnstarted(batch=1, servers=["s0"]))],
            {},
            {Rule.TWICE: 1},
            id="an accepted request was taken for not started",
        ),
        pytest.param(
            [(1, sent(1, "s0")), (2, accepted(1)), (40, up("s0")), (41, sent(2, "s0"))],
            {},
            {Rule.TWICE: 1},
            id="sent after its outcome",
        ),
        pytest.param(
            [(1, sent(1, "s0")), (2, accepted(1)), (9, failed("s0")), (10, RETRY), (11, sent(2, "s0"))],
            {},
            {},
            id="sent again because a person asked",
        ),
        pytest.param(
            [(1, sent(1, "s0")), (2, accepted(1)), (3, ev.BatchRejected(batch=1, kind="throttled"))],
            {},
            {Rule.RECORD: 1},
            id="two answers",
        ),
        pytest.param(
            [*FAIL_2, *WAVE_2, (50, sent(2, "s2", wave=2))], {}, {Rule.FAILURES: 1}, id="sent past the failure limit"
        ),
        pytest.param(
            [*FAIL_2, *WAVE_2, (49, ev.RunResumed(forgive=True)), (50, sent(2, "s2", "s3", "s4", wave=2))],
            {},
            {},
            id="forgiven failures neither count nor hold",
        ),
        pytest.param(
            [*FAIL_2, *WAVE_2, (49, ev.LimitChanged(limit="max_failures", new=2)), (50, sent(2, "s2", wave=2))],
            {},
            {},
            id="a raised failure limit",
        ),
        pytest.param([*FAIL_2, (49, RETRY), (50, sent(2, "s0", "s1"))], {}, {}, id="retried failures do not count"),
        pytest.param(
            [*FAIL_2, *WAVE_2, (50, sent(2, "s2", wave=2))],
            {"max_failures": 9, "max_failures_per_wave": [1, 1]},
            {Rule.FAILURES: 1},
            id="past a wave's failure limit",
        ),
        pytest.param(
            [(1, sent(1, "s0")), (2, accepted(1)), (9, failed("s0")), (20, sent(2, "s1"))],
            {"max_failures_per_domain": {"az1": 0}},
            {Rule.FAILURES: 1},
            id="past a domain's failure limit",
        ),
        pytest.param([(1, sent(1, "s2", wave=2))], {}, {Rule.WAVES: 1}, id="before its wave"),
        pytest.param([(1, sent(1, "s2", wave=1))], {}, {Rule.WAVES: 1}, id="under another wave's name"),
        pytest.param(
            [(1, ev.WaveStarted(wave=2)), (2, sent(1, "s2", wave=2))], {}, {Rule.WAVES: 1}, id="waves overlap"
        ),
        pytest.param(
            [(1, ev.RunPaused(by="ann")), (5, sent(1, "s0"))], {}, {Rule.HELD_BACK: 1}, id="sent while paused"
        ),
        pytest.param(
            [(1, ev.RunPaused(by="ann")), (4, ev.RunResumed()), (5, sent(1, "s0"))], {}, {}, id="sent after a pause"
        ),
        pytest.param(
            [(1, ev.RunStopped(status="stopped")), (5, sent(1, "s0"))], {}, {Rule.HELD_BACK: 1}, id="sent when stopped"
        ),
        pytest.param(WAVE_1, {"hold_after": [1]}, {Rule.HELD_BACK: 1}, id="nobody promoted"),
        pytest.param(
            [*WAVE_1[:-1], (41, ev.GateChecked(gate="hold", verdict="go", wave=2)), WAVE_1[-1]],
            {"hold_after": [1]},
            {},
            id="promoted",
        ),
        pytest.param(
            [*WAVE_1[:-1], (41, ev.GateChecked(gate="./ok", verdict="wait", wave=2)), WAVE_1[-1]],
            {"gate": "./ok"},
            {Rule.HELD_BACK: 1},
            id="the gate was red",
        ),
        pytest.param([(1, sent(1, "stranger"))], {}, {Rule.TARGETS: 1}, id="a server that is none of the run's"),
        pytest.param([(1, up("s0"))], {}, {Rule.OUTCOME: 1}, id="restarted without a request"),
        pytest.param(
            [(1, sent(1, "s0")), (2, accepted(1)), (9, up("s0")), (10, failed("s0"))],
            {},
            {Rule.OUTCOME: 1},
            id="two outcomes",
        ),
        pytest.param(
            [*CLEAN[:-1], (181, ev.RunFinished(status="failed", counts={"restarted": 6}))],
            {},
            {Rule.OUTCOME: 1},
            id="the run's own counts are wrong",
        ),
        pytest.param([(1, ev.RunFinished(status="succeeded"))], {}, {Rule.OUTCOME: 1}, id="lost servers"),
        pytest.param(
            [(1, ev.RunFinished(status="aborted", counts={"not_started": 6}))], {}, {}, id="aborted before it began"
        ),
        pytest.param([(1, ev.HolderChanged(fence=1))], {}, {Rule.HOLDER: 1}, id="two holders with one number"),
        pytest.param([(1, ev.HolderChanged(fence=2))], {}, {}, id="taken over"),
        pytest.param([(1, OUT), (2, sent(1, "s0", "s1"))], {}, {Rule.LEFT_OUT: 1}, id="sent to a left-out domain"),
        pytest.param([(1, OUT), (2, sent(1, "s1"))], {}, {}, id="sent to another domain than the left-out one"),
        pytest.param(
            [(1, sent(1, "s0")), (2, OUT), (3, ev.BatchRejected(batch=1)), (4, ev.RunResumed()), (5, sent(2, "s0"))],
            {},
            {Rule.LEFT_OUT: 1},
            id="waiting again behind a refusal in a left-out domain",
        ),
        pytest.param(
            [(1, sent(1, "s0")), (2, UNKNOWN), (3, OUT), (70, UNSTARTED), (71, sent(2, "s0"))],
            {},
            {Rule.LEFT_OUT: 1},
            id="not begun and sent again to a left-out domain",
        ),
        pytest.param(
            [(1, sent(1, "s0")), (2, accepted(1)), (9, failed("s0")), (10, OUT), (11, sent(2, "s0"))],
            {},
            {Rule.LEFT_OUT: 1, Rule.TWICE: 1},
            id="sent again in a left-out domain",
        ),
        pytest.param(LEFT_OUT, {}, {}, id="left-out servers hold up no wave, and the run has failed"),
        pytest.param(
            [*LEFT_OUT[:-1], (81, ev.RunFinished(status="succeeded", counts={"restarted": 3, "not_started": 3}))],
            {},
            {Rule.OUTCOME: 1},
            id="succeeded in spite of left-out servers",
        ),
        pytest.param(
            [
                (1, OUT),
                (1, ev.ServerSkipped(server="s0", reason="excluded")),
                (2, sent(1, "s1")),
                (3, accepted(1)),
                (40, up("s1")),
                *WAVE_2,
                (43, sent(2, "s3", wave=2)),
            ],
            {},
            {},
            id="left out as older versions tell it",
        ),
        pytest.param([(1, ABORTING), (1.1, sent(1, "s0"))], {}, {Rule.HELD_BACK: 1}, id="sent while being aborted"),
        pytest.param(
            [(1, ABORTING), (2, ev.HolderChanged(fence=2)), (2, ev.RunResumed()), (9, sent(1, "s0"))],
            {},
            {Rule.HELD_BACK: 1},
            id="sent by a later holder of an aborted run",
        ),
        pytest.param(
            [(1, ev.RunStopped(status="interrupted")), (1.1, sent(1, "s0"))],
            {},
            {Rule.HELD_BACK: 1},
            id="an intent behind the run's own end is no straggler",
        ),
        pytest.param([(1, ABORTED), (1.1, sent(1, "s0"))], {}, {Rule.HELD_BACK: 1}, id="sent behind the run's end"),
        pytest.param(
            [(1, ev.RunPaused(by="ann")), (1.1, sent(1, "s0"))], {}, {}, id="an intent behind a pause may be one"
        ),
        pytest.param(
            [
                (1, sent(1, "s0")),
                (2, ABORTING),
                (400, ev.ServerUnknown(server="s0", reason="cloud_unreachable", holds=True)),
                (400, ev.RunFinished(status="aborted", counts={"unknown": 1, "not_started": 5})),
            ],
            {},
            {},
            id="an abort that saw nothing any more",
        ),
        pytest.param([*BEGUN_LATE, (90, up("s0"))], {}, {}, id="a request that was found to have begun"),
        pytest.param([*BEGUN_LATE, (90, sent(2, "s0"))], {}, {Rule.TWICE: 1}, id="sent again though it had begun"),
        pytest.param(
            [*BEGUN_LATE, (90, sent(2, "s1"))], {"max_unavailable": 1}, {Rule.BUDGET: 1}, id="what had begun is down"
        ),
        pytest.param(
            [*BEGUN_LATE[:3], (80, sent(2, "s0")), BEGUN_LATE[3]], {}, {Rule.TWICE: 1}, id="begun and sent again"
        ),
        pytest.param(
            [(1, ev.BatchStarted(batch=9, servers=["s0"]))], {}, {Rule.RECORD: 1}, id="begun by what was never sent"
        ),
        pytest.param(NO_TRACE, {}, {}, id="sent again twice"),
        pytest.param([*NO_TRACE, (400, sent(4, "s0"))], {}, {Rule.TWICE: 1}, id="sent again three times"),
        pytest.param(NO_TRACE[:4], {"on_unknown": "leave"}, {Rule.TWICE: 1}, id="sent again though nobody wants that"),
        pytest.param(
            [
                (1, sent(1, "s0")),
                (200, ev.HolderChanged(fence=2)),
                (200, UNKNOWN),
                (250, UNSTARTED),
                (251, sent(2, "s0")),
            ],
            {},
            {Rule.RESENT_EARLY: 1},
            id="the grace of a request whose process has died begins when it is taken up",
        ),
        pytest.param(
            [
                (1, sent(1, "s0")),
                (200, ev.HolderChanged(fence=2)),
                (220, UNKNOWN),
                (261, UNSTARTED),
                (262, sent(2, "s0")),
            ],
            {},
            {},
            id="that it was taken up may be stored late, on a store that is slow",
        ),
        pytest.param(WAVE_1, {"soak": 5.0}, {Rule.HELD_BACK: 1}, id="no soak"),
        pytest.param([*WAVE_1[:-1], (46, WAVE_1[-1][1])], {"soak": 5.0}, {}, id="soaked"),
        pytest.param(
            [*WAVE_1[:-1], (44, ev.HolderChanged(fence=2)), (46, WAVE_1[-1][1])],
            {"soak": 5.0},
            {Rule.HELD_BACK: 1},
            id="a soak begins anew with another holder",
        ),
        pytest.param(
            [*WAVE_1[:-2], (42, WAVE_1[-2][1]), (41, WAVE_1[-1][1])],
            {"soak": 5.0},
            {},
            id="a clock that was set back proves no soak too short",
        ),
        pytest.param(
            [(1, ev.ServerSkipped(server="s0", reason="already_restarting", holds=True)), (2, sent(1, "s1"))],
            {"max_unavailable": 1},
            {Rule.BUDGET: 1},
            id="a skipped server that is down holds a place",
        ),
        pytest.param([(1, FROZEN), (1, sent(1, "s0"))], {}, {Rule.HELD_BACK: 1}, id="sent of a frozen store"),
        pytest.param([(1, FROZEN), (9, THAWED), (9, sent(1, "s0"))], {}, {}, id="sent once it was thawed"),
        pytest.param(
            [(1, FROZEN), (2, FROZEN), (9, THAWED), (9, sent(1, "s0"))], {}, {}, id="frozen twice, and thawed"
        ),
        pytest.param(
            [(1, sent(1, "s0")), (2, FROZEN), (3, TAKEN), (4, sent(2, "s1"))],
            {},
            {Rule.HELD_BACK: 1},
            id="sent by a later holder that has not seen that the store is frozen",
        ),
        pytest.param(
            [(1, dated(1, "s0")), (2, FROZEN), (4, left(1, 3.5))],
            {},
            {Rule.HELD_BACK: 1},
            id="left too late for a freeze",
        ),
        pytest.param([(1, dated(1, "s0")), (2, FROZEN), (4, left(1, 2.9))], {}, {}, id="left as the store was frozen"),
        pytest.param(
            [(1, dated(1, "s0")), (2, FROZEN), (3, THAWED), (4, left(1, 3.5))], {}, {}, id="left once it was thawed"
        ),
    ],
)
def test_every_broken_promise_is_found(entries: list[At], plan: dict[str, Any], expected: dict[Rule, int]) -> None:
    assert broken(entries, plan) == expected


def test_a_gap_in_the_record_is_found() -> None:
    recorded = history(*CLEAN)

    assert rules(audit(recorded[:1] + recorded[2:], FLEET))[Rule.RECORD] == 1


def test_a_line_that_cannot_be_read_is_found() -> None:
    lines: list[bytes] = [encode(each) for each in history(*CLEAN)]

    assert rules(audit([*lines, b'{"half a li'], FLEET)) == {Rule.RECORD: 1}


@pytest.mark.parametrize(
    ("name", "edited"),
    [
        ("run.started", {"run_id": 7}),
        ("run.started", {"plan": PLAN | {"max_failures": "x"}}),
        ("holder.changed", {"ledger_time": ["x"]}),
        ("batch.submitting", {"event": "no.such", "seq": None}),
        ("batch.submitting", {"granted": "x"}),
        ("batch.accepted", {"batch": []}),
        ("run.frozen", {"reason": None}),
        ("limit.changed", {"limit": "max_failures", "new": [3]}),
        ("run.finished", {"status": None}),
    ],
)
def test_a_record_that_was_edited_is_judged_whatever_it_says_now(name: str, edited: dict[str, Any]) -> None:
    limit = ev.LimitChanged(limit="max_unavailable", old=3, new=2)
    entries = [*CLEAN[:-1], (200, limit), (210, ev.RunFrozen(by="kim", reason="Flood.")), (220, CLEAN[-1][1])]
    lines = [orjson.loads(encode(each)) for each in history(*entries)]
    assert audit(map(orjson.dumps, lines), FLEET).ok
    next(line for line in lines if line["event"] == name).update(edited)

    receipt = audit(map(orjson.dumps, lines), FLEET)

    assert Rule.RECORD in receipt.breaches
    assert receipt_lines(receipt)


def test_direct_restarts_have_no_targets_and_may_repeat() -> None:
    entries = [sent(1, "x", wave=0), accepted(1), up("x", 0), sent(2, "x", wave=0), accepted(2), up("x", 0)]
    recorded = [Recorded(i, START + i, "direct", event) for i, event in enumerate(entries, 1)]

    assert (audit(recorded).ok, audit(recorded).total) == (True, None)


# -- the quota -----------------------------------------------------------------------------------------------------


def windows(requests: Iterable[tuple[int, float, float]], limit: int = 5, window: float = 60.0) -> tuple[int, int]:
    terms = HolderSettings(Quota(limit, window))
    made = [SentRequest("", terms, (), sent, sent, until, counted=n) for n, sent, until in requests]
    found = list(fullest_windows(made))
    return (found[0].servers, found[0].certain) if found else (0, 0)


@pytest.mark.parametrize(
    ("requests", "worst", "certain"),
    [
        ([(5, 0, 1), (5, 61.05, 62)], 5, 5),
        ([(5, 0, 1), (5, 60.5, 61)], 10, 5),
        ([(5, 0, 1), (5, 59, 59.5)], 10, 10),
        ([(5, 0, 30), (5, 60.05, 61)], 10, 5),
        ([(5, 0, 30), (5, 90.05, 95)], 5, 5),
        ([(3, 0, 200), (2, 100, 101), (2, 161.05, 162)], 5, 2),
        ([(3, 0, 1), (5, 1e300, 1e300)], 3, 3),
    ],
)
def test_a_window_holds_what_the_record_leaves_open(
    requests: list[tuple[int, float, float]], worst: int, certain: int
) -> None:
    """A request is counted anywhere between its intent and its answer; the worst case takes the worst instants."""
    assert windows(requests) == (worst, certain)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 100), st.integers(0, 30)), max_size=8), st.integers(1, 40))
def test_the_worst_case_is_that_of_trying_all_windows(rows: list[tuple[int, int, int]], window: int) -> None:
    requests = [(n, float(at), float(at + took)) for n, at, took in rows]
    begins = [i / 2 for i in range(-100, 300)]
    by_hand = max((sum(n for n, a, b in requests if a < t + window and b >= t) for t in begins), default=0)

    assert windows(requests, window=float(window))[0] == by_hand


def bucket(chance: Random, *, limit: int, freed_at_send: bool = False) -> list[At]:
    """Play a client that keeps its tokens until a window after each answer, or gives them back at the send."""
    now, free, entries = 1.0, limit, list[At]()
    back: list[tuple[float, int]] = []
    for batch in range(1, 60):
        want = chance.randint(1, limit)
        while free < want:
            now, tokens = heapq.heappop(back)
            free += tokens
        free -= want
        answered = now + chance.choice([0.02, 0.5, 3.0, 25.0])
        heapq.heappush(back, ((now if freed_at_send else answered) + 60.05, want))
        servers = [f"{batch}-{i}" for i in range(want)]
        entries += [(now, ev.BatchSubmitting(batch=batch, servers=servers)), (answered, accepted(batch))]
    return sorted(entries, key=lambda entry: entry[0])


def audited(entries: Sequence[At], limit: int) -> Receipt:
    auditor = Replay(quota=Quota(limit, 60.0))
    for seq, (at, event) in enumerate(entries, 1):
        auditor.read(encode(Recorded(seq, START + at, "k7f", event)))
    return auditor.receipt()


@pytest.mark.parametrize("seed", range(20))
def test_a_client_that_keeps_its_tokens_is_never_accused(seed: int) -> None:
    """Stamps are cut to the millisecond on their way through JSON; the guard covers that."""
    receipt = audited(bucket(Random(seed), limit=20), 20)

    assert (rules(receipt), receipt.fullest_window is not None) == ({}, True)


@pytest.mark.parametrize("seed", range(20))
def test_a_client_that_frees_its_tokens_at_the_send_is_found(seed: int) -> None:
    assert rules(audited(bucket(Random(seed), limit=20, freed_at_send=True), 20)) == {Rule.QUOTA: 1}


@pytest.mark.parametrize("seed", range(20))
def test_a_clock_that_jumps_accuses_nobody(seed: int) -> None:
    """Set forward it only lengthens gaps; set back it hides time, and nothing is judged across that."""
    chance = Random(seed)
    shift, entries = 0.0, list[At]()
    for at, event in bucket(chance, limit=20):
        shift += chance.choice([0.0] * 18 + [3600.0, -7200.0])
        entries.append((at + shift, event))

    assert rules(audited(entries, 20)) == {}


def test_a_clock_set_forward_while_a_request_is_in_flight_hides_no_excess() -> None:
    """The answer of the first request is stamped 70 s late; by the ledger's clock both were counted within 16 s."""
    entries = [
        (0.0, ev.HolderChanged(fence=1, limit=1, window=60.0, boot="b", ledger_time=100.0)),
        (1.0, ev.BatchSubmitting(batch=1, servers=["x"], granted=101.0)),
        (73.0, replace(accepted(1), sent=101.0, answered=103.0)),
        (86.0, ev.BatchSubmitting(batch=2, servers=["y"], granted=116.0)),
        (88.0, replace(accepted(2), sent=116.0, answered=118.0)),
    ]

    receipt = audit([Recorded(seq, START + at, "k", event) for seq, (at, event) in enumerate(entries, 1)])

    assert rules(receipt) == {Rule.QUOTA: 1}


def test_a_clock_that_was_set_back_is_noted() -> None:
    entries: list[At] = [(100, sent(1, "a")), (101, accepted(1)), (50, sent(2, "b"))]

    assert audited(entries, 1).notes == ("The clock was set back once; no window is judged across that.",)


@dataclass(frozen=True, slots=True)
class Granted(ev.BatchSubmitting):
    """An intent that tells the ledger's clock as well."""

    granted: float = 0.0


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([(0, 500), (61, 561)], [0, 61]),
        ([(0, 500), (31, 561), (41, 571)], [0, 61, 71]),
        ([(0, 500), (3661, 561), (3671, 571)], [0, 3661, 3671]),
        ([(0, 500), (-39, 561), (-29, 571)], [0, 61, 71]),
        ([(0, 500), (300, 20), (310, 30)], [0, 300, 310]),
        ([(0, 0), (61, 0)], [0, 61]),
    ],
    ids=["a quiet clock", "set back unseen", "set forward", "set back", "another boot", "not told"],
)
def test_the_ledgers_clock_tells_how_much_time_a_set_back_hid(
    readings: list[tuple[int, int]], expected: list[int]
) -> None:
    timeline = Timeline()
    times = [
        timeline.follow(Recorded(seq, START + wall, "k7f", Granted(granted=granted)))
        for seq, (wall, granted) in enumerate(readings, 1)
    ]

    assert [round(at - START) for at in times] == expected


def test_what_was_provably_not_sent_is_not_counted() -> None:
    entries: list[At] = [
        (1, sent(1, "a", "b")),
        (1.1, ev.BatchRejected(batch=1, kind="not_sent")),
        (2, sent(2, "a", "b")),
        (3, accepted(2)),
    ]

    assert audited(entries, 2).windows[0].servers == 2


@pytest.mark.parametrize(("again_at", "expected"), [(150, {Rule.QUOTA: 1}), (157, {})])
def test_a_request_that_was_never_answered_may_be_counted_late(again_at: float, expected: dict[Rule, int]) -> None:
    """A killed process gives a request up after 5 + 30 s; for 60 s more the cloud may begin it."""
    entries: list[At] = [(1, sent(1, "a", "b")), (again_at, sent(2, "c", "d")), (again_at + 1, accepted(2))]

    assert rules(audited(entries, 2)) == expected


@pytest.mark.parametrize(("status", "again_at", "expected"), [(0, 100, {Rule.QUOTA: 1}), (0, 131, {}), (503, 71, {})])
def test_no_answer_counts_until_the_grace_is_over_and_an_error_until_it_came(
    status: int, again_at: float, expected: dict[Rule, int]
) -> None:
    entries: list[At] = [(1, sent(1, "a")), (10, ev.BatchUnknown(batch=1, status=status)), (again_at, sent(2, "b"))]

    assert rules(audited(entries, 1)) == expected


def test_other_runs_count_into_the_same_quota() -> None:
    mine = history((1, sent(1, "s0", "s1")), (2, accepted(1)), limit=3)
    entries: list[At] = [(5, sent(1, "x", "y", wave=0)), (6, accepted(1))]
    other = [Recorded(seq, START + at, "m2p", event) for seq, (at, event) in enumerate(entries, 1)]

    assert (rules(audit(mine, FLEET)), rules(audit(mine, FLEET, beside=[other]))) == ({}, {Rule.QUOTA: 1})


@pytest.mark.parametrize(
    ("granted", "expected"),
    [pytest.param(105.0, {Rule.QUOTA: 1}, id="in one window"), pytest.param(705.0, {}, id="long behind it")],
)
@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
@pytest.mark.parametrize("set_by", [-600, 600])
def test_runs_whose_processes_disagree_about_the_time_are_laid_side_by_side_by_the_ledgers_clock(
    granted: float, boot: str, set_by: float, expected: dict[Rule, int]
) -> None:
    """The other process was begun behind a clock that was set by ten minutes, which the first one does not see."""

    def run(run_id: str, holds: str, server: str, at: float, granted: float) -> list[Recorded]:
        holder = ev.HolderChanged(fence=1, limit=1, window=60.0, boot=holds, ledger_time=granted - 1)
        intent = ev.BatchSubmitting(batch=1, servers=[server], granted=granted)
        answer = replace(accepted(1), sent=granted, answered=granted + 1)
        events = [(at - 1, holder), (at, intent), (at + 1, answer)]
        return [Recorded(seq, START + at, run_id, event) for seq, (at, event) in enumerate(events, 1)]

    mine = run("k7f", "boot-1", "x", 0, 100.0)
    other = run("m2p", boot, "y", granted - 100 + set_by, granted)

    # Of two boots nothing tells: stamps that disagree accuse nobody.
    assert rules(audit(mine, beside=[other])) == (expected if boot == "boot-1" else {})


def test_a_clock_that_was_set_ahead_and_back_shortens_no_gap() -> None:
    """An hour ahead and back: until its stamps pass that hour again only the ledger's clock tells how time goes by."""
    entries = [
        (0.0, ev.HolderChanged(fence=1, limit=1, window=60.0, boot="b", ledger_time=100.0)),
        (1.0, ev.BatchSubmitting(batch=1, servers=["x"], granted=101.0)),
        (3601.5, accepted(1)),
        (-500.0, ev.HolderChanged(fence=2, limit=1, window=60.0, boot="b", ledger_time=150.0)),
        (-420.0, ev.BatchSubmitting(batch=2, servers=["y"], granted=230.0)),
        (-419.0, accepted(2)),
    ]

    assert rules(audit([Recorded(seq, START + at, "k", event) for seq, (at, event) in enumerate(entries, 1)])) == {}


def test_a_project_has_one_quota_by_whatever_endpoint() -> None:
    """Older versions wrote the endpoint into the name of whose quota it is."""
    groups = ("https://ecs.a.example.com/p1", "p1", "https://ecs.b.example.com/p1", "p2")
    entries: list[At] = [
        (batch, ev.BatchSubmitting(batch=batch, servers=["x", "y"], group=group)) for batch, group in enumerate(groups)
    ]

    assert [(window.site, window.servers) for window in audited(entries, 9).windows] == [("p1", 6), ("p2", 2)]


def test_a_quota_changed_by_a_resume_is_judged_with_each_holders_own() -> None:
    entries: list[At] = [
        (1, sent(1, "s0", "s1")),
        (2, accepted(1)),
        (3, ev.HolderChanged(fence=2, limit=1, window=60.0)),
        (4, sent(2, "s0")),
    ]

    receipt = audit(history(*entries, limit=2), FLEET)
    assert ([(w.servers, w.quota.limit) for w in receipt.windows], rules(receipt)) == (
        [(1, 1), (2, 2)],
        {Rule.TWICE: 1},
    )


def test_a_record_that_does_not_say_its_quota_is_not_judged_by_it() -> None:
    recorded = [Recorded(1, START, "k7f", sent(1, *IDS))]

    assert audit(recorded).notes == ("The record does not say the quota, which is not judged.",)
    assert rules(audit(recorded, quota=Quota(5, 60))) == {Rule.QUOTA: 1}


def test_a_grace_that_the_record_does_not_say_is_not_judged() -> None:
    events = [sent(1, "x"), ev.BatchUnknown(batch=1), ev.BatchUnstarted(batch=1, servers=["x"])]
    recorded = [Recorded(seq, START + seq, "direct", event) for seq, event in enumerate(events, 1)]

    assert (rules(audit(recorded)), rules(audit(recorded, terms=HolderSettings()))) == ({}, {Rule.RESENT_EARLY: 1})


def test_a_direct_server_may_be_skipped_as_often_as_it_is_asked_for() -> None:
    skipped = ev.ServerSkipped(server="x", reason="locked")

    assert audit([Recorded(seq, START, "direct", skipped) for seq in (1, 2)]).ok


# -- the receipt ---------------------------------------------------------------------------------------------------


def test_the_receipt_fits_the_screen_and_names_what_is_broken() -> None:
    lines = receipt_lines(audit(history(*WAVE_1, (42, sent(2, *IDS[2:], wave=2)), limit=5), FLEET), 80)

    assert lines[0] == "Audit of run k7f (running): promises are broken 2 times."
    assert max(map(len, lines)) <= 80
    assert any("#10: 4 servers were down at once, 3 are allowed." in line for line in lines)


def test_a_finding_names_the_server() -> None:
    named = Fleet(IDS, ["az1", "az2"] * 3, [f"web-{i}" for i in range(6)])
    receipt = audit(history((1, sent(1, "s0")), (2, sent(2, "s0"))), named)

    assert [finding["name"] for finding in receipt.to_json()["findings"]] == ["web-0"]
    assert any("Server web-0 (s0) was sent again while batch 1 had it." in line for line in receipt_lines(receipt))


def test_the_outcomes_of_a_run_that_goes_on_and_who_is_on_its_way_add_up_to_all() -> None:
    receipt = audit(history(*WAVE_1, (42, sent(2, *IDS[2:4], wave=2)), (50, ev.ServerTimedOut(server=IDS[2]))), FLEET)

    assert next(line for line in receipt_lines(receipt) if "outcomes" in line).split(maxsplit=1)[1] == (
        f"2 restarted, 1 timed out, {len(IDS) - 4} not started, 1 on their way"
    )


def test_ids_never_move_a_terminals_cursor() -> None:
    text = "\n".join(receipt_lines(audit(history((1, sent(1, "\x1b[2Jevil"))), FLEET)))

    assert "\x1b" not in text


def test_many_breaches_are_counted_and_some_are_shown() -> None:
    entries: list[At] = [(i, sent(i, f"x{i}")) for i in range(1, 301)]
    receipt = audit(history(*entries), FLEET)

    assert (rules(receipt), len(receipt.findings)) == ({Rule.TARGETS: 300}, 100)
    assert "... and 295 more of these." in receipt_lines(receipt)[-1]


def test_it_is_written_as_json() -> None:
    written = orjson.loads(orjson.dumps(audit(history(*CLEAN), FLEET).to_json()))

    assert (written["ok"], written["run_id"], written["down"]["servers"]) == (True, "k7f", 3)


COUNTS = {"restarted": 1, "failed": 1, "not_started": 4}
KEEPS = ev.RunResumed(retry=["failed"], keeps_outcomes=True)
OFF = ev.ServerFailed(server="s0", wave=1, not_retried="not_active")
FAILED_ONE: list[At] = [(1, sent(1, "s0", "s1")), (2, accepted(1)), (3, failed("s0")), (4, up("s1"))]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([(9, KEEPS), (10, OFF)], {}, id="not retried"),
        pytest.param([(9, KEEPS), (10, sent(2, "s0")), (11, accepted(2)), (12, up("s0"))], {}, id="restarted"),
        pytest.param(
            [(9, KEEPS), (10, ev.ServerSkipped(server="s0", reason="not_active"))],
            {Rule.OUTCOME: 1},
            id="called skipped though it had failed",
        ),
        pytest.param(
            [(9, KEEPS), (10, ev.ServerTimedOut(server="s0", not_retried="locked"))],
            {Rule.OUTCOME: 1},
            id="called another failure than it was",
        ),
        pytest.param([(9, KEEPS), (10, OFF), (11, OFF)], {}, id="said twice"),
        pytest.param(
            [(9, ev.ServerFailed(server="s2", not_retried="locked"))], {Rule.OUTCOME: 1}, id="never sent, never failed"
        ),
        pytest.param(
            [(9, RETRY), (10, ev.ServerSkipped(server="s0", reason="not_active"))], {}, id="as older versions have it"
        ),
        pytest.param(
            [(9, KEEPS), (10, ev.RunAborting()), (11, ev.RunFinished(status="aborted", counts=COUNTS))],
            {},
            id="aborted before it was sent again",
        ),
        pytest.param(
            [(9, KEEPS), (10, OUT), (11, ev.RunAborting()), (12, ev.RunFinished(status="aborted", counts=COUNTS))],
            {},
            id="left out before it was sent again",
        ),
        pytest.param(
            [(9, KEEPS), (10, OUT), (11, ev.BatchStarted(batch=1, servers=["s0"])), (12, up("s0"))],
            {},
            id="left out, and begun before that",
        ),
    ],
)
def test_the_audit_holds_that_a_failure_stays_one_until_it_is_retried(
    entries: Sequence[At], expected: dict[Rule, int]
) -> None:
    assert broken([*FAILED_ONE, *entries]) == expected


@pytest.mark.parametrize(("resumed", "expected"), [(KEEPS, {Rule.FAILURES: 1}), (replace(KEEPS, forgive=True), {})])
def test_a_failure_that_stays_counts_for_the_audit_unless_it_was_forgiven(
    resumed: ev.RunResumed, expected: dict[Rule, int]
) -> None:
    more: list[At] = [(5, ev.WaveFinished(wave=1)), (9, resumed), (10, OFF), (11, ev.WaveStarted(wave=2, servers=4))]

    assert broken([*FAILED_ONE, *more, (12, sent(2, "s2", wave=2))], {"max_failures": 0}) == expected


def test_the_audit_lets_left_out_and_skipped_servers_be_taken_up_again() -> None:
    off = ev.ServerSkipped(server="s1", wave=1, reason="not_active")
    over: list[At] = [(1, OUT), (2, off), (3, ev.WaveFinished(wave=1))]
    again: list[At] = [(9, ev.RunResumed(retry=["not_started", "skipped"])), (9, ev.WaveStarted(wave=1, servers=2))]
    taken_up: list[At] = [(10, sent(1, "s0", "s1")), (11, accepted(1)), (12, up("s0")), (13, up("s1"))]
    receipt = audit(history(*over, *again, *taken_up), FLEET)

    assert receipt.ok, receipt.findings
    assert (receipt.submitted, receipt.retried) == (2, 0)
    assert broken([*over, *taken_up]) == {Rule.LEFT_OUT: 1, Rule.TWICE: 1}
    assert broken([*over, *again, (9, OUT), (10, sent(1, "s0"))]) == {Rule.LEFT_OUT: 1}
