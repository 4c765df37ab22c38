"""Restarts that one look has shown: most events of a run, alike but for number and server, and folded together."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from ecsbatch.model.events import ServerEvent, ServerRestarted
from ecsbatch.model.recorded import Recorded

_MORE: Final = attrgetter("reason", "code", "message", "host", "holds", "not_retried")
"""What a restart seldom says."""


def restarts_together(recorded: Sequence[Recorded]) -> list[Sequence[Recorded]]:
    """Return events in their order, in groups: restarts of one request that say no more, and any other by itself."""
    groups: list[Sequence[Recorded]] = []
    group: list[Recorded] = []
    of: tuple[int, str, float] | None = None
    for each in recorded:
        event = each.event
        alike = None
        if type(event) is ServerRestarted and not any(_MORE(event)):
            alike = (event.batch, event.evidence, each.ts)
        if alike is not None and alike == of:
            group.append(each)
        else:
            group, of = [each], alike
            groups.append(group)
    return groups


def servers_of(recorded: Sequence[Recorded]) -> list[str]:
    """Return the servers whose outcomes these are."""
    return [each.event.server for each in recorded if isinstance(each.event, ServerEvent)]
