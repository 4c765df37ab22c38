"""A freeze of the store as a run tells it: how it stands, what it waits for, until when, and who is to be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from test_explain import NOW, STARTED, asked, first_wave_done, second_wave, sent, told

from ecsbatch.model import events as ev
from ecsbatch.model.freeze import Freeze
from ecsbatch.policy.explanation import Cause
from ecsbatch.policy.frozen import freeze_notice, freeze_of, freeze_words
from ecsbatch.policy.progress import progress
from ecsbatch.policy.standing import Phase, standing

WHY = "storage incident 4711"
FROZEN = ev.RunFrozen(by="ann@desk", reason=WHY, since=NOW - 750, until=NOW + 3600)
OPEN_ENDED = ev.RunFrozen(by="ann@desk", reason=f"{WHY}.", since=NOW - 750)
THAWED = ev.RunThawed(by="bob")
NOTICE = (
    f"Frozen by ann@desk 12m30s ago, for another 1h: {WHY}. Nothing new is sent by any run of this store; "
    "servers under way go on."
)
HOLD = ev.GateChecked(gate="hold", verdict="wait", wave=2)
ENDED = ev.ServerRestarted(server="b1", wave=2, batch=2, evidence="job")
ALL_SENT = (*second_wave(sent(2, "b1", "b2", "b3")), ev.BatchAccepted(batch=2, job_id="j"))


@pytest.mark.parametrize(
    ("events", "numbers", "phase", "text", "until"),
    [
        ([*STARTED, FROZEN], {}, Phase.FROZEN, f"frozen (by ann@desk: {WHY}, 1h left)", NOW + 3600),
        ([*STARTED, OPEN_ENDED], {}, Phase.FROZEN, f"frozen (by ann@desk: {WHY})", None),
        ([*STARTED, FROZEN, OPEN_ENDED], {}, Phase.FROZEN, f"frozen (by ann@desk: {WHY})", None),
        ([*STARTED, FROZEN, THAWED], {}, Phase.STARTING, "starting", None),
        ([*STARTED, ev.RunFrozen(by="", reason=WHY, until=NOW)], {}, Phase.STARTING, "starting", None),
        ([*STARTED, ev.RunFrozen(reason=WHY)], {}, Phase.FROZEN, f"frozen (by somebody: {WHY})", None),
        (
            [*first_wave_done(), FROZEN],
            {"soak": 80.0},
            Phase.FROZEN,
            f"frozen (by ann@desk: {WHY}, 1h left)",
            NOW + 3600,
        ),
        # Nothing of it waits to be sent, or something else is to be done first.
        ([*ALL_SENT, FROZEN], {}, Phase.RUNNING, "running", None),
        ([*STARTED, FROZEN, ev.RunPaused(by="bob")], {}, Phase.PAUSED, "paused by bob", None),
        ([*STARTED, FROZEN, ev.RunAborting(by="bob")], {}, Phase.ABORTING, "aborting", None),
        (
            [*STARTED, ev.RunFrozen(by="a\x1b[31m", reason="x" * 200)],
            {},
            Phase.FROZEN,
            f"frozen (by a\N{REPLACEMENT CHARACTER}[31m: {'x' * 59}…)",
            None,
        ),
    ],
)
def test_a_run_stands_frozen_while_servers_wait(
    events: Sequence[ev.Event], numbers: dict[str, Any], phase: Phase, text: str, until: float | None
) -> None:
    how = standing(told(events, **numbers), NOW)

    assert (how.phase, how.text, how.until) == (phase, text, until)


def test_a_hold_is_told_of_although_the_store_is_frozen() -> None:
    state = told([*first_wave_done(), HOLD, FROZEN], hold_after=(1,))
    told_of = progress(state, NOW).as_dict()

    assert (told_of["standing"], told_of["held_after"]) == ("frozen", 1)
    assert told_of["hold"]["before_wave"] == 2


@pytest.mark.parametrize(
    ("events", "numbers", "server", "cause", "words", "commands"),
    [
        ([*STARTED, FROZEN], {}, None, Cause.FROZEN, [NOTICE], ["ecsbatch thaw"]),
        ([*STARTED, FROZEN], {}, "a1", Cause.FROZEN, [NOTICE], ["ecsbatch thaw"]),
        ([*STARTED, FROZEN], {}, "b1", Cause.WAVE, ["wave 1 comes first", NOTICE], ["ecsbatch thaw"]),
        (
            [*first_wave_done(), HOLD, FROZEN],
            {"hold_after": (1,)},
            None,
            Cause.FROZEN,
            [NOTICE, "waits until somebody promotes the run"],
            ["ecsbatch thaw", "ecsbatch promote k7f", "ecsbatch abort k7f"],
        ),
        (
            [*first_wave_done(), ev.GateChecked(gate="./ok", verdict="wait", wave=2), FROZEN],
            {"gate": "./ok"},
            None,
            Cause.FROZEN,
            [NOTICE, "It is not asked again before the store is thawed, and has all of gate_timeout, 10m, then."],
            ["ecsbatch thaw", "ecsbatch abort k7f"],
        ),
        (
            [*STARTED, FROZEN, ev.RunPaused(by="bob", reason="paused")],
            {},
            "a1",
            Cause.PAUSED,
            ["was paused by bob", NOTICE],
            ["ecsbatch resume k7f", "ecsbatch abort k7f", "ecsbatch thaw"],
        ),
        ([*STARTED, FROZEN, THAWED], {}, "a1", Cause.QUEUED, ["Nothing holds it"], []),
    ],
)
def test_who_asks_hears_who_has_frozen_the_store_and_why(
    events: Sequence[ev.Event],
    numbers: dict[str, Any],
    server: str | None,
    cause: Cause,
    words: Sequence[str],
    commands: Sequence[str],
) -> None:
    answer = asked(told(events, **numbers), server)

    assert answer.cause is cause
    assert list(answer.commands) == commands
    places = [answer.text.index(each) for each in words]
    assert places == sorted(places)
    assert (answer.frozen is not None) is (NOTICE in words)


@pytest.mark.parametrize(
    ("events", "server", "cause"),
    [
        ([*ALL_SENT, FROZEN], "b2", Cause.RESTARTING),
        ([*ALL_SENT, ENDED, FROZEN], "b1", Cause.RESTARTED),
        ([*STARTED, FROZEN], "off", Cause.SKIPPED),
        ([*STARTED, FROZEN], "nobody", Cause.NOT_OF_RUN),
        ([*STARTED, FROZEN, ev.RunFinished(status="aborted")], None, Cause.OVER),
    ],
)
def test_whom_a_freeze_does_not_hold_up_says_nothing_of_it(
    events: Sequence[ev.Event], server: str | None, cause: Cause
) -> None:
    answer = asked(told(events), server)

    assert (answer.cause, answer.frozen) == (cause, None)
    assert "rozen" not in answer.text


def test_a_run_of_which_all_is_sent_says_it_too_but_waits_for_its_servers() -> None:
    answer = asked(told([*ALL_SENT, FROZEN]))

    assert (answer.cause, answer.frozen is not None, "ecsbatch thaw" in answer.commands) == (
        Cause.RESTARTING,
        True,
        True,
    )


def test_progress_has_the_freeze_as_an_object_and_no_pace() -> None:
    state = told([*STARTED, (400.0, sent(1, "a1")), FROZEN])
    frozen = progress(state, NOW).as_dict()

    assert frozen["frozen"] == {
        "by": "ann@desk",
        "reason": WHY,
        "since": "2025-12-31T23:47:30.000Z",
        "until": "2026-01-01T01:00:00.000Z",
    }
    assert (frozen["sending"], frozen["per_minute"], frozen["waits_for"]["cause"]) == (False, None, "frozen")
    assert progress(told([*STARTED, FROZEN, THAWED]), NOW).as_dict()["frozen"] is None


@pytest.mark.parametrize(
    ("freeze", "words", "sentence"),
    [
        (Freeze("ann", "why", NOW - 61), "by ann: why", "Frozen by ann 1m1s ago: why. Nothing"),
        (
            Freeze("ann", "why.", NOW + 5, NOW + 30),
            "by ann: why, 30s left",
            "Frozen by ann 0s ago, for another 30s: why. N",
        ),
        (
            Freeze("", "why", NOW, NOW - 5),
            "by somebody: why, 0s left",
            "Frozen by somebody 0s ago, for another 0s: why.",
        ),
    ],
)
def test_it_is_said_in_a_few_words_and_in_sentences(freeze: Freeze, words: str, sentence: str) -> None:
    assert freeze_words(freeze, NOW) == words
    assert freeze_notice(freeze, NOW).startswith(sentence)


def test_a_freeze_holds_until_it_ends() -> None:
    freeze = Freeze("ann", "why", 10.0, 20.0)

    assert [freeze.holds(at) for at in (10.0, 19.9, 20.0)] == [True, True, False]
    assert not Freeze("ann", "why", 10.0, 20.0, "bob", 15.0).holds(16.0)
    assert Freeze("ann", "why", 10.0).holds(1e9)
    assert freeze_of(told([*STARTED, FROZEN]), NOW + 3600) is None
