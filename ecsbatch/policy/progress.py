"""`Progress`: how a run goes on at one instant, as a value. Screens, logs and JSON are all drawn from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any, Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.json_text import stamp
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Tally
from ecsbatch.policy import decide as policy
from ecsbatch.policy.barrier import BarrierKind
from ecsbatch.policy.counts import Counts
from ecsbatch.policy.decide import Limits
from ecsbatch.policy.explain import explain
from ecsbatch.policy.explanation import Explanation
from ecsbatch.policy.frozen import freeze_of
from ecsbatch.policy.pace import Pace, barriers_ahead, can_send, lasted, pace
from ecsbatch.policy.quota_now import Lowered, lowered
from ecsbatch.policy.resume_options import ResumeOption, resume_options
from ecsbatch.policy.standing import Standing, awaits_promotion, standing, throttled_until

VERSION: Final = 1
"""Of what `Progress.as_dict` returns."""

LAST_FAILURES: Final = 5
"""Failures that are told one by one, the last ones."""


@dataclass(frozen=True, slots=True)
class FailedServer:
    """One of the last failures. Texts are as they came: escape them for a terminal or a page.

    Attributes:
        server, name: its id, and its name; "" for none.
        kind: ``failed``, ``timed_out`` or ``unknown``.
        domain, host: where it is; "" where not known.
        reason: a word such as ``unhealthy``; "" where the kind says it all.
        code, message: as the cloud gave them, "" where it gave none.
    """

    server: str
    name: str
    kind: OutcomeKind
    domain: str
    host: str
    reason: str
    code: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON values, by the names that the report's columns have."""
        return {
            "id": self.server,
            "name": self.name,
            "outcome": self.kind.value,
            "reason": self.reason,
            "error_code": self.code,
            "message": self.message,
            "domain": self.domain,
            "host": self.host,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Progress:
    """How a run goes on at one instant. It is a value: it stays as it is while the run goes on.

    Two that are made of the same events, at the same time and with the same usage of the quota are equal.

    Attributes:
        run_id: the run.
        seq: the number of the last event that is in it: events from the next one on are news.
        at: when it was made, seconds since 1970.
        status, reason, message: as `RolloutState` has them; the reason is a word, the message a sentence.
        standing: how the run stands, in a word and in a few.
        began_at: when it began, seconds since 1970; None where it has not.
        elapsed: seconds for which processes have held the run.
        wave, waves: the number of the wave under way, 0 before the first, and how many there are; while an earlier wave
            is tried again, it is that one.
        wave_label: that wave as the strategy named it, such as ``10%``.
        servers: the counts of the run.
        wave_servers: the counts of the wave under way, else of the first.
        domains: the counts of each domain by its name, "" for servers without one.
        counts: the run's servers by outcome, as `Result.counts` has them: whoever is in flight is ``unknown``, whoever
            waits ``not_started``, or what it was where it is to be tried again.
        not_healthy: of those in flight those that have restarted, and whose health check has not passed yet.
        limits: how many may be down at once, and how many may fail, as it is now.
        last_failures: the last failures, the newest first, without those that are tried again.
        left_out: how many servers are left out, by domain.
        not_retried: how many were to be tried again and were not, or not yet, by reason (`Outcome.not_retried`).
        sending: True while servers are sent; where it is and the pace is not known, that is too early to tell.
        pace: how many end in a minute, and how many seconds of sending the rest takes; each None where not known.
        barriers: what lies ahead that no pace tells the time of: some of ``soaks``, ``holds`` and ``gates``.
        quota: that the run's process keeps to; None where not known.
        usage: of that quota by all who share it; None where nobody asked.
        lowered: what the run keeps to for a while instead of its whole quota, after a 429; None where it has all of it.
        waits_for: what the run waits for, and why: a word, sentences, and until when.
        held_after: the number of the wave after which somebody has to promote the run; 0 where nobody has to.
        paused_by: who has paused it, "" where it is not paused or nobody is known.
        aborting: it is being ended for good, or somebody has asked for it.
        throttled_for: for how many seconds in all nothing is sent, for the cloud has asked for it; 0 where it has not.
        resume_options: how a run that stands still can go on, the safest way first; none while it goes on.
        frozen: the freeze of its store, by which nothing new is sent; None where there is none, or the run is over.
    """

    run_id: str
    seq: int
    at: float
    status: RunStatus
    reason: str
    message: str
    standing: Standing
    began_at: float | None
    elapsed: float
    wave: int
    waves: int
    wave_label: str
    servers: Counts
    wave_servers: Counts
    domains: Mapping[str, Counts]
    counts: Mapping[OutcomeKind, int]
    not_healthy: int
    limits: Limits
    last_failures: tuple[FailedServer, ...]
    left_out: Mapping[str, int]
    not_retried: Mapping[str, int]
    sending: bool
    pace: Pace
    barriers: tuple[str, ...]
    quota: Quota | None
    usage: Usage | None
    waits_for: Explanation
    held_after: int
    paused_by: str
    aborting: bool
    throttled_for: float
    resume_options: tuple[ResumeOption, ...]
    frozen: Freeze | None = None
    lowered: Lowered | None = None

    def __repr__(self) -> str:
        servers = self.servers
        return (
            f"<Progress {self.run_id} at event {self.seq}: {self.standing.text}, wave {self.wave} of {self.waves}, "
            f"{servers.ended} of {servers.total} ended, {servers.failures} of {self.limits.max_failures} failures, "
            f"{servers.down} of {self.limits.max_unavailable} down>"
        )

    @property
    def restarting(self) -> int:
        """How many servers were sent and have not restarted yet, as far as is known."""
        return self.servers.in_flight - self.not_healthy

    @property
    def wave_max_failures(self) -> int | None:
        """How many failures the wave under way may have, None where waves have no limit of their own."""
        per_wave = self.limits.max_failures_per_wave
        return per_wave[self.wave - 1] if per_wave and 0 < self.wave <= len(per_wave) else None

    @property
    def ends_for_good(self) -> bool:
        """True where the run is aborted, or is to be: nothing of it can be tried again."""
        return self.aborting or self.status is RunStatus.ABORTED

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values, of version 1: fields are added, never renamed; ignore those that you do not know.

        Numbers are of servers where nothing else is said, times are RFC 3339 in UTC, and ``null`` is what is not known.
        Texts of the cloud and of gates are as they came: escape them for a page.

        - ``v``: 1, the version of this object.
        - ``run_id``: the run.
        - ``seq``, ``at``: the number of the last event that is in it, and when it was made.
        - ``status``: a `RunStatus`, such as ``running``, ``paused`` or ``succeeded``.
        - ``reason``, ``message``: why it has this status, in a word and in a sentence; "" where there is none.
        - ``total``: all servers of the run.
        - ``restarted``, ``failed``, ``timed_out``, ``unknown``, ``skipped``, ``not_started``: by outcome, as if the run
          ended now: who is in flight is ``unknown``, who waits ``not_started``. They add up to ``total``.
        - ``elapsed_s``: seconds for which processes have held the run.
        - ``began_at``: when it began.
        - ``left_out``: servers to which nothing is sent any more, by domain.
        - ``not_retried``: servers that were to be tried again and were not, or not yet (``waiting``), by reason.
        - ``standing``, ``standing_text``: how it stands, in a word (a `Phase`) and for people. The word is
          ``starting``, ``running``, ``checking``, ``soaking``, ``held_for_promote``, ``gate``, ``frozen``, ``blind``,
          ``throttled``, ``paused``, ``stopping``, ``aborting``, ``handed_over``, ``orphaned``, or the status of a
          run that stands still or is over.
        - ``standing_until``: when that is expected to change.
        - ``sending``: true while servers are sent.
        - ``per_minute``: servers that end in a minute.
        - ``left_s``: seconds of sending that the rest takes at this pace.
        - ``barriers``: what is not in ``left_s``: some of ``soaks``, ``holds`` and ``gates``.
        - ``hold``: of a run that stands at a hold the wave ``before_wave`` which it stands, and ``since`` when; else
          ``null``.
        - ``held_after``: the wave after which somebody has to promote it, be it paused or not; 0 for none.
        - ``wave``, ``waves``: the number of the wave under way (0 before the first), and how many there are.
        - ``wave_label``: that wave as the strategy named it.
        - ``servers``: all servers as they are now. ``waiting``, ``in_flight``, ``restarted``, ``failed``,
          ``timed_out``, ``unknown``, ``skipped`` and ``left_out`` add up to ``total``; ``not_back`` have an outcome and
          were not seen up since; ``down`` take a slot of the budget; ``failures`` count against the limits.
        - ``wave_servers``, ``domains``: the same of the wave under way, and of each domain by its name.
        - ``down``: servers that take a slot of the budget. They are ``restarting``, ``not_healthy`` (restarted, and
          their health check has not passed yet) or ``not_back``.
        - ``failures``: failures that count against the limits.
        - ``limits``: what is allowed now: ``max_unavailable``, ``max_unavailable_per_domain``, ``max_failures``,
          ``max_failures_per_wave``, ``max_failures_per_domain``; ``null`` for no limit.
        - ``last_failures``: the last failures, the newest first: ``id``, ``name``, ``outcome``, ``reason``,
          ``error_code``, ``message``, ``domain``, ``host``.
        - ``quota``: ``limit`` servers in ``window`` seconds; of these ``held`` by requests without an answer,
          ``cooling`` since their answer, ``free``; in ``next_free_in`` seconds more are, and with ``waited_out`` nobody
          gets any before: requests may have been sent of which the store knows nothing. Until ``lowered_until`` only
          ``lowered_to`` servers are sent in a window, after a 429; both are ``null`` where all of it holds.
        - ``waits_for``: what it waits for: ``cause`` in a word (a `Cause`), ``text`` in sentences, ``until`` when that
          is expected to change, ``commands`` of the command line about it.
        - ``paused_by``: who has paused it; "" where it is not paused, or nobody is known.
        - ``aborting``: true while it is being ended for good, or somebody has asked for it.
        - ``throttled_s``: seconds for which in all nothing is sent, for the cloud has asked for it; else 0.
        - ``resume_options``: ways on for a run that stands still, the safest first: ``why`` says what each does,
          ``retry``, ``forgive``, ``skip_domains`` and ``limits`` are what it asks for (see `Changes`), and ``flags``
          the same for ``ecsbatch resume``.
        - ``frozen``: where the store is frozen, so that no run of it sends anything new, ``by`` whom that was done, for
          which ``reason``, ``since`` when and ``until`` when; else ``null``.
        """
        return {
            "v": VERSION,
            "run_id": self.run_id,
            "seq": self.seq,
            "at": stamp(self.at),
            "status": self.status.value,
            "reason": self.reason,
            "message": self.message,
            "total": self.servers.total,
            **{kind.value: self.counts[kind] for kind in OutcomeKind},
            "elapsed_s": round(self.elapsed, 3),
            "began_at": _time(self.began_at),
            "left_out": dict(sorted(self.left_out.items())),
            "not_retried": dict(sorted(self.not_retried.items())),
            **standing_json(self.standing),
            "sending": self.sending,
            "per_minute": None if self.pace.per_minute is None else round(self.pace.per_minute, 1),
            "left_s": None if self.pace.left is None else round(self.pace.left),
            "barriers": list(self.barriers),
            "hold": _hold_json(self.standing),
            "held_after": self.held_after,
            "wave": self.wave,
            "waves": self.waves,
            "wave_label": self.wave_label,
            "servers": self.servers.as_dict(),
            "wave_servers": self.wave_servers.as_dict(),
            "domains": {name: counts.as_dict() for name, counts in self.domains.items()},
            "down": self.servers.down,
            "restarting": self.restarting,
            "not_healthy": self.not_healthy,
            "not_back": self.servers.not_back,
            "failures": self.servers.failures,
            "limits": asdict(self.limits),
            "last_failures": [failed.as_dict() for failed in self.last_failures],
            "quota": _quota_json(self),
            "waits_for": _explanation_json(self.waits_for),
            "paused_by": self.paused_by,
            "aborting": self.aborting,
            "throttled_s": self.throttled_for,
            "resume_options": [asdict(option) | {"flags": option.flags} for option in self.resume_options],
            "frozen": self.frozen.as_dict() if self.frozen is not None else None,
        }


def progress(
    state: RolloutState,
    now: float,
    *,
    quota: Quota | None = None,
    usage: Usage | None = None,
    stopping: bool = False,
    held: bool = True,
) -> Progress:
    """Return how a run goes on.

    Args:
        state: of the run.
        now: seconds since 1970.
        quota: that the run's process keeps to; None for the one that its record tells.
        usage: what the ledger says of that quota, None where it was not asked.
        stopping: the run's process was told to stop.
        held: False where no living process holds the run.
    """
    number = max(state.wave_under_way, 1)
    plan, of_wave = state.plan, state.waves[number - 1] if state.waves else Tally()
    sending = held and not stopping and can_send(state)
    return Progress(
        run_id=state.run_id,
        seq=state.seq,
        at=now,
        status=state.status,
        reason=state.reason,
        message=state.message,
        standing=standing(state, now, stopping=stopping, held=held),
        began_at=state.started_at,
        elapsed=lasted(state, now if held else None),
        wave=state.wave_under_way,
        waves=len(plan.waves),
        wave_label=plan.waves[number - 1].label if plan.waves else "",
        servers=Counts.of(state.run),
        wave_servers=Counts.of(of_wave),
        domains={name: Counts.of(tally) for name, tally in state.domains.items()},
        counts=state.counts,
        not_healthy=policy.unhealthy_count(state),
        limits=policy.limits_of(plan, state.limits),
        last_failures=_last_failures(state),
        left_out=state.left_out_by,
        not_retried=state.not_retried_by,
        sending=sending,
        pace=pace(state, now) if sending else Pace(),
        barriers=barriers_ahead(state),
        quota=quota or state.quota,
        usage=usage,
        waits_for=explain(state, now=now, usage=usage, holder_alive=held, stopping=stopping),
        held_after=state.wave if awaits_promotion(state) else 0,
        paused_by=state.paused_by if state.status is RunStatus.PAUSED else "",
        aborting=not state.status.over and (state.aborting or bool(state.abort_asked_by)),
        throttled_for=state.throttled[1].wait if state.throttled and throttled_until(state, now) else 0.0,
        resume_options=tuple(resume_options(state)),
        frozen=freeze_of(state, now),
        lowered=lowered(state, now),
    )


def _last_failures(state: RolloutState) -> tuple[FailedServer, ...]:
    return tuple(
        FailedServer(
            each.server,
            state.plan.fleet.name_of(each.server),
            each.kind,
            each.domain,
            each.host,
            each.reason,
            each.code,
            each.message,
        )
        for each in islice(reversed(state.failures), LAST_FAILURES)
    )


def standing_json(how: Standing) -> dict[str, Any]:
    """Return how a run stands, as JSON values have it beside the run."""
    return {"standing": how.phase.value, "standing_text": how.text, "standing_until": _time(how.until)}


def _hold_json(how: Standing) -> dict[str, Any] | None:
    """Return what a person who is to promote the run wants to know: not who holds it, but that it waits at a hold."""
    waits = how.barrier
    if waits is None or waits.kind is not BarrierKind.HOLD:
        return None
    return {"before_wave": waits.wave, "since": _time(waits.since)}


def _quota_json(told: Progress) -> dict[str, Any] | None:
    quota, usage, lowered = told.quota, told.usage, told.lowered
    if quota is None and usage is None:
        return None
    names = ("limit", "window", "held", "cooling", "free", "next_free_in")
    values: dict[str, Any] = dict.fromkeys(names) | {"waited_out": False}
    values |= (asdict(usage) if usage else {}) | (asdict(quota) if quota else {})
    now = {"lowered_to": None, "lowered_until": None}
    return values | ({"lowered_to": lowered.limit, "lowered_until": _time(lowered.until)} if lowered else now)


def _explanation_json(told: Explanation) -> dict[str, Any]:
    return {"cause": told.cause.value, "text": told.text, "until": _time(told.until), "commands": list(told.commands)}


def _time(ts: float | None) -> str | None:
    return None if ts is None else stamp(ts)
