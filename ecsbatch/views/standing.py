"""How fast a run goes on, as all views say it."""

from __future__ import annotations

from ecsbatch.policy.progress import Progress
from ecsbatch.views.text import format_span


def pace_parts(progress: Progress) -> list[str]:
    """Write a run's pace, and the time that is left at it; nothing of what is not known."""
    pace = progress.pace
    if pace.per_minute is None:
        return []
    parts = [f"{pace.per_minute:,.0f} a minute"]
    if pace.left is not None:
        without = f", without {' and '.join(progress.barriers)}" if progress.barriers else ""
        parts.append(f"about {format_span(pace.left)} left at this pace{without}")
    return parts
