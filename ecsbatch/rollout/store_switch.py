"""`StoreSwitch`: what is done to all runs of a store at once: freeze and thaw them, see who spends the quota."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecsbatch.engine.ports import Store
    from ecsbatch.model.freeze import Freeze
    from ecsbatch.model.spending import GroupSpending


class StoreSwitch(ABC):
    """The stop switch of a store, and the quota that its runs spend. A `History` is one."""

    @property
    @abstractmethod
    def store(self) -> Store:
        """The store that is meant."""

    async def frozen(self) -> Freeze | None:
        """Return who has frozen the store, why and until when; None where nobody has.

        Raises:
            StoreError: the store cannot be read.
        """
        return await self.store.frozen()

    async def freeze(
        self, reason: str, *, by: str = "", until: float | None = None, lasts: float | None = None
    ) -> Freeze:
        """Have no run of the store, present or future, send anything new; within a second no request leaves any more.

        Servers under way get their outcome, and are checked. What waits goes on waiting: no deadline counts that time.
        A store that is frozen is frozen anew, for the new reason.

            freeze = await history.freeze("storage incident 4711", by="alice", lasts=3600)

        Args:
            reason: why, for all who ask; it cannot be empty.
            by: names who asks, for the record.
            until: when it ends by itself, seconds since 1970; None: once somebody thaws it.
            lasts: instead, for how many seconds from now on, by the store's clock.

        Raises:
            Invalid: there is no reason, or it would be over already.
            StoreError: the store cannot be used.
        """
        return await self.store.freeze(reason, by=by, until=until, lasts=lasts)

    async def thaw(self, *, by: str = "") -> Freeze | None:
        """Let all runs of the store go on; return the freeze that this ends, None where there was none.

        Args:
            by: names who asks, for the record.

        Raises:
            StoreError: the store cannot be used.
        """
        return await self.store.thaw(by=by)

    async def spending(self) -> Sequence[GroupSpending]:
        """Return who spends which quota, now and in the last hour: all runs that share the store.

            for group in await history.spending():
                print(group.group, group.free, [(run.run_id, run.last_hour) for run in group.runs])

        Raises:
            StoreError: the store cannot be read.
        """
        return await self.store.spending()
