"""`Picker`: which servers of a wave go next, in the plan's order, passing over domains that have no room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from ecsbatch.model.plan import Wave
from ecsbatch.model.servers import Fleet


class Picker:
    """The servers of one wave that are not in the engine's hands.

    Attributes:
        wave: whose servers.
    """

    def __init__(self, fleet: Fleet, wave: Wave, waiting: Callable[[int], bool]) -> None:
        """``waiting`` tells whether the server at a place still waits to be restarted."""
        self.wave = wave
        self._fleet = fleet
        self._end = wave.end
        self._next = wave.start
        self._waiting = waiting
        self._passed: dict[str, deque[int]] = {}

    @property
    def exhausted(self) -> bool:
        """True where every server was picked."""
        return self._next >= self._end and not any(self._passed.values())

    def put_back(self, servers: Iterable[str]) -> None:
        """Take servers back that were picked and did not go."""
        for place in sorted((self._fleet.find(server) for server in servers), reverse=True):
            self._passed.setdefault(self._fleet.domain(place), deque()).appendleft(place)

    def pick(self, most: int, room: Callable[[str], int] | None) -> list[int]:
        """Take up to so many places; ``room`` says how many more of a domain may go, None: any number."""
        picked: list[int] = []
        taken: dict[str, int] = {}

        def fits(domain: str) -> bool:
            return room is None or room(domain) > taken.get(domain, 0)

        def take(place: int, domain: str) -> None:
            if self._waiting(place):
                picked.append(place)
                taken[domain] = taken.get(domain, 0) + 1

        while len(picked) < most and (found := self._first_passed(fits)) is not None:
            take(self._passed[found].popleft(), found)
        while len(picked) < most and self._next < self._end:
            place, self._next = self._next, self._next + 1
            domain = self._fleet.domain(place)
            if fits(domain):
                take(place, domain)
            elif self._waiting(place):
                self._passed.setdefault(domain, deque()).append(place)
        return picked

    def _first_passed(self, fits: Callable[[str], bool]) -> str | None:
        """Return the domain whose first passed-over server comes earliest, among those with room."""
        open_ = [(places[0], domain) for domain, places in self._passed.items() if places and fits(domain)]
        return min(open_)[1] if open_ else None
