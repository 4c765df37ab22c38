"""What a store is asked to write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ecsbatch.model.events import Event
from ecsbatch.model.run import Claim, Grant, Hold, Settle, Take
from ecsbatch.model.servers import RunStatus


@dataclass(frozen=True, slots=True)
class Order:
    """What one commit is asked to do; see `Store.commit`."""

    hold: Hold
    events: Sequence[Event]
    take: Take | None
    intent: Callable[[Grant], Sequence[Event]] | None
    settle: Sequence[Settle]
    status: RunStatus | None
    claim: Sequence[Claim]
    unclaim: Sequence[Claim]
    folded: int | None = None

    @property
    def urgent(self) -> bool:
        """Tell whether somebody's next step waits for it."""
        return self.take is not None or bool(self.settle) or self.status is not None

    @property
    def only_tells(self) -> bool:
        """Tell whether it writes nothing but events: what refuses it does so before anything is written."""
        return not (self.urgent or self.claim or self.unclaim)


@dataclass(frozen=True, slots=True)
class Write:
    """One member of a group.

    Attributes:
        do: what to do.
        run_id: for which run, "" for none.
        urgent: somebody's next step waits for it.
        divisible: it may be refused after its first statement, which must be undone then.
    """

    do: Callable[[], Any]
    run_id: str = ""
    urgent: bool = True
    divisible: bool = True
