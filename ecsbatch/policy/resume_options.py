"""How a run that stands still can go on: the options of ``resume`` that fit it, and what each does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Final

from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import counted, printable
from ecsbatch.policy import decide as policy

_FAILED: Final = (OutcomeKind.FAILED, OutcomeKind.TIMED_OUT, OutcomeKind.UNKNOWN)
_RESTING: Final = frozenset({RunStatus.STOPPED, RunStatus.INTERRUPTED, RunStatus.ORPHANED})
STANDING_STILL: Final = _RESTING | {RunStatus.PAUSED}
"""The statuses of runs that only go on when somebody resumes them."""

LEFT_OUT: Final = (OutcomeKind.NOT_STARTED.value,)
"""What a resume retries that takes up what was left out."""

_GOES_ON: Final = {
    "gate": "go on, the gate is asked again",
    "gate_timeout": "go on, the gate is asked again",
    "gate_inconclusive": "go on, the gate is asked again",
    "budget_exhausted": "go on: those that are not back are looked at first",
    "cloud_unreachable": "go on once the cloud answers again",
}


@dataclass(frozen=True, slots=True)
class ResumeOption:
    """One way to resume a run.

    Attributes:
        why: what it does, for people.
        retry, forgive, skip_domains, limits: what it asks for beyond going on, see `Changes`.
    """

    why: str
    retry: Sequence[str] = ()
    forgive: bool = False
    skip_domains: Sequence[str] = ()
    limits: Mapping[str, int | str] = field(default_factory=dict[str, int | str])

    @property
    def flags(self) -> str:
        """Its flags for ``ecsbatch resume``, with a space before each."""
        words = [" --forgive"] if self.forgive else []
        words += [f" --skip-domain {quote(printable(name))}" for name in self.skip_domains]
        words += [f" --{name.replace('_', '-')} {value}" for name, value in self.limits.items()]
        words += [f" --retry {','.join(self.retry)}"] if self.retry else []
        return "".join(words)


def resume_options(state: RolloutState) -> Iterator[ResumeOption]:
    """Yield the ways in which a run can go on that stands still, or that is over with failures."""
    if state.aborting:
        if state.status in _RESTING:
            yield ResumeOption(
                "look after its servers under way, and end it for good" if state.run.in_flight else "end it"
            )
        return
    breach = policy.breach(state, policy.limits_of(state.plan, state.limits))
    if state.status in STANDING_STILL:
        if breach is None:
            yield ResumeOption(_GOES_ON.get(state.reason, "let it go on where it stands"))
        else:
            yield from _past_breach(breach)
        if state.reason == "budget_exhausted":
            yield from _with_more_slots(state)
    if state.status in _RESTING:
        yield from _without_a_domain(state, forgive=breach is not None)
    failed = [kind.value for kind in _FAILED if state.run.ended[kind]]
    if failed and state.status not in {RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.ABORTED}:
        number = sum(state.run.ended[kind] for kind in _FAILED)
        yield ResumeOption(f"try {counted(number, 'failed server')} again", retry=failed)
    if (left_out := state.left_out_by) and state.status is not RunStatus.RUNNING:
        yield ResumeOption(
            f"take up {counted(left_out.total(), 'server')} that {_was(left_out)} left out", retry=LEFT_OUT
        )


def _was(counts: Counter[str]) -> str:
    return "was" if counts.total() == 1 else "were"


def _past_breach(breach: policy.Breach) -> Iterator[ResumeOption]:
    more = 2 * breach.failures
    yield ResumeOption("go on, the failures so far stop counting", forgive=True)
    yield ResumeOption(f"go on and allow {more:,} instead of {breach.allowed:,}", limits={breach.limit: more})


def _with_more_slots(state: RolloutState) -> Iterator[ResumeOption]:
    more = state.down + policy.limits_of(state.plan, state.limits).max_unavailable
    yield ResumeOption(f"go on with {more:,} down at once", limits={"max_unavailable": more})
    yield ResumeOption("go on, servers that failed give their places back", forgive=True)


def _without_a_domain(state: RolloutState, *, forgive: bool) -> Iterator[ResumeOption]:
    worst = state.failed_by["domain"].most_common(1)
    if worst and len(state.domains) > 1:
        yield ResumeOption(f"go on without {printable(worst[0][0])}", forgive=forgive, skip_domains=[worst[0][0]])
