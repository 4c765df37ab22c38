"""Never lost: every server has one outcome, and the true one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from .evidence import FOREVER, OVER, TOLERANCE, Case, Restart, was_restarting
from .run_log import FAILURES, OUTCOMES, Fact, Round, RunLog
from .sight import UNSEEN, glances, job_garbled, taken_for_ours, unseen_for

ENOUGH: Final = 3
"""Looks that must have shown nothing before nothing is known of a server: one may be garbled."""


def judge_outcomes(case: Case) -> Iterator[str]:
    """Compare every outcome with what the cloud did."""
    for tale in case.tales.values():
        if tale.kind == "rollout" and tale.status in OVER:
            yield from _complete(case, tale)
            yield from _failures_kept(tale)
        for one in tale.rounds:
            if one.outcome:
                wrong = _untrue(case, one)
                if wrong:
                    yield f"outcome: {one.name} is {_told(one)}, but {wrong}"


def _told(one: Round) -> str:
    body = one.fact.body if one.fact else {}
    words = [one.outcome, *(str(body.get(key, "")) for key in ("reason", "evidence", "code"))]
    return f"{' '.join(word for word in words if word)} at {one.fact.at if one.fact else 0:.2f}"


def _complete(case: Case, tale: RunLog) -> Iterator[str]:
    """A run that is over has an outcome for every target; one that was aborted may have left servers alone."""
    for server in tale.targets:
        stage = tale.stage.get(server, "waiting")
        if stage == "flying" and tale.status != "aborted":
            yield f"lost: {server[:8]} of {tale.run_id} ({tale.status}) has no outcome"
        if stage == "waiting" and tale.status != "aborted":
            yield f"lost: {server[:8]} of {tale.run_id} ({tale.status}) was never started"
        if stage == "left_out" and tale.status == "succeeded":
            yield f"left out: {tale.run_id} is succeeded, and {server[:8]} of a left-out domain was not restarted"
        if stage in {"waiting", "left_out"}:
            last = tale.last(server)
            if last is not None and not last.outcome and case.restarts_of(last):
                yield f"outcome: {server[:8]} of {tale.run_id} is not_started, but was restarted by it"
    finished = [fact for fact in tale.facts if fact.name == "run.finished"]
    if not finished:
        yield f"lost: {tale.run_id} is {tale.status} without run.finished"
        return
    told: Mapping[str, int] = finished[-1].body["counts"]
    for kind, counted in _counts(tale).items():
        if told.get(kind, 0) != counted:
            yield f"outcome: {tale.run_id} says {told.get(kind, 0)} {kind}, its servers say {counted}"


def _failures_kept(tale: RunLog) -> Iterator[str]:
    """Who was sent and failed is a failure until a request of this run has restarted it."""
    sent = {server for intent in tale.intents.values() for server in intent.servers}
    last = {one.server: one.outcome for one in tale.rounds if one.outcome not in {"", "skipped"}}
    for server in sent & last.keys() - tale.kept.keys():
        stage = tale.stage.get(server, "waiting")
        if last[server] in FAILURES and stage in {"skipped", "waiting", "left_out"}:
            yield f"outcome: {server[:8]} of {tale.run_id} had failed, was not restarted since, and is {stage}"


def _counts(tale: RunLog) -> dict[str, int]:
    stages = [tale.kept.get(server, stage) if stage == "waiting" else stage for server, stage in tale.stage.items()]
    counts = {kind: stages.count(kind) for kind in OUTCOMES.values()}
    counts["unknown"] += stages.count("flying")
    counts["not_started"] = stages.count("waiting") + stages.count("left_out")
    return counts


def _untrue(case: Case, one: Round) -> str:
    """Return what contradicts an outcome, "" for nothing."""
    restarts = case.restarts_of(one)
    if one.fact is not None and one.fact.body.get("not_retried"):
        return _untrue_skipped(case, one, restarts)
    match one.outcome:
        case "restarted":
            return _untrue_restarted(case, one, restarts)
        case "failed":
            return _untrue_failed(case, one, restarts)
        case "timed_out":
            return _untrue_timed_out(case, one, restarts)
        case "unknown":
            return _untrue_unknown(case, one, restarts)
        case _:
            return _untrue_skipped(case, one, restarts)


def _untrue_restarted(case: Case, one: Round, restarts: Sequence[Restart]) -> str:
    assert one.fact is not None
    if case.healed(one.server, until=one.fact.at):
        return ""  # an operator's repair moved its record too, and no look can tell the two apart
    if not restarts:
        return "" if _begun_by_somebody(case, one, one.fact) else "the cloud never began it"
    last = restarts[-1]
    if any(last.begun.at < begin and end <= one.fact.at for begin, end in case.foreign(one.server)):
        return ""  # somebody else's restart has put it right since, though ours never ended
    if last.begun.ends > one.fact.at + TOLERANCE:
        return "" if taken_for_ours(case, one.fact, last) else f"its restart ends at {last.begun.ends:.2f} only"
    checked = case.record.world.check_delay is not None and case.tales[one.run_id].kind == "rollout"
    allowed = {"ok"} if checked else {"ok", "unhealthy"}
    by_state = checked or one.fact.body.get("evidence") == "state"
    if by_state and last.begun.ending == "fail" and not _job_told(case, last):
        return ""  # the server is ACTIVE and was changed by our request: its record tells no more
    return "" if last.begun.ending in allowed else f"its restart ended as {last.begun.ending}"


def _begun_by_somebody(case: Case, one: Round, fact: Fact) -> bool:
    """Tell whether somebody else's restart could be taken for one by a request of ours that did nothing.

    Another run's is somebody else's, too, where it restarts single servers: it may have a server between two tries of
    ours. What a look has shown under way before a request is not begun by it where the cloud refused it. A look shows
    only what began ``task_state_lag`` seconds before it.
    """
    tale = case.tales[one.run_id]
    intents = [tale.intents[batch] for batch in one.batches if batch in tale.intents]
    since = 0.0
    if intents and all(intent.rejected for intent in intents):
        looks = glances(case, one.server, 0.0, intents[0].at)
        since = looks[-1].asked - case.record.world.cloud.task_state_lag if looks else 0.0
    begins = [begin for begin, _ in case.foreign(one.server)]
    begins += [begun.at for begun, run_id in case.begun.get(one.server, ()) if _restarts_singly(case, one, run_id)]
    return any(since <= begin <= fact.at for begin in begins)


def _restarts_singly(case: Case, one: Round, run_id: str) -> bool:
    """Tell whether a run is another one, of single restarts; rollouts have their servers from begin to end."""
    tale = case.tales.get(run_id)
    return tale is not None and run_id != one.run_id and tale.kind == "direct"


def _job_told(case: Case, restart: Restart) -> bool:
    """Tell whether the restart's job was known to us and there to be asked.

    It was not where it could not be shown, still ran at its servers' deadline or was forgotten when it was asked, nor
    where a failover has made the record forget the request. One that is asked once more, for a server of it is found to
    be under way still, has to tell anew.
    """
    intent, server = restart.intent, restart.begun.server
    if intent.run_id not in case.tales:
        return False
    forgotten = restart.begun.ends + case.record.world.cloud.job_retention
    told = intent.answered and intent.job_id not in case.record.hidden
    for fact in case.tales[intent.run_id].facts:
        if fact.body.get("batch") != intent.batch:
            continue
        if fact.name == "batch.started" and server in fact.body["servers"]:
            told = intent.answered and intent.job_id not in case.record.hidden
        elif fact.name == "job.finished":
            status = fact.body.get("status")
            told &= status not in {"UNSEEN", "RUNNING"} and not (status == "GONE" and fact.at >= forgotten)
    return told


def _untrue_failed(case: Case, one: Round, restarts: Sequence[Restart]) -> str:
    assert one.fact is not None
    body = one.fact.body
    if body.get("reason") == "refused":
        return "it was restarted" if restarts else ""
    # A repair is as above; and what begins behind a refused request of ours is taken for begun by it.
    by_somebody = not restarts and _begun_by_somebody(case, one, one.fact)
    if case.healed(one.server, until=one.fact.at) or by_somebody:
        return ""
    if not restarts:
        # Where a garbled answer has lost the code of a job's failure, it does not tell that nothing was begun.
        no_code = body.get("evidence") == "job" and not body.get("code") and _job_garbled(case, one, one.fact)
        return "" if no_code or body.get("reason") in {"not_begun", "denied"} else "the cloud never began it"
    last = restarts[-1]
    if last.begun.ending in {"fail", "error"}:
        return ""
    if body.get("reason") == "unhealthy":
        late = last.begun.ends + case.record.world.cloud.boot_time
        faulty = case.record.world.troubles.checks > 0
        return "" if faulty or last.begun.ending == "unhealthy" or late > last.intent.at + 1.0 else "it was healthy"
    return f"its restart ended as {last.begun.ending}"


def _job_garbled(case: Case, one: Round, fact: Fact) -> bool:
    """Tell whether an answer about a job of a round was garbled."""
    intents = case.tales[one.run_id].intents
    jobs = [intents[batch].job_id for batch in one.batches if batch in intents and intents[batch].job_id]
    return any(job_garbled(case.cloud_of(one.server), job_id, fact.at) for job_id in jobs)


def _untrue_timed_out(case: Case, one: Round, restarts: Sequence[Restart]) -> str:
    """Say where a server that has come back is called late: a look behind its deadline must have seen it down."""
    assert one.fact is not None
    if not restarts:
        # One that was sent again while it is stuck in an earlier restart has not come back either.
        return "" if was_restarting(case, one.server, one.fact) else "the cloud never began it"
    seen = case.seen_since(one.fact.at, case.record.world.request_timeout + 1.0)
    last = restarts[-1]
    if last.begun.ending == "unhealthy" or any(end >= seen for _, end in case.foreign(one.server)):
        return ""
    return "" if last.begun.ends >= seen else f"its restart ended at {last.begun.ends:.2f} as {last.begun.ending}"


def _untrue_unknown(case: Case, one: Round, restarts: Sequence[Restart]) -> str:
    """Say where a server is called unknown whose record shows what became of it."""
    assert one.fact is not None
    reason = str(one.fact.body.get("reason", ""))
    if reason in UNSEEN:
        wrong = unseen_for(case, [one.server], one.fact.at, reason)
        return wrong and f"that is not so: {wrong}"
    if not restarts or case.record.no_updated or one.server in case.record.hidden:
        return ""
    world = case.record.world
    if reason == "no_trace" and world.cloud.latency > world.request_timeout:
        return ""  # hardly a look is answered in time: the server is as good as hidden
    if reason == "no_trace" and not restarts[-1].intent.baseline(one.server):
        return ""  # nothing was known of it before that its record could be compared with
    looks = glances(case, one.server, restarts[-1].begun.at, one.fact.at)
    if reason == "no_trace" and not any(look.up for look in looks):
        # No look has shown it since.
        return "" if len(looks) >= ENOUGH else f"it was looked at {len(looks)} times only"
    return f"the cloud began it at {restarts[-1].begun.at:.2f} ({restarts[-1].begun.ending}), as its record shows"


def _was_left_out(case: Case, one: Round) -> bool:
    """Tell whether somebody had its domain left out, in the very commit that skipped it: as older versions tell it."""
    tale = case.tales[one.run_id]
    resumed = [fact for fact in tale.facts if fact.name == "run.resumed" and fact.tick == (one.fact and one.fact.tick)]
    return any(tale.domain.get(one.server, "") in fact.body.get("skip_domains", ()) for fact in resumed)


def _untrue_skipped(case: Case, one: Round, restarts: Sequence[Restart]) -> str:
    assert one.fact is not None
    if restarts:
        return f"this run restarted it at {restarts[-1].begun.at:.2f}"
    fleet = case.cloud_of(one.server).fleet
    reason = one.fact.body.get("not_retried") or one.fact.body.get("reason")
    number = fleet.numbers.get(one.server)
    # What this run has asked for itself is followed as its own, in whatever round it was.
    own = one.run_id if case.tales[one.run_id].kind == "rollout" else ""
    so = {
        "not_found": number is None,
        "locked": number is not None and bool(fleet.locked[number]),
        "not_active": number is not None and _was_inactive(case, one),
        "excluded": _was_left_out(case, one),
        "restarted_recently": bool(case.begun.get(one.server)),
        "already_restarting": number is not None and was_restarting(case, one.server, one.fact, own),
    }
    return "" if so.get(str(reason)) else "that is not so"


def _was_inactive(case: Case, one: Round) -> bool:
    """Tell whether a server was in another state by itself, or by a restart that broke or was under way."""
    assert one.fact is not None
    if case.cloud_of(one.server).truth(one.server).status != "ACTIVE" or case.healed(one.server):
        return True
    intents = case.tales[one.run_id].intents
    asked_at = min((intents[batch].at for batch in one.batches if batch in intents), default=FOREVER)
    by_job = one.fact.body.get("evidence") == "job"
    return was_restarting(case, one.server, one.fact, asked_at=asked_at if by_job else FOREVER)
