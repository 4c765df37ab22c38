"""Why a server is not restarted yet: the true cause of each hold-up, told from the events alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Skip, Wave
from ecsbatch.model.quota import Usage
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.explain import explain
from ecsbatch.policy.explanation import Cause, Explanation
from ecsbatch.policy.quota_now import quota_now
from ecsbatch.views.explanation import explanation_lines

NOW = 1_767_225_600.0
IDS = ["a1", "a2", "b1", "b2", "b3", "off"]


def plan(**numbers: Any) -> Plan:
    """Two waves of two and three servers in two zones, and one server that is left alone."""
    fleet = Fleet(IDS, ["az1", "az1", "az2", "az2", "az2", "az1"])
    waves = (Wave(1, 0, 2, "2"), Wave(2, 2, 5, "100%"))
    standard: dict[str, Any] = {"max_unavailable": 2, "max_failures": 1}
    return Plan(fleet, waves, (Skip("not_active", 5, 6),), **(standard | numbers))


def told(events: Iterable[ev.Event | tuple[float, ev.Event]], **numbers: Any) -> RolloutState:
    """Fold events that happened a minute ago, or so many seconds before now as stand beside them."""
    state = RolloutState("k7f", plan(**numbers))
    for seq, entry in enumerate(events, 1):
        before, event = entry if isinstance(entry, tuple) else (60.0, entry)
        state.apply(Recorded(seq, NOW - before, "k7f", event))
    return state


def asked(state: RolloutState, server: str | None = None, **known: Any) -> Explanation:
    return explain(state, now=NOW, server=server, **known)


STARTED: Sequence[ev.Event] = (
    ev.RunStarted(total=6),
    ev.HolderChanged(holder="ann@desk", fence=1),
    ev.ServerSkipped(server="off", reason="not_active"),
    ev.WaveStarted(wave=1, servers=2),
)


def sent(batch: int, *servers: str) -> ev.BatchSubmitting:
    return ev.BatchSubmitting(batch=batch, servers=servers, updated=[""] * len(servers), wave=1)


def first_wave_done() -> list[ev.Event]:
    return [
        *STARTED,
        sent(1, "a1", "a2"),
        ev.BatchAccepted(batch=1, job_id="j1"),
        ev.ServerRestarted(server="a1", wave=1, batch=1, evidence="job"),
        ev.ServerRestarted(server="a2", wave=1, batch=1, evidence="job"),
        ev.WaveFinished(wave=1),
    ]


def second_wave(*more: ev.Event) -> list[ev.Event]:
    return [*first_wave_done(), ev.WaveStarted(wave=2, servers=3), *more]


BUSY = Usage(limit=1000, held=300, cooling=700, free=0, next_free_in=12.0)
WAITED_OUT = Usage(limit=1000, held=0, cooling=1000, free=0, next_free_in=125.0, waited_out=True)
FREE = Usage(limit=1000, held=0, cooling=0, free=1000)
FAILED = ev.ServerFailed(server="b1", wave=2, domain="az2", batch=2, code="Ecs.0608", message="No.", holds=True)
REJECTED = ev.BatchRejected(batch=2, kind="not_sent", message="Connection refused.")
REFUSED = ev.BatchRejected(batch=2, kind="refused", message="Not allowed.", code="Ecs.0013")
UNSEEN = ev.CloudUnseen(seconds=10.0, timeout=300.0, message="no route")
ABORTING = ev.RunAborting(by="bob")
STOPPED = ev.RunStopped(status="stopped", reason="max_failures", message="2 failures, 1 are allowed.")


@pytest.mark.parametrize(
    ("events", "numbers", "known", "server", "cause", "says"),
    [
        ([*STARTED], {}, {}, "elsewhere", Cause.NOT_OF_RUN, ["none of run k7f's 6"]),
        ([*STARTED], {}, {"claimed_by": "m2p"}, "elsewhere", Cause.CLAIMED, ["claimed by run m2p"]),
        (first_wave_done(), {}, {}, "a1", Cause.RESTARTED, ["2025-12-31T23:59:00.000Z", "word of its job"]),
        ([*STARTED], {}, {}, "off", Cause.SKIPPED, ["left alone", "not_active"]),
        ([ev.RunStarted(total=6)], {}, {}, "off", Cause.SKIPPED, ["The plan leaves it out: not_active"]),
        (second_wave(sent(2, "b1"), FAILED), {}, {}, "b1", Cause.FAILED, ["Ecs.0608, No. It keeps its place"]),
        ([*STARTED, sent(1, "a1")], {}, {}, "a1", Cause.SUBMITTING, ["Batch 1 was sent 1m ago"]),
        ([*STARTED, sent(1, "a1"), ev.BatchAccepted(batch=1, job_id="j9")], {}, {}, "a1", Cause.RESTARTING, ["job j9"]),
        (
            [
                *STARTED,
                sent(1, "a1"),
                ev.BatchAccepted(batch=1, job_id="j9"),
                ev.JobFinished(batch=1, status="SUCCESS"),
            ],
            {"check": "tcp:22", "min_ready": 10.0},
            {},
            "a1",
            Cause.NOT_HEALTHY,
            ["Job j9", "tcp:22 has not passed yet (10 s in a row"],
        ),
        ([*STARTED, sent(1, "a1"), ev.BatchUnknown(batch=1)], {}, {}, "a1", Cause.UNSETTLED, ["no answer", "For 1m"]),
        ([*STARTED, sent(1, "a1", "a2")], {}, {}, "b1", Cause.WAVE, ["wave 2 of 2", "wave 1 comes first"]),
        (first_wave_done(), {"soak": 100.0}, {}, "b1", Cause.SOAK, ["another 40s before wave 2"]),
        (
            [*first_wave_done(), ev.GateChecked(gate="hold", verdict="wait", wave=2)],
            {"hold_after": (1,), "soak": 20.0},
            {},
            "b1",
            Cause.HOLD,
            ["until somebody promotes the run, for 40s so far"],  # the soak was no hold
        ),
        (
            [*first_wave_done(), ev.GateChecked(gate="./ok", verdict="wait", wave=2, message="errors at 3%")],
            {"gate": "./ok"},
            {},
            None,
            Cause.GATE,
            ["./ok said wait for wave 2 1m ago: errors at 3%"],
        ),
        (
            [*first_wave_done(), ev.GateChecked(gate="./ok", verdict="inconclusive", wave=2, message="KeyError: 'x'.")],
            {"gate": "./ok"},
            {},
            "b1",
            Cause.GATE,
            ["./ok gave no verdict for wave 2 1m ago: KeyError: 'x'. It is asked again"],
        ),
        (first_wave_done(), {"gate": "./ok"}, {}, "b1", Cause.GATE, ["is being asked whether wave 2 may start"]),
        (
            [*STARTED, sent(1, "a1"), ABORTING],
            {},
            {},
            "a2",
            Cause.ABORTING,
            ["by bob, for 1m", "the server under way has"],
        ),
        ([*STARTED, sent(1, "a1"), ABORTING], {}, {}, "a1", Cause.SUBMITTING, ["Batch 1"]),
        ([*STARTED, sent(1, "a1"), ABORTING], {}, {}, None, Cause.ABORTING, ["nothing new is sent"]),
        (
            [*STARTED, sent(1, "a1"), ABORTING],
            {},
            {"holder_alive": False},
            None,
            Cause.ORPHANED,
            ["It is being aborted by bob: whoever goes on with it sends nothing any more."],
        ),
        (
            [*STARTED, ev.RunResumed(skip_domains=["az2"])],
            {},
            {},
            "b1",
            Cause.LEFT_OUT,
            ["goes on without az2", "nothing is sent"],
        ),
        ([*STARTED, ev.RunPaused(reason="paused", by="bob")], {}, {}, "a1", Cause.PAUSED, ["paused by bob 1m ago"]),
        (
            [*first_wave_done(), ev.RunPaused(reason="gate_inconclusive")],
            {"gate": "./ok"},
            {},
            "b1",
            Cause.GATE,
            ["was paused 1m ago: gate_inconclusive"],
        ),
        (second_wave(sent(2, "b1"), FAILED, STOPPED), {}, {}, "b2", Cause.FAILURE_LIMIT, ["2 failures, 1 are allowed"]),
        (
            [*STARTED, ev.RunStopped(status="interrupted", reason="interrupted", message="Stopped by SIGINT.")],
            {},
            {},
            None,
            Cause.INTERRUPTED,
            ["was interrupted 1m ago: Stopped by SIGINT."],
        ),
        ([*STARTED, ev.RunStopped(status="stopped", reason="window")], {}, {}, None, Cause.STOPPED, ["window"]),
        (
            [*STARTED, ev.RunStopped(status="stopped", reason="cloud_unreachable")],
            {},
            {},
            "a1",
            Cause.CLOUD_UNREACHABLE,
            ["was stopped"],
        ),
        (
            [*STARTED, sent(1, "a1")],
            {},
            {"holder_alive": False},
            "a1",
            Cause.ORPHANED,
            ["ann@desk, is gone", "1 server is under way and nobody looks"],
        ),
        ([*STARTED, ev.RunFinished(status="aborted", reason="aborted")], {}, {}, "a1", Cause.OVER, ["over: aborted"]),
        (second_wave(sent(2, "b1"), FAILED), {"max_failures": 0}, {}, "b2", Cause.FAILURE_LIMIT, ["1 failure"]),
        (
            [*STARTED, UNSEEN],
            {},
            {},
            "a1",
            Cause.CLOUD_UNREACHABLE,
            ["seen of the cloud for 1m10s. The last try: no route."],
        ),
        (second_wave(sent(2, "b1"), REJECTED), {}, {}, "b1", Cause.CLOUD_UNREACHABLE, ["Connection refused."]),
        (second_wave(sent(2, "b1"), REFUSED), {}, {}, "b1", Cause.REFUSED, ["Not allowed."]),
        ([*STARTED, ev.QuotaThrottled(wait=90.0, message="Slow")], {}, {}, "a1", Cause.THROTTLED, ["in 30s: Slow"]),
        (
            second_wave(sent(2, "b2", "b3")),
            {"max_unavailable": 5, "max_unavailable_per_domain": {"az1": 2, "az2": 2}},
            {},
            "b1",
            Cause.DOMAIN_BUDGET,
            ["budget of az2 is full: 2 of 2", "2 are under way"],
        ),
        (
            second_wave(sent(2, "b1", "b2"), FAILED),
            {},
            {},
            "b3",
            Cause.BUDGET,
            ["2 of 2", "1 are under way, 1 failed and are not back: b1"],
        ),
        (
            second_wave(
                sent(2, "b1", "b2"), ev.BatchAccepted(batch=2, job_id="j"), ev.JobFinished(batch=2, status="S")
            ),
            {"check": "tcp:22"},
            {},
            "b3",
            Cause.BUDGET,
            ["2 of 2", "2 have restarted and not passed tcp:22 yet"],
        ),
        ([*STARTED], {}, {"usage": BUSY}, "a1", Cause.QUOTA, ["300 in requests, 700 cooling", "free again in 12s"]),
        (
            [*STARTED],
            {},
            {"usage": WAITED_OUT},
            "a1",
            Cause.QUOTA,
            ["may have been sent of which the store knows nothing", "for another 2m5s"],
        ),
        ([*STARTED], {}, {"usage": FREE}, "a1", Cause.QUEUED, ["in line with 2 servers of wave 1"]),
        ([*STARTED, sent(1, "a1", "a2")], {}, {}, None, Cause.SUBMITTING, ["2 are under way", "Batch 1"]),
        ([*STARTED], {}, {}, None, Cause.QUEUED, ["Wave 1: 2 servers wait, 0 are under way"]),
    ],
)
def test_the_true_cause_is_named(
    events: list[ev.Event],
    numbers: dict[str, Any],
    known: dict[str, Any],
    server: str | None,
    cause: Cause,
    says: list[str],
) -> None:
    explanation = asked(told(events, **numbers), server, **known)

    assert (explanation.cause, [part for part in says if part not in explanation.text]) == (cause, [])


def test_adjusted_limits_count_and_not_the_plans() -> None:
    state = told(second_wave(sent(2, "b1", "b2"), ev.LimitChanged(limit="max_unavailable", old=2, new=3)))

    assert asked(state, "b3", usage=FREE).cause is Cause.QUEUED


def test_a_hold_that_was_promoted_holds_no_more() -> None:
    promoted = ev.GateChecked(gate="hold", verdict="go", wave=2)
    state = told([*first_wave_done(), promoted], hold_after=(1,))

    assert asked(state, "b1", usage=FREE).cause is Cause.QUEUED


def test_promoting_during_the_soak_does_not_shorten_it() -> None:
    promoted = ev.GateChecked(gate="hold", verdict="go", wave=2)
    state = told([*first_wave_done(), promoted], hold_after=(1,), soak=100.0)

    assert (asked(state).cause, asked(state).until) == (Cause.SOAK, NOW + 40)


def test_only_the_domain_of_the_server_is_full() -> None:
    """The other zone's servers go on, so the rollout as a whole is not held up."""
    state = told([*STARTED, sent(1, "a1")], max_unavailable_per_domain={"az1": 1, "az2": 2})

    assert (asked(state, "a2").cause, asked(state).cause) == (Cause.DOMAIN_BUDGET, Cause.QUEUED)


def test_the_way_on_is_named() -> None:
    stopped = told([*STARTED, STOPPED])

    assert asked(stopped).commands == ("ecsbatch resume k7f", "ecsbatch abort k7f")


LEFT_OUT = [*STARTED, ev.RunResumed(skip_domains=["az2"])]


@pytest.mark.parametrize(
    ("events", "server", "says", "commands"),
    [
        (LEFT_OUT, "b1", "The run goes on without az2", [" --retry not_started"]),
        (LEFT_OUT, "b1", "Once the run is over, it can be tried again.", [" --retry not_started"]),
        ([*LEFT_OUT, ev.RunFinished(status="failed")], "b1", "The run has ended without az2", [" --retry not_started"]),
        ([*LEFT_OUT, ev.RunFinished(status="aborted")], "b1", "nothing is sent", []),
        (second_wave(sent(2, "b1"), FAILED), "b1", "Once the run is over, it can be tried again.", [" --retry failed"]),
        (second_wave(sent(2, "b1"), FAILED, ev.RunFinished(status="failed")), "b1", "failed", [" --retry failed"]),
        (second_wave(sent(2, "b1"), FAILED, ev.RunFinished(status="aborted")), "b1", "failed", []),
        (second_wave(sent(2, "b1"), FAILED, ABORTING), "b1", "failed", []),
    ],
)
def test_what_tries_a_server_again_is_named_where_it_can_be_typed(
    events: Sequence[ev.Event], server: str, says: str, commands: Sequence[str]
) -> None:
    answer = asked(told(events), server)

    assert says in answer.text
    assert answer.commands == tuple(f"ecsbatch resume k7f{each}" for each in commands)


def test_every_state_has_an_explanation_for_every_server() -> None:
    """A prefix of a run's history is what a reader may find at any instant."""
    events = [*second_wave(sent(2, "b1", "b2"), FAILED, REJECTED), ev.RunFinished(status="failed")]
    for length in range(len(events) + 1):
        state = told(events[:length], soak=10.0, hold_after=(1,), gate="./ok", check="tcp:22")
        for server in [None, *IDS]:
            assert asked(state, server, usage=BUSY).text.endswith((".", "%"))


def test_a_gate_that_is_asked_says_how_often_and_for_how_long_still() -> None:
    asking = ev.GateWaiting(gate="./ok", wave=2, timeout=600.0)
    lost = ev.GateChecked(gate="./ok", verdict="inconclusive", wave=2, message="no answer")
    answer = asked(told([*first_wave_done(), asking, lost, lost], gate="./ok", gate_timeout=600.0))

    assert answer.text.endswith(
        "It is asked again, for another 9m, and was asked 2 times in 1m: after gate_timeout, 10m in all, the run stops."
    )
    assert answer.until == NOW + 540


def test_who_takes_a_run_soaks_anew_and_so_it_is_explained() -> None:
    state = told([*first_wave_done(), (10.0, ev.HolderChanged(holder="bob", fence=2))], soak=30.0)

    assert (asked(state).cause, asked(state).until) == (Cause.SOAK, NOW + 20)


def test_an_answer_says_how_the_run_stands_as_all_views_do() -> None:
    soaks, goes = told(first_wave_done(), soak=100.0), told([*STARTED, sent(1, "a1")])

    assert (asked(soaks).standing, asked(soaks, "b1").standing_text) == ("soaking", "soaking (40s more)")
    assert explanation_lines(asked(soaks), "k7f", "", now=NOW)[0] == "Run k7f: soaking (40s more)."
    assert explanation_lines(asked(goes), "k7f", "", now=NOW)[0] == "Run k7f: running (queued)."
    assert "  The run: soaking (40s more)." in explanation_lines(asked(soaks, "b1"), "k7f", "b1", now=NOW)
    assert asked(goes, holder_alive=False).standing_text == "orphaned"


def test_an_abort_that_is_not_followed_yet_is_explained() -> None:
    state = told([*STARTED, sent(1, "a1")])
    state.abort_asked_by = "bob@desk"

    assert asked(state).cause is Cause.ABORTING
    assert asked(state).text.startswith("bob@desk asked to abort, which its process has not confirmed yet")


def test_it_is_written_as_json() -> None:
    written = asked(told([*STARTED]), "a1", usage=BUSY).to_json()

    assert (written["cause"], written["until"]) == ("quota", NOW + 12)


LOWERED: Sequence[ev.Event] = (
    ev.RunStarted(total=6),
    ev.HolderChanged(holder="ann", fence=1, limit=1_000, window=60.0),
    ev.WaveStarted(wave=1, servers=2),
    ev.QuotaThrottled(wait=30.0),
    ev.QuotaDesync(limit=500, seconds=600.0),
)


def test_a_quota_that_is_halved_after_a_429_is_said_with_the_reason_and_until_when() -> None:
    spent = Usage(500, held=0, cooling=500, free=0, next_free_in=12.0)

    answer = asked(told(LOWERED), usage=spent)

    assert answer.cause is Cause.QUOTA
    assert answer.text == (
        "The quota of 500 servers is spent: 0 in requests, 500 cooling. Tokens are free again in 12s. The cloud said "
        "too many requests (429) although tokens were free: for another 9m no more than 500 servers are sent in 60 s, "
        "of 1,000 by the quota."
    )


@pytest.mark.parametrize(
    ("behind", "kept"),
    [
        ((), 500),
        ((ev.HolderChanged(holder="bob", fence=2, limit=1_000, window=60.0),), 1_000),
        ((ev.RunStopped(status="interrupted"),), 1_000),
        ((ev.QuotaDesync(limit=500, seconds=59.0),), 1_000),
        ((ev.QuotaDesync(limit=1_000, seconds=600.0),), 1_000),
    ],
)
def test_a_halved_quota_holds_for_its_time_and_in_the_process_that_halved_it(
    behind: Sequence[ev.Event], kept: int
) -> None:
    quota = quota_now(told([*LOWERED, *behind]), NOW)

    assert quota is not None
    assert quota.limit == kept
