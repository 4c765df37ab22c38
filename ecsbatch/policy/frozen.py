"""What a freeze of the store means for a run, and how it is said. Pure."""

from __future__ import annotations

from typing import Final

from ecsbatch.config.types import format_duration
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import printable

_REASON: Final = 120
"""Characters of a reason that stand in a sentence."""

_SHORT: Final = 60
"""Characters of a reason that stand in a line."""


def freeze_of(state: RolloutState, now: float) -> Freeze | None:
    """Return the freeze that keeps a run from sending at a time (seconds since 1970); None where none does."""
    freeze = state.frozen
    return freeze if freeze is not None and freeze.holds(now) and not state.status.over else None


def freeze_words(freeze: Freeze, now: float) -> str:
    """Say in a few words who has frozen a store, why and for how long."""
    left = f", {_span(freeze.until - now)} left" if freeze.until is not None else ""
    return f"by {_who(freeze)}: {printable(freeze.reason, _SHORT).rstrip('.')}{left}"


def freeze_notice(freeze: Freeze, now: float) -> str:
    """Say in sentences who has frozen a store, why and for how long, and what that stops."""
    left = f", for another {_span(freeze.until - now)}" if freeze.until is not None else ""
    reason = printable(freeze.reason, _REASON).rstrip(".")
    return (
        f"Frozen by {_who(freeze)} {_span(now - freeze.since)} ago{left}: {reason}. "
        "Nothing new is sent by any run of this store; servers under way go on."
    )


def _who(freeze: Freeze) -> str:
    return printable(freeze.by, _SHORT) or "somebody"


def _span(seconds: float) -> str:
    return format_duration(max(0, round(seconds)))
