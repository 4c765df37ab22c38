"""How a run that stands still can go on: the options of ``resume`` that fit it, and what each does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from shlex import quote
from typing import Final

from ecsbatch.errors import Invalid
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import HANDED_OVER, RETRIED, OutcomeKind, RunStatus
from ecsbatch.model.plan import Plan
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import counted, printable
from ecsbatch.policy import decide as policy

_FAILED: Final = (OutcomeKind.FAILED, OutcomeKind.TIMED_OUT, OutcomeKind.UNKNOWN)
_RESTING: Final = frozenset({RunStatus.STOPPED, RunStatus.INTERRUPTED, RunStatus.ORPHANED})
STANDING_STILL: Final = _RESTING | {RunStatus.PAUSED}
"""The statuses of runs that only go on when somebody resumes them."""

LEFT_OUT: Final = (OutcomeKind.NOT_STARTED.value,)
"""What a resume retries that takes up what was left out."""

_MOST: Final = 0.75
_MORE: Final = 1.5
"""The failures are in a domain that has this share of them, and this many times as many as by its size."""

_GOES_ON: Final = {
    "gate": "go on, the gate is asked again",
    "gate_timeout": "go on, the gate is asked again",
    "gate_inconclusive": "go on, the gate is asked again",
    "budget_exhausted": "go on: those that are not back are looked at first",
    "cloud_unreachable": "go on once the cloud answers again",
    HANDED_OVER: "go on here, since no other process has taken it yet",
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

    def question(self, state: RolloutState) -> str:
        """What is asked once more before it is done, for it loosens what has stopped a run; "" for nothing."""
        if self.forgive:
            return forgive_question(state, self.skip_domains)
        limits = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in self.limits.items())
        return f"Set {limits} for run {printable(state.run_id)} and restart more servers?" if limits else ""


def forgive_question(state: RolloutState, without: Sequence[str]) -> str:
    """Return what is asked before failures stop counting; nothing more is sent to the domains ``without``."""
    failures = counted(state.run.failures, "failure")
    but = f", without {', '.join(map(printable, without))}" if without else ""
    return f"Forgive {failures} of run {printable(state.run_id)} and restart more servers{but}?"


def ends_for_good(state: RolloutState) -> bool:
    """Tell whether a run is aborted, or is to be: nothing of it can be tried again then."""
    return state.aborting or bool(state.abort_asked_by) or state.status is RunStatus.ABORTED


def resume_options(state: RolloutState) -> Iterator[ResumeOption]:
    """Yield the ways in which a run can go on that stands still, or that is over with failures; the safest comes first.

    That is by what each leaves in force: all limits and the whole record; all but a domain; a limit; no failure so far.
    """
    if state.aborting:
        if state.status in _RESTING:
            yield ResumeOption(
                "look after its servers under way, and end it for good" if state.run.in_flight else "end it"
            )
        return
    breach = policy.exceeded(state)
    if state.status in STANDING_STILL and breach is None:
        yield ResumeOption(_GOES_ON.get(state.reason, "let it go on where it stands"))
    yield from _again(state, breached=breach is not None)
    if state.status in _RESTING:
        yield from _without_a_domain(state, forgive=breach is not None)
    if state.status in STANDING_STILL and breach is not None:
        yield from _past_breach(breach)
    if state.status in STANDING_STILL and state.reason == "budget_exhausted":
        yield from _with_more_slots(state)


def _again(state: RolloutState, *, breached: bool) -> Iterator[ResumeOption]:
    """Yield the retries of those that failed and of those that were left out.

    Where a limit is exceeded, a retry of the latter alone would only stop the run once more.
    """
    failed = [kind.value for kind in _FAILED if state.run.ended[kind]]
    if failed and state.status not in {RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.ABORTED}:
        number = sum(state.run.ended[kind] for kind in _FAILED)
        yield ResumeOption(f"try {counted(number, 'failed server')} again", retry=failed)
    if (left_out := state.left_out_by) and state.status not in {RunStatus.RUNNING, RunStatus.ABORTED}:
        why = f"take up {counted(left_out.total(), 'server')} that {_was(left_out)} left out"
        if breached:
            yield ResumeOption(f"{why}, and try those that failed again", retry=[*failed, *LEFT_OUT])
        else:
            yield ResumeOption(why, retry=LEFT_OUT)


def _was(counts: Counter[str]) -> str:
    return "was" if counts.total() == 1 else "were"


def _past_breach(breach: policy.Breach) -> Iterator[ResumeOption]:
    more = 2 * breach.failures
    yield ResumeOption(f"go on and allow {more:,} instead of {breach.allowed:,}", limits={breach.limit: more})
    yield ResumeOption("go on, the failures so far stop counting", forgive=True)


def _with_more_slots(state: RolloutState) -> Iterator[ResumeOption]:
    more = state.down + policy.limits_of(state.plan, state.limits).max_unavailable
    yield ResumeOption(f"go on with {more:,} down at once", limits={"max_unavailable": more})
    yield ResumeOption("go on, servers that failed give their places back", forgive=True)


def _without_a_domain(state: RolloutState, *, forgive: bool) -> Iterator[ResumeOption]:
    """Yield to go on without the domain that the failures are in, where they are in one and servers of it wait."""
    failures = state.failed_by["domain"]
    worst, number = next(iter(failures.most_common(1)), ("", 0))
    # Whom the plan leaves alone, be it since it does not exist, is in no zone that could go on.
    restarted, total = state.plan.domains(), failures.total()
    if worst not in restarted or len(restarted) < 2:  # noqa: PLR2004 - without the only one nothing is left
        return
    most = number >= _MOST * total and number / total >= _MORE * restarted[worst] / state.plan.to_restart
    if state.domains[worst].waiting and (number == total or most):
        yield ResumeOption(f"go on without {printable(worst)}", forgive=forgive, skip_domains=[worst])


def validate_resume(plan: Plan, retry: Sequence[str], domains: Sequence[str]) -> None:
    """Refuse outcomes and domains that do not exist: a slip of the pen would do nothing in silence.

    Raises:
        Invalid: ``retry`` names an outcome that cannot be tried again, or ``domains`` none of the fleet's.
    """
    known = set(plan.fleet.domains or ("",))
    for name, chosen, allowed in (("skip_domains", domains, known), ("retry", retry, set(RETRIED))):
        if isinstance(chosen, str) or not set(chosen) <= allowed:
            given = chosen if isinstance(chosen, str) else ", ".join(sorted(set(chosen) - allowed))
            words = ", ".join(sorted(allowed - {""})) or "the run's, for it knows no domains of its servers"
            expected = f"a list of {words}"
            told = f"{name}: {given!r} is none of {words}; give a list of them."
            raise Invalid(
                told, field=name, value=chosen if isinstance(chosen, str) else list(chosen), expected=expected
            )
