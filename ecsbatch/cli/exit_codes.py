"""Exit codes, a contract: what a script may conclude from the way a command ended."""

from __future__ import annotations

import signal
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from ecsbatch.errors import (
    ConfigError,
    EcsbatchError,
    PlanStale,
    ProgramRefused,
    RunConflict,
    SelectionError,
    SelectionRefused,
)
from ecsbatch.model.outcome import OutcomeKind, RunStatus

if TYPE_CHECKING:
    from ecsbatch.model.state import RolloutState


class Exit(IntEnum):
    """What each code says; where several fit: 1, 7, 8, 130/143, 4, 6, 3, 0.

    124 is what timeout(1) ends with, too: the time of --timeout was over before what was waited for came.
    """

    OK = 0
    ERROR = 1
    USAGE = 2
    FAILURES = 3
    STOPPED = 4
    UNKNOWN = 6
    REFUSED = 7
    TAKEN_OVER = 8
    NOT_IN_TIME = 124
    INTERRUPTED = 130
    TERMINATED = 143


class UsageError(EcsbatchError):
    """The command line is invalid."""


class Declined(EcsbatchError):
    """Refused before anything was sent: no confirmation, or more servers than a guard allows."""


ERROR_REASONS: Final = frozenset({"cloud_unreachable", "auth", "store", "closed"})
"""Why a run stopped where that is an error, not a limit."""

FAILURE_LIMITS: Final = frozenset({"max_failures", "max_failures_per_wave", "max_failures_per_domain"})
"""Why a run ended that had more failures than were allowed, stopped or not."""

_CTRL_C: Final = signal.SIGINT.name
"""Stands in the message of a run that it has stopped, in whichever process."""

_STOPS: Final = dict.fromkeys(ERROR_REASONS, Exit.ERROR)


def code_of_error(error: EcsbatchError) -> Exit:
    """Return the code of a command that raised this error."""
    if isinstance(error, RunConflict):
        from ecsbatch.model.conflicts import RunTaken  # noqa: PLC0415 - with all events, which `--help` does not wait for

        return Exit.TAKEN_OVER if isinstance(error, RunTaken) else Exit.REFUSED
    if isinstance(error, Declined | ProgramRefused | PlanStale | SelectionRefused):
        return Exit.REFUSED
    if isinstance(error, UsageError | ConfigError | SelectionError):
        return Exit.USAGE
    return Exit.ERROR


def code_of_signal(number: int) -> Exit:
    """Return the code of a command that a signal ended."""
    return Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED


def code_of_run(state: RolloutState, received: int = 0) -> Exit:
    """Return the code for how a run stands.

    Args:
        state: of the run.
        received: the signal that stopped it, 0 for none.
    """
    if received and not state.status.over and state.reason not in ERROR_REASONS:
        return code_of_signal(received)
    if state.status is RunStatus.INTERRUPTED:
        return _STOPS.get(state.reason) or (Exit.INTERRUPTED if _CTRL_C in state.message else Exit.TERMINATED)
    if state.status is RunStatus.STOPPED:
        return _STOPS.get(state.reason, Exit.STOPPED)
    if state.status is RunStatus.ABORTED or (state.status.over and state.reason in FAILURE_LIMITS):
        return Exit.STOPPED
    return _code_of_counts(state) if state.status.over else Exit.ERROR


def _code_of_counts(state: RolloutState) -> Exit:
    counts = state.counts
    if counts[OutcomeKind.UNKNOWN]:
        return Exit.UNKNOWN
    short = (kind for kind in OutcomeKind if kind.is_failure or kind is OutcomeKind.NOT_STARTED)
    return Exit.FAILURES if any(counts[kind] for kind in short) or state.not_found else Exit.OK
