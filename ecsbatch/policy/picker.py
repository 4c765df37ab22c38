"""Which servers of a wave go next: in the plan's order, passing over domains that have no room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from ecsbatch.model.plan import Wave
from ecsbatch.model.servers import Fleet


class Picker:
    """Picks servers of one wave; those that it passes over come first the next time.

    Attributes:
        wave: the wave.
    """

    def __init__(self, fleet: Fleet, wave: Wave, waiting: Callable[[int], bool]) -> None:
        """Take a wave; ``waiting`` returns True where the server with an index still waits to be restarted."""
        self.wave = wave
        self._fleet = fleet
        self._end = wave.end
        self._next = wave.start
        self._waiting = waiting
        self._passed: dict[str, deque[int]] = {}

    @property
    def exhausted(self) -> bool:
        """True where no server is left to pick."""
        return self._next >= self._end and not any(self._passed.values())

    def put_back(self, servers: Iterable[str]) -> None:
        """Take servers back that were picked and not sent."""
        for index in sorted((self._fleet.find(server) for server in servers), reverse=True):
            self._passed.setdefault(self._fleet.domain(index), deque()).appendleft(index)

    def pick(self, most: int, room: Callable[[str], int] | None) -> list[int]:
        """Return the indexes of the next servers.

        Args:
            most: how many at most.
            room: returns how many more servers of a domain may go; None where domains have no limit.
        """
        picked: list[int] = []
        taken: dict[str, int] = {}

        def fits(domain: str) -> bool:
            return room is None or room(domain) > taken.get(domain, 0)

        def take(index: int, domain: str) -> None:
            if self._waiting(index):
                picked.append(index)
                taken[domain] = taken.get(domain, 0) + 1

        while len(picked) < most and (found := self._first_passed(fits)) is not None:
            take(self._passed[found].popleft(), found)
        while len(picked) < most and self._next < self._end:
            index, self._next = self._next, self._next + 1
            domain = self._fleet.domain(index)
            if fits(domain):
                take(index, domain)
            elif self._waiting(index):
                self._passed.setdefault(domain, deque()).append(index)
        return picked

    def _first_passed(self, fits: Callable[[str], bool]) -> str | None:
        """Return the domain with room whose first passed-over server has the lowest index, None for none."""
        open_ = [(indexes[0], domain) for domain, indexes in self._passed.items() if indexes and fits(domain)]
        return min(open_)[1] if open_ else None
