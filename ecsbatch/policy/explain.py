"""Why a server is not restarted yet, and what a rollout waits for now. Pure functions of a run's state.

A server that is under way or has its outcome explains itself; one that waits does so for what holds its run up, which
`hold_ups.py` finds. What is not in a run's record (is its holder alive, how much of the quota is used) is passed in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.json_text import stamp
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.quota import Usage
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import InFlightBatch, Stage
from ecsbatch.model.text import without_code
from ecsbatch.policy import decide as policy
from ecsbatch.policy.explanation import Cause, Explanation
from ecsbatch.policy.frozen import freeze_notice, freeze_of
from ecsbatch.policy.hold_ups import THAW, HoldUps
from ecsbatch.policy.resume_options import ends_for_good, resume_options
from ecsbatch.policy.standing import standing

_NOT_WAITING: Final = frozenset(
    {Cause.NOT_OF_RUN, Cause.CLAIMED, Cause.RESTARTED, Cause.SKIPPED, Cause.FAILED, Cause.LEFT_OUT, Cause.OVER}
    | {Cause.SUBMITTING, Cause.RESTARTING, Cause.NOT_HEALTHY, Cause.UNSETTLED}
)
"""The causes of servers that do not wait to be sent."""


def explain(
    state: RolloutState,
    *,
    now: float,
    server: str | None = None,
    usage: Usage | None = None,
    holder_alive: bool = True,
    stopping: bool = False,
    claimed_by: str = "",
) -> Explanation:
    """Return why a server is not restarted yet, or what the rollout waits for.

    Args:
        state: the run's state.
        now: seconds since 1970.
        server: a server's id; None to ask about the rollout.
        usage: how much of the quota is used at the server's site, None where not known.
        holder_alive: False where no living process holds the run.
        stopping: the run's process was told to stop.
        claimed_by: the other run that has the server, "" for none.
    """
    run = HoldUps(state, now, policy.limits_of(state.plan, state.limits), usage, holder_alive, stopping)
    how = standing(state, now, held=holder_alive, stopping=stopping)
    answer = _with_freeze(_answer(run, server, claimed_by), run, server)
    return replace(answer, standing=how.phase.value, standing_text=how.text)


def _with_freeze(answer: Explanation, run: HoldUps, server: str | None) -> Explanation:
    """Add that the store is frozen to the answer about a run, or a waiting server of it, that waits for more."""
    freeze = freeze_of(run.state, run.now)
    if freeze is None or (server is not None and answer.cause in _NOT_WAITING):
        return answer
    if THAW[0] in answer.commands:
        return replace(answer, frozen=freeze)
    text = f"{answer.text} {freeze_notice(freeze, run.now)}"
    return replace(answer, text=text, commands=(*answer.commands, *THAW), frozen=freeze)


def _answer(run: HoldUps, server: str | None, claimed_by: str) -> Explanation:
    state = run.state
    if server is None:
        return run.about_run()
    index = state.plan.fleet.index_of(server)
    if index is not None:
        return _ServerQuestion(state, run).about_server(index)
    if claimed_by:
        return Explanation(
            Cause.CLAIMED,
            f"Server {server} is claimed by run {claimed_by} until that is over.",
            commands=(f"ecsbatch explain {server} {claimed_by}", f"ecsbatch status {claimed_by}"),
        )
    return Explanation(Cause.NOT_OF_RUN, f"Server {server} is none of run {state.run_id}'s {state.run.total:,}.")


@dataclass(frozen=True, slots=True)
class _ServerQuestion:
    """Answers the question about one server of a run."""

    state: RolloutState
    run: HoldUps

    def about_server(self, index: int) -> Explanation:
        """Explain the server with an index."""
        stage = Stage(self.state.stage[index])
        if stage >= Stage.RESTARTED:
            return self._ended(index, stage)
        skip = self.state.plan.skip_of(index)
        if skip is not None:
            return Explanation(Cause.SKIPPED, f"The plan leaves it out: {skip.reason}.")
        flight = self._batch_of(index)
        if flight is not None:
            return self.run.no_holder() or self._in_the_dark(flight) or self.run.in_flight(flight)
        return self.run.standing_still() or self._waiting(index)

    def _ended(self, index: int, stage: Stage) -> Explanation:
        state, outcome = self.state, self.state.outcome(index)
        at = f" at {stamp(outcome.ended_at)}" if outcome.ended_at else ""
        words = (outcome.reason, outcome.code, without_code(outcome.message, outcome.code).rstrip("."))
        why = "".join(f", {word}" for word in words if word)
        if stage == Stage.RESTARTED:
            return Explanation(Cause.RESTARTED, f"It was restarted{at}, by the word of its {outcome.evidence}.")
        held = " It keeps its place in the budget until it is seen up." if index in state.held else ""
        if stage == Stage.LEFT_OUT:
            domain = state.plan.fleet.domain(index) or "servers without a domain"
            goes = "has ended" if state.status.over else "goes on"
            text = f"The run {goes} without {domain}: it is left out, and nothing is sent for it any more.{held}"
            return self._with_retry(Cause.LEFT_OUT, text, OutcomeKind.NOT_STARTED)
        if stage == Stage.SKIPPED:
            return Explanation(Cause.SKIPPED, f"It was left alone{at}{why}.{held}")
        kind, again = outcome.kind.value, outcome.not_retried.replace("_", " ")
        again = f" It was to be tried again, and was not: {again}." if again else ""
        return self._with_retry(
            Cause.FAILED, f"It ended as {kind.replace('_', ' ')}{at}{why}.{again}{held}", outcome.kind
        )

    def _with_retry(self, cause: Cause, text: str, kind: OutcomeKind) -> Explanation:
        """Add what tries a server again that ended so: nothing where the run is ended for good."""
        state, run = self.state, self.state.run_id
        if ends_for_good(state):
            return Explanation(cause, text)
        ways = [way.flags for way in resume_options(state) if kind.value in way.retry]
        if not ways:
            ways = [f" --retry {kind.value}"]
            text += " Once the run is over, it can be tried again." if state.status is RunStatus.RUNNING else ""
        return Explanation(cause, text, commands=tuple(f"ecsbatch resume {run}{flags}" for flags in ways))

    def _batch_of(self, index: int) -> InFlightBatch | None:
        server = self.state.plan.fleet.ids[index]
        return next((flight for flight in self.state.flights.values() if server in flight.open), None)

    def _in_the_dark(self, flight: InFlightBatch) -> Explanation | None:
        """Explain a server under way of which nothing can be seen; None where it can."""
        blind = self.run.blind()
        return replace(blind, text=f"{self.run.in_flight(flight).text} {blind.text}") if blind else None

    def _waiting(self, index: int) -> Explanation:
        """Explain a server for which nothing was sent yet, in a run that goes on."""
        state, wave = self.state, self.state.plan.wave_of(index)
        current = state.wave_over + 1
        if wave is not None and wave.number > current:
            held = self.run.held_up() or self.run.under_way(current)
            return Explanation(
                Cause.WAVE,
                f"It is in wave {wave.number} of {len(state.waves)}; wave {current} comes first. {held.text}",
                commands=held.commands,
            )
        hindrance = self.run.held_up(state.plan.fleet.domain(index))
        if hindrance is not None:
            return hindrance
        left = state.waves[current - 1].waiting if current <= len(state.waves) else 0
        return Explanation(Cause.QUEUED, f"Nothing holds it: it is in line with {left:,} servers of wave {current}.")
