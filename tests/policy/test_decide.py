"""Go, wait or stop: the whole decision as tables. A row's name is the rule; its events are how a run came to there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Plan, Skip, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Halt
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.decide import (
    Breach,
    Decision,
    Ending,
    Limits,
    Step,
    awaited_until,
    breach,
    decide,
    domain_room,
    ending,
    first_unhealthy,
    held_before,
    left_out_whole,
    limits_of,
    unhealthy,
    unhealthy_count,
)

CANARY, ZONE_A, ZONE_B = ["a1", "b1"], ["a2", "a3", "a4", "a5"], ["b2", "b3", "b4", "b5"]
IDS = [*CANARY, *ZONE_A, *ZONE_B, "c1", "off"]
WAVES = (Wave(1, 0, 2, "2"), Wave(2, 2, 6, "a"), Wave(3, 6, 10, "b"), Wave(4, 10, 11, "c"))
START = 1_767_225_600.0

Told = Sequence[ev.Event]


def plan(**numbers: Any) -> Plan:
    """A canary of two zones, then zones a, b and c, three servers down at once; one that is off is left alone."""
    fleet = Fleet(IDS, [*(id_[0] for id_ in IDS[:-1]), "b"])
    standard: dict[str, Any] = {"max_unavailable": 3, "max_failures": 1}
    return Plan(fleet, WAVES, (Skip("not_active", 11, 12),), **(standard | numbers))


def told(events: Told, **numbers: Any) -> RolloutState:
    """Fold events, one a second."""
    state = RolloutState("k7f", plan(**numbers))
    for seq, event in enumerate([ev.RunStarted(total=len(IDS)), *events]):
        state.apply(Recorded(seq + 1, START + seq, "k7f", event))
    return state


def now(state: RolloutState) -> Limits:
    return limits_of(state.plan, state.limits)


# -- what happens to servers -------------------------------------------------------------------------------------------


def sent(*servers: str, batch: int = 1) -> list[ev.Event]:
    return [ev.BatchSubmitting(batch=batch, servers=servers, updated=[""] * len(servers))]


def restarted(*servers: str, batch: int = 1) -> list[ev.Event]:
    return [ev.ServerRestarted(server=server, batch=batch) for server in servers]


def failed(*servers: str, holds: bool = False) -> list[ev.Event]:
    return [ev.ServerFailed(server=server, batch=1, holds=holds) for server in servers]


def skipped(server: str, reason: str, *, holds: bool = False) -> list[ev.Event]:
    return [ev.ServerSkipped(server=server, reason=reason, holds=holds)]


def adjusted(**limits: Any) -> list[ev.Event]:
    return [ev.LimitChanged(limit=limit, new=new) for limit, new in limits.items()]


ZONE_A_LEFT_OUT = ev.RunResumed(skip_domains=["a"])
ZONE_B_LEFT_OUT = ev.RunResumed(skip_domains=["b"])
FORGIVEN = ev.RunResumed(forgive=True)
TRIED_AGAIN = ev.RunResumed(retry=["failed"])
ABORTED = ev.RunAborting(by="bob@desk")

# -- inside a wave -----------------------------------------------------------------------------------------------------

WAIT, DONE, EXHAUSTED = Decision(Step.WAIT), Decision(Step.WAVE_DONE), Decision(Step.BUDGET_EXHAUSTED)


def feed(room: int) -> Decision:
    return Decision(Step.FEED, room)


NO_ANSWER = ev.BatchUnknown(batch=1)
SEEN_UP = ev.ServerReleased(server="a2")
OURS_IS_DOWN = failed("a2", holds=True)
OTHERS_RESTART = skipped("a2", "already_restarting", holds=True)
ONE_LEFT = [*sent(*ZONE_A), *restarted(*ZONE_A[:3])]

BUDGET = {
    # Places of the budget.
    "with nobody down, as many go as may be down at once": ([], feed(3)),
    "who is under way takes a slot": (sent("a2"), feed(2)),
    "who is under way without an answer takes a slot": ([*sent("a2"), NO_ANSWER], feed(2)),
    "who is back gives its slot to the next": ([*sent("a2"), *restarted("a2")], feed(3)),
    "who has failed and is up gives its slot back": ([*sent("a2"), *failed("a2")], feed(3)),
    "who has failed and may be down keeps it": ([*sent("a2"), *OURS_IS_DOWN], feed(2)),
    "who is seen up after its end gives it back": ([*sent("a2"), *OURS_IS_DOWN, SEEN_UP], feed(3)),
    "who is forgiven gives it back": ([*sent("a2"), *OURS_IS_DOWN, FORGIVEN], feed(3)),
    "whom somebody else restarts takes a slot": (OTHERS_RESTART, feed(2)),
    "who is off and left alone takes none": (skipped("off", "not_active"), feed(3)),
    "who was on its way down before the run takes one": (skipped("off", "not_active", holds=True), feed(2)),
    "a slot that an earlier wave has lost is missing in a later one": (failed("a1", holds=True), feed(2)),
    "a budget that was widened holds at once": (adjusted(max_unavailable=4), feed(4)),
    "a budget that was tightened holds at once": (adjusted(max_unavailable=1), feed(1)),
    "no more go than wait": ([*sent("a2", "a3"), *restarted("a2", "a3")], feed(2)),
    "who is tried again waits again": ([*failed(*ZONE_A), TRIED_AGAIN], feed(3)),
    # Nothing to do but wait for news.
    "a full budget waits for who is under way": (sent("a2", "a3", "a4"), WAIT),
    "a budget below what is down waits": ([*sent("a2", "a3"), *adjusted(max_unavailable=1)], WAIT),
    "a wave waits for its last server under way": (ONE_LEFT, WAIT),
    "a full budget waits for another wave's server": ([*sent("a1"), *failed("a2", "a3", holds=True)], WAIT),
    # The end of a wave, and a budget that nobody gives back.
    "with every outcome a wave is done": ([*sent(*ZONE_A), *restarted(*ZONE_A)], DONE),
    "a wave is done whatever its outcomes are": (
        [*failed("a2", "a3"), *skipped("a4", "locked"), *restarted("a5")],
        DONE,
    ),
    "a wave is done though its servers hold all slots": ([*sent(*ZONE_A), *failed(*ZONE_A, holds=True)], DONE),
    "a wave is done though another wave's server is under way": ([*sent("a1"), *restarted(*ZONE_A)], DONE),
    "a wave that was left out whole is done": ([ZONE_A_LEFT_OUT], DONE),
    "slots that nobody gives back exhaust the budget": (failed("a2", "a3", "a4", holds=True), EXHAUSTED),
    "wherever they were lost, slots of no return exhaust it": (
        [*failed("a1", "b1", holds=True), *adjusted(max_unavailable=2)],
        EXHAUSTED,
    ),
}


@pytest.mark.parametrize(("events", "decision"), BUDGET.values(), ids=BUDGET)
def test_a_wave_goes_on_as_the_budget_allows(events: Told, decision: Decision) -> None:
    state = told(events)

    assert decide(state, now(state), state.waves[1], 0, 100) == decision


QUEUE = {
    "who is queued takes a slot, as if it were down": ([], 1, 100, feed(2)),
    "under way and queued take a slot each": (sent("a2"), 1, 100, feed(1)),
    "who is queued is not offered twice": ([*sent("a2", "a3"), *restarted("a2", "a3")], 1, 100, feed(1)),
    "the engine gets no more than it can soon send": ([], 0, 2, feed(2)),
    "what the engine has at hand is part of what it can soon send": (adjusted(max_unavailable=4), 1, 2, feed(1)),
    "what is under way is no part of what the engine has at hand": (sent("a2"), 0, 2, feed(2)),
    "an engine that has enough at hand gets none": ([], 2, 2, WAIT),
    "a budget that the queue fills waits for what it becomes": ([], 3, 100, WAIT),
    "while all who wait are queued there is nobody to offer": (adjusted(max_unavailable=9), 4, 100, WAIT),
    "while the queue may yet send, the budget is not given up": (failed("a2", "a3", holds=True), 1, 100, WAIT),
}


@pytest.mark.parametrize(("events", "queued", "ahead", "decision"), QUEUE.values(), ids=QUEUE)
def test_what_the_engine_has_at_hand_counts(events: Told, queued: int, ahead: int, decision: Decision) -> None:
    state = told(events)

    assert decide(state, now(state), state.waves[1], queued, ahead) == decision


PER_ZONE = {"max_unavailable_per_domain": {"a": 2, "b": 1}}
ONLY_B = {"max_unavailable_per_domain": {"b": 1}}

ZONES = {
    "without limits of zones the run's own holds": ([], {}, "a", 0, 3),
    "without limits of zones nobody of a zone takes a slot of it": (sent("a1", "a2"), {}, "a", 1, 3),
    "a zone has its own slots": ([], PER_ZONE, "a", 0, 2),
    "who is under way takes one of its zone": (sent("a1"), PER_ZONE, "a", 0, 1),
    "who is under way takes no slot of another zone": (sent("a1"), PER_ZONE, "b", 0, 1),
    "who is queued takes one of its zone": ([], PER_ZONE, "a", 1, 1),
    "who has failed and may be down keeps its slot": (failed("a1", holds=True), PER_ZONE, "a", 0, 1),
    "who is back gives its slot up": ([*sent("a1"), *restarted("a1")], PER_ZONE, "a", 0, 2),
    "a full zone has no room": (sent("b1"), PER_ZONE, "b", 0, 0),
    "a zone with more in hand than slots has less than none": (sent("a1", "a2"), PER_ZONE, "a", 1, -1),
    "a zone that the limits do not name has the run's slots": ([], ONLY_B, "a", 1, 2),
    "of the run's slots its own servers take theirs": (sent("a1"), ONLY_B, "a", 0, 2),
    "of the run's slots other zones' servers take none here": (sent("b1"), ONLY_B, "a", 0, 3),
    "limits that were changed hold": (adjusted(max_unavailable_per_domain={"a": 4}), PER_ZONE, "a", 0, 4),
}


@pytest.mark.parametrize(("events", "numbers", "zone", "queued", "room"), ZONES.values(), ids=ZONES)
def test_a_zone_has_room_for_so_many_more(
    events: Told, numbers: dict[str, Any], zone: str, queued: int, room: int
) -> None:
    state = told(events, **numbers)

    assert domain_room(state, now(state), zone, queued) == room


OTHERS_RESTART_A3 = skipped("a3", "already_restarting", holds=True)

AWAITED = {
    "nobody is awaited where no slot is held": ([], None),
    "a failed server may never come back by itself": (OURS_IS_DOWN, None),
    "who was switched off before may never come back by itself": (skipped("a2", "not_active", holds=True), None),
    "whom somebody else restarts is back within a server's time": (OTHERS_RESTART, 1 + 600),
    "so is whom a forgotten request may have restarted": (
        skipped("a3", "restarted_recently", holds=True),
        1 + 600,
    ),
    "the last of several is awaited": ([*OTHERS_RESTART, *OTHERS_RESTART_A3], 2 + 600),
    "the last is awaited in whatever order they stand": ([*OTHERS_RESTART_A3, *OTHERS_RESTART], 2 + 600),
    "others are awaited beside slots that are held for ever": ([*OURS_IS_DOWN, *OTHERS_RESTART_A3], 2 + 600),
    "who was seen up again is awaited no more": ([*OTHERS_RESTART, SEEN_UP], None),
    "who holds no slot is not awaited": (skipped("a2", "already_restarting"), None),
}


@pytest.mark.parametrize(("events", "seconds"), AWAITED.values(), ids=AWAITED)
def test_a_full_budget_is_awaited_while_others_may_give_it_back(events: Told, seconds: float | None) -> None:
    until = awaited_until(told(events, server_timeout=600.0))

    assert until == (None if seconds is None else START + seconds)


JOB_RUNS = [*sent("a2", "a3"), ev.BatchAccepted(batch=1, job_id="j")]
JOB_ENDED = [*JOB_RUNS, ev.JobFinished(batch=1, status="SUCCESS")]

HEALTH = {
    "without a check nobody is asked for its health": (JOB_ENDED, "", []),
    "while its job runs nobody is asked for its health": (JOB_RUNS, "tcp:22", []),
    "whose job has ended has its health to show": (JOB_ENDED, "tcp:22", ["a2", "a3"]),
    "who has its outcome has shown its health": ([*JOB_ENDED, *restarted("a2")], "tcp:22", ["a3"]),
    "nobody is left when all have theirs": ([*JOB_ENDED, *restarted("a2"), *failed("a3")], "tcp:22", []),
}


@pytest.mark.parametrize(("events", "check", "servers"), HEALTH.values(), ids=HEALTH)
def test_whose_job_has_ended_is_unhealthy_until_its_check_passes(events: Told, check: str, servers: list[str]) -> None:
    state = told(events, check=check)

    assert unhealthy(state) == servers
    assert (unhealthy_count(state), first_unhealthy(state)) == (len(servers), servers[0] if servers else None)


# -- the limits of failures --------------------------------------------------------------------------------------------

WHOLE_RUN = {"max_failures": 1}
EACH_WAVE = {"max_failures": 9, "max_failures_per_wave": (0, 1, 2, 0)}
EACH_ZONE = {"max_failures": 9, "max_failures_per_domain": {"a": 1, "b": 0}}
ONLY_B_FAILS = {"max_failures_per_domain": {"b": 0}}
TWO_LOST = [ev.ServerTimedOut(server="a2"), ev.ServerUnknown(server="a3")]


def run(failures: int, allowed: int) -> Breach:
    return Breach("max_failures", failures, allowed)


def wave(number: int, failures: int, allowed: int) -> Breach:
    return Breach("max_failures_per_wave", failures, allowed, f"wave {number}")


def zone(name: str, failures: int, allowed: int) -> Breach:
    return Breach("max_failures_per_domain", failures, allowed, name)


FAILURES = {
    "where nothing has failed nothing stops": ([], WHOLE_RUN, None),
    "as many failures as are allowed stop nothing": (failed("a1"), WHOLE_RUN, None),
    "one failure more than allowed stops": (failed("a1", "b2"), WHOLE_RUN, run(2, 1)),
    "where none is allowed the first stops": (failed("a1"), {"max_failures": 0}, run(1, 0)),
    "who timed out has failed, and of whom nothing is known": (TWO_LOST, WHOLE_RUN, run(2, 1)),
    "who was rightly left alone has not failed": (
        [*skipped("a2", "locked"), *skipped("a3", "not_found")],
        WHOLE_RUN,
        None,
    ),
    "whom nobody wants any more has not failed": ([ZONE_A_LEFT_OUT], WHOLE_RUN, None),
    "what is forgiven does not count": ([*failed("a1", "b2"), FORGIVEN], WHOLE_RUN, None),
    "what fails after forgiving counts from one": ([*failed("a1", "b2"), FORGIVEN, *failed("a3")], WHOLE_RUN, None),
    "who is tried again has not failed": ([*failed("a1", "b2"), TRIED_AGAIN], WHOLE_RUN, None),
    "a limit that was widened allows more": ([*failed("a1", "b2"), *adjusted(max_failures=2)], WHOLE_RUN, None),
    "a limit that was tightened stops": ([*failed("a1"), *adjusted(max_failures=0)], WHOLE_RUN, run(1, 0)),
    "each wave has a limit of its own": (failed("a2"), EACH_WAVE, None),
    "one more in a wave stops": (failed("a2", "a3"), EACH_WAVE, wave(2, 2, 1)),
    "failures of several waves are not added up": (failed("a2", "b2", "b3"), EACH_WAVE, None),
    "the first wave is numbered one": (failed("b1"), EACH_WAVE, wave(1, 1, 0)),
    "the last wave has its limit too": (failed("c1"), EACH_WAVE, wave(4, 1, 0)),
    "the first wave of several is named": ([*failed("b1"), *failed(*ZONE_B[:3])], EACH_WAVE, wave(1, 1, 0)),
    "each zone has a limit of its own": (failed("a2"), EACH_ZONE, None),
    "one more in a zone stops": (failed("a2", "a3"), EACH_ZONE, zone("a", 2, 1)),
    "the zone that is over its limit is named": (failed("b1"), EACH_ZONE, zone("b", 1, 0)),
    "who is off belongs to a zone as well": (failed("off"), EACH_ZONE, zone("b", 1, 0)),
    "a zone that the limits do not name has none": (failed(*ZONE_A), EACH_ZONE | ONLY_B_FAILS, None),
    "the run's limit is named before a wave's": (failed("a1", "b1"), EACH_WAVE | WHOLE_RUN, run(2, 1)),
    "a wave's is named before a zone's": (failed("b1"), EACH_ZONE | EACH_WAVE, wave(1, 1, 0)),
}


@pytest.mark.parametrize(("events", "numbers", "exceeded"), FAILURES.values(), ids=FAILURES)
def test_failures_stop_a_run_beyond_what_is_allowed(
    events: Told, numbers: dict[str, Any], exceeded: Breach | None
) -> None:
    state = told(events, **numbers)

    assert breach(state, now(state)) == exceeded


@pytest.mark.parametrize(
    ("exceeded", "says"),
    [
        (run(1, 0), "1 failure, 0 are allowed (max_failures)"),
        (run(2, 1), "2 failures, 1 is allowed (max_failures)"),
        (run(6, 5), "6 failures, 5 are allowed (max_failures)"),
        (wave(2, 2, 1), "2 failures in wave 2, 1 is allowed (max_failures_per_wave)"),
        (zone("az1", 1, 0), "1 failure in az1, 0 are allowed (max_failures_per_domain)"),
    ],
)
def test_an_exceeded_limit_says_how_many_where_and_by_which_setting(exceeded: Breach, says: str) -> None:
    assert str(exceeded) == says


LIMITED = {
    "max_unavailable": 3,
    "max_unavailable_per_domain": {"a": 2},
    "max_failures": 1,
    "max_failures_per_wave": (0, 1, 2),
    "max_failures_per_domain": {"b": 0},
}

CHANGES = {
    "the plan's own hold": ([], {}),
    "one that was changed holds instead": ([{"max_unavailable": 5}], {"max_unavailable": 5}),
    "the last change of it holds": ([{"max_failures": 7}, {"max_failures": 4}], {"max_failures": 4}),
    "changes of several hold together": (
        [{"max_failures": 7}, {"max_unavailable": 1}],
        {"max_failures": 7, "max_unavailable": 1},
    ),
    "zones' slots change as a whole": (
        [{"max_unavailable_per_domain": {"b": 4}}],
        {"max_unavailable_per_domain": {"b": 4}},
    ),
    "waves' limits are the same read from a record": (
        [{"max_failures_per_wave": [4, 5, 6]}],
        {"max_failures_per_wave": (4, 5, 6)},
    ),
    "a limit can be taken away": ([{"max_failures_per_domain": None}], {"max_failures_per_domain": None}),
    "a setting that is none of these limits changes none": ([{"soak": 60.0}], {}),
}


@pytest.mark.parametrize(("changes", "differ"), CHANGES.values(), ids=CHANGES)
def test_the_limits_are_the_plans_as_changed_since(changes: Sequence[dict[str, Any]], differ: dict[str, Any]) -> None:
    state = told([event for each in changes for event in adjusted(**each)], **LIMITED)

    assert now(state) == Limits(**(LIMITED | differ))


# -- the end of a run --------------------------------------------------------------------------------------------------

UNREACHABLE = Halt("cloud_unreachable", "Nothing was seen of the cloud for 5m.")
INTERRUPT = Ending(RunStatus.INTERRUPTED, "interrupted", "Stopped by SIGTERM.")
GATE_STOPS = Ending(RunStatus.STOPPED, "gate", "errors at 3%")
ONE_TOO_MANY = wave(2, 2, 1)
TAKEN_OVER = [ev.RunStopped(status="interrupted"), ev.HolderChanged(holder="eve", fence=2)]

HALTED = Ending(RunStatus.STOPPED, "cloud_unreachable", "Nothing was seen of the cloud for 5m.", drain=False)
ABORT = Ending(RunStatus.ABORTED, "aborted", "Aborted by bob@desk.", drain=True)
EXCEEDED = Ending(
    RunStatus.STOPPED,
    "max_failures_per_wave",
    "2 failures in wave 2, 1 is allowed (max_failures_per_wave).",
    drain=True,
)

CAUSES = {
    "where nothing says otherwise a run goes on": ([], None, None, None, None),
    "an engine that cannot go on stops the run as it stands": ([], UNREACHABLE, None, None, HALTED),
    "what was asked for ends it as asked": ([], None, INTERRUPT, None, INTERRUPT),
    "a gate's stop ends it as the gate says": ([], None, GATE_STOPS, None, GATE_STOPS),
    "an exceeded limit stops it when all under way have ended": ([], None, None, ONE_TOO_MANY, EXCEEDED),
    "an abort ends it when all under way have ended": ([ABORTED], None, None, None, ABORT),
    "an abort by nobody names nobody": ([ev.RunAborting()], None, None, None, replace(ABORT, message="")),
    # Of several causes.
    "who cannot go on does not ask who else wants an end": ([], UNREACHABLE, INTERRUPT, ONE_TOO_MANY, HALTED),
    "a request goes before a limit, and waits for nobody": ([], None, INTERRUPT, ONE_TOO_MANY, INTERRUPT),
    "a gate's stop goes before a limit": ([], None, GATE_STOPS, ONE_TOO_MANY, GATE_STOPS),
    # An abort is for good: it outlives whatever else would end the run here.
    "an aborting run follows what it still can see": ([ABORTED], UNREACHABLE, None, None, ABORT),
    "an aborting run is no gate's to stop": ([ABORTED], None, GATE_STOPS, None, ABORT),
    "an aborting run does not stop for failures": ([ABORTED], None, None, ONE_TOO_MANY, ABORT),
    "an aborting run can be interrupted": ([ABORTED], None, INTERRUPT, None, INTERRUPT),
    "an aborting run can be interrupted where its cloud cannot be reached": (
        [ABORTED],
        UNREACHABLE,
        INTERRUPT,
        ONE_TOO_MANY,
        INTERRUPT,
    ),
    "an abort outlives its holder": ([ABORTED, *TAKEN_OVER], None, None, None, ABORT),
}


@pytest.mark.parametrize(("events", "halt", "request_", "exceeded", "why"), CAUSES.values(), ids=CAUSES)
def test_a_run_ends_here_for_the_first_of_its_causes(
    events: Told, halt: Halt | None, request_: Ending | None, exceeded: Breach | None, why: Ending | None
) -> None:
    assert ending(told(events), halt, request_, exceeded) == why


# -- between waves -----------------------------------------------------------------------------------------------------

LEFT_OUT = {
    "a wave whose servers wait has something to send": ([], 2, False),
    "a wave of which all were left out has nothing to send": ([ZONE_A_LEFT_OUT], 2, True),
    "the other zone's wave goes on": ([ZONE_A_LEFT_OUT], 3, False),
    "a wave of both zones goes on with one of them": ([ZONE_A_LEFT_OUT], 1, False),
    "a wave that had begun is not passed over": ([*sent("a2"), *restarted("a2"), ZONE_A_LEFT_OUT], 2, False),
    "a wave with a server under way is not passed over": ([*sent("a2"), ZONE_A_LEFT_OUT], 2, False),
    "a wave that is over by itself was not left out": ([*sent(*ZONE_A), *restarted(*ZONE_A)], 2, False),
    "who is tried again is wanted again": ([*failed("a2"), ZONE_A_LEFT_OUT, TRIED_AGAIN], 2, False),
}


@pytest.mark.parametrize(("events", "wave", "whole"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_wave_is_passed_over_where_all_of_it_was_left_out(events: Told, wave: int, *, whole: bool) -> None:
    assert left_out_whole(told(events), wave) is whole


def promoted(wave: int) -> list[ev.Event]:
    return [ev.GateChecked(gate="hold", verdict="go", wave=wave)]


HOLDS = {
    "without a hold nobody is asked": ((), [], 2, False),
    "a wave after a hold waits for somebody's word": ((1,), [], 2, True),
    "the wave of the hold itself does not": ((2,), [], 2, False),
    "nothing holds the first wave": ((1, 2), [], 1, False),
    "who was promoted goes on": ((1,), promoted(2), 2, False),
    "waiting at a hold is no word": ((1,), [ev.GateChecked(gate="hold", verdict="wait", wave=2)], 2, True),
    "a gate's go is no word of somebody's": ((1,), [ev.GateChecked(gate="./ok", verdict="go", wave=2)], 2, True),
    "a word lets a run pass one hold and not the next": ((1, 2), promoted(2), 3, True),
    "each hold wants a word of its own": ((1, 2), [*promoted(2), *promoted(3)], 3, False),
    "a hold that was passed holds no later wave": ((1,), [], 3, False),
    # Waves that are passed over.
    "a hold outlives a wave that is passed over": ((1,), [ZONE_A_LEFT_OUT], 3, True),
    "a word outlives a wave that is passed over": ((1,), [*promoted(2), ZONE_A_LEFT_OUT], 3, False),
    "a later word counts for an earlier hold": ((1,), [ZONE_A_LEFT_OUT, *promoted(3)], 3, False),
    "a hold after a wave that is passed over holds": ((2,), [ZONE_A_LEFT_OUT], 3, True),
    "a hold after a wave that is passed over wants a word of its own": (
        (1, 2),
        [*promoted(2), ZONE_A_LEFT_OUT],
        3,
        True,
    ),
    "a hold outlives several waves that are passed over": ((1,), [ZONE_A_LEFT_OUT, ZONE_B_LEFT_OUT], 4, True),
    "a wave that is not passed over ends the hold before it": ((1,), [ZONE_B_LEFT_OUT], 4, False),
    "a wave of which one was sent ends the hold before it": ((1,), [*sent("a2"), ZONE_A_LEFT_OUT], 3, False),
}


@pytest.mark.parametrize(("hold_after", "events", "wave", "held"), HOLDS.values(), ids=HOLDS)
def test_a_wave_is_held_until_somebody_promotes_the_run(
    hold_after: tuple[int, ...], events: Told, wave: int, *, held: bool
) -> None:
    assert held_before(told(events, hold_after=hold_after), wave) is held
