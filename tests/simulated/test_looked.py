"""The judges of looks, deadlines, gates and claims can speak: tales told by hand, as in `test_checker`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .allowed import judge_gates
from .checker import judge_ownership, judge_unstarted
from .evidence import Case
from .looked import A_MINUTE, covered, judge_baselines, judge_deadlines
from .record import Claimed
from .remains import judge_kept_claims
from .test_checker import (
    ONE,
    TWO,
    Entry,
    accepted,
    case,
    ended,
    first,
    left,
    looks,
    rejected,
    submitting,
    tale,
    unstarted,
)


@pytest.mark.parametrize(
    ("looked", "refused", "expected"),
    [
        ([99.0], False, ""),
        ([100.0 - A_MINUTE + 1.0], False, ""),
        ([100.0 - A_MINUTE - 1.0], False, "looked"),
        ([10.0, 99.0], False, ""),
        ([10.0, 101.0], False, "looked"),
        ([], False, "looked"),
        ([10.0], True, ""),
    ],
)
def test_nobody_is_sent_by_an_old_look(looked: list[float], refused: bool, expected: str) -> None:  # noqa: FBT001
    before = [submitting(11, 1, ONE), (12.0, "batch.rejected", {"batch": 1, "kind": "refused"})] if refused else []
    played = case(tale(*before, submitting(100, 2, ONE)))
    looks(played.record.cloud, *looked, query=f"server_id={ONE}")

    assert first(judge_baselines(played)) == expected


def _late(at: float, **body: str) -> Case:
    kind = "failed" if body else "timed_out"
    played = case(tale(submitting(18, 1, ONE), accepted(19, 1), ended(at, kind, ONE, holds=True, **body)))
    config = replace(played.record.cloud.config, blackholes=((20.0, 220.0),))
    played.record.cloud.config = config
    looks(played.record.cloud, *range(15, 300, 20))
    return played


@pytest.mark.parametrize(
    ("at", "body", "expected"),
    [
        (260.0, {}, ""),
        (222.0, {}, "late"),
        (222.0, {"reason": "unhealthy"}, "late"),
        (222.0, {"code": "Ecs.0227"}, ""),
        (50.0, {}, "late"),
    ],
)
def test_nobody_is_late_for_time_in_which_nothing_was_seen(at: float, body: dict[str, str], expected: str) -> None:
    """Its 30 s begin at 18 s, and nothing can be seen from 20 to 220 s."""
    assert first(judge_deadlines(_late(at, **body))) == expected


@pytest.mark.parametrize(("begun", "expected"), [(None, ""), (5.0, "unstarted"), (70.0, "unstarted")])
def test_a_request_that_was_begun_is_not_taken_for_one_that_was_not(begun: float | None, expected: str) -> None:
    played = case(tale(submitting(1, 1, ONE), unstarted(60, 1, ONE)), sends=(left(2, ONE, begun=begun, ends=90.0),))

    assert first(judge_unstarted(played)) == expected


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([submitting(1, 1, ONE)], ""),
        ([submitting(1, 1, ONE, TWO), accepted(2, 1), ended(9, "restarted", TWO)], ""),
        ([submitting(1, 1, ONE), accepted(2, 1), ended(9, "restarted", ONE)], "claims"),
        ([submitting(1, 1, ONE), rejected(2, 1)], "claims"),
        ([submitting(1, 1, ONE), unstarted(2, 1, ONE)], "claims"),
        ([submitting(1, 1, ONE), rejected(2, 1), submitting(3, 2, ONE)], ""),
        ([submitting(1, 1, TWO)], "claims"),
    ],
)
def test_a_living_process_keeps_no_server_that_it_has_done_with(entries: list[Entry], expected: str) -> None:
    played = case(tale(*entries, kind="direct"))
    played.record.claimed.append(Claimed(100_000, 100.0, "d1", ONE))

    assert first(judge_kept_claims(played)) == expected


@pytest.mark.parametrize(
    ("at", "entries", "taken"),
    [
        (5, [accepted(2, 1), ended(9, "restarted", ONE)], True),
        (10, [accepted(2, 1), ended(9, "restarted", ONE)], False),
        (0.5, [accepted(2, 1), ended(9, "restarted", ONE)], False),
        (5, [rejected(9, 1)], True),
        (5, [unstarted(4, 1, ONE)], False),
        # Its process has not lived to see the end: its claims are void.
        (5, [accepted(2, 1)], False),
    ],
)
def test_no_run_sends_what_a_callers_request_has(at: float, entries: list[Entry], taken: bool) -> None:  # noqa: FBT001
    direct = tale(submitting(1, 1, ONE), *entries, kind="direct")

    found = judge_ownership(case(tale(submitting(at, 1, ONE)), direct))

    assert any("while d1 had it" in each for each in found) is taken


@pytest.mark.parametrize(("said", "expected"), [(1, ""), (0, "gates")])
def test_a_gate_is_told_to_have_said_what_it_has(said: int, expected: str) -> None:
    told: list[Entry] = [(5, "gate.checked", {"gate": "./fine", "verdict": "go", "wave": 2})]
    played = case(tale(*told, (6, "gate.checked", {"gate": "./fine", "verdict": "inconclusive", "wave": 3})))
    played.record.tally["gates that said go"] += said

    assert first(judge_gates(played)) == expected


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0.0),
        ([(20.0, 30.0), (40.0, 45.0)], 15.0),
        ([(20.0, 30.0), (15.0, 40.0)], 25.0),
        ([(25.0, 40.0), (15.0, 30.0)], 25.0),
        ([(0.0, 12.0), (90.0, 200.0)], 12.0),
        ([(0.0, 5.0), (150.0, 200.0)], 0.0),
    ],
)
def test_what_two_outages_cover_counts_once(spans: list[tuple[float, float]], seconds: float) -> None:
    assert covered(spans, 10.0, 100.0) == seconds
