"""The simulated servers: drawn from a seed, kept in columns, their state computed when somebody asks.

Nothing happens to a server while it restarts: its columns have when the restart began, when it ends and how, and every
look computes `status` and `task_state` from them (the table of server states in the reference: soft reboots show
``REBOOT`` with task_state ``reboot_pending | reboot_started | rebooting``, hard ones ``HARD_REBOOT``; ``powering-off``
keeps ACTIVE and ``powering-on`` keeps SHUTOFF).
"""

from __future__ import annotations

import hashlib
import math
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from ecsbatch.simulator.config import CloudConfig

Action = Literal["SOFT", "HARD", "start", "stop"]
Ending = Literal["ok", "unhealthy", "fail", "error", "stuck"]

ACTIONS: Final[tuple[Action, ...]] = ("SOFT", "HARD", "start", "stop")
ENDINGS: Final[tuple[Ending, ...]] = ("ok", "unhealthy", "fail", "error", "stuck")
RESTART_PHASES: Final = ("reboot_pending", "reboot_started", "rebooting")
VM_STATES: Final = {"SHUTOFF": ("stopped", 4), "ERROR": ("error", 0), "BUILD": ("building", 0), "UNKNOWN": ("", 0)}
"""vm_state and power_state (0 NOSTATE, 1 RUNNING, 4 SHUTDOWN) where they are not ``active`` and 1."""

STATUSES: Final = (
    "ACTIVE",
    "SHUTOFF",
    "ERROR",
    "UNKNOWN",
    "BUILD",
    "REBUILD",
    "MIGRATING",
    "RESIZE",
    "VERIFY_RESIZE",
    "REVERT_RESIZE",
    "SHELVED",
    "SHELVED_OFFLOADED",
)
"""The statuses of a server without an action under way; REBOOT and HARD_REBOOT are shown while one is."""

GONE: Final = 255
NEVER: Final = math.nan

PENDING_SHARE: Final = 0.1
"""The share of a restart that shows ``reboot_pending``; ``reboot_started`` is shown for the same share."""


@dataclass(frozen=True, slots=True)
class State:
    """What a look at one server shows; `updated` is in the cloud's seconds."""

    status: str
    vm_state: str
    task_state: str | None
    power_state: int
    updated: float


@dataclass(frozen=True, slots=True)
class ServerTruth:
    """How a server really is, whatever a look shows; for tests.

    Attributes:
        id, name, status, zone, host: its id, name, status, availability zone and ``hostId``.
        restarts: how many restarts the cloud has begun on it.
        restarting: True while one is under way.
        last_restart_ok: whether the last one went well, None before the first and during one.
        healthy: True where the guest answers its health check.
    """

    id: str
    status: str
    restarts: int
    restarting: bool
    last_restart_ok: bool | None
    healthy: bool
    zone: str
    host: str
    name: str


def server_ids(seed: int, count: int) -> list[str]:
    """Return `count` UUIDs, always the same for a seed."""
    bits = random.Random(f"ids-{seed}").getrandbits
    return [f"{h[:8]}-{h[8:12]}-4{h[13:16]}-8{h[17:20]}-{h[20:]}" for h in (f"{bits(128):032x}" for _ in range(count))]


class SimulatedFleet:
    """All servers of the project; a server's number is its index in the order of creation."""

    def __init__(self, config: CloudConfig) -> None:
        count = config.servers
        self._config = config
        self.ids = server_ids(config.seed, count)
        self.numbers = dict(zip(self.ids, range(count), strict=True))
        self.version = 0
        self.locked = bytearray(count)
        self.restart_count = array("H", bytes(2 * count))
        self.names: dict[int, str] = {}
        self.tags: dict[int, tuple[str, ...]] = {}
        self.placed: dict[int, str] = {}
        self._status = bytearray(count)
        self._action = bytearray(count)
        self._ending = bytearray(count)
        self._began = array("d", [NEVER]) * count
        self._ends = array("d", [NEVER]) * count
        self._unsettled = bytearray(count)
        self._touched: dict[int, float] = {}
        self._hosts: dict[int, str] = {}
        self._populate()

    def __len__(self) -> int:
        return len(self.ids)

    def _populate(self) -> None:
        """Draw who is shut off, in ERROR or locked; these groups do not overlap."""
        config = self._config
        sizes = [
            n if isinstance(n, int) else round(n * len(self)) for n in (config.shutoff, config.error, config.locked)
        ]
        chosen = iter(random.Random(f"population-{config.seed}").sample(range(len(self)), min(sum(sizes), len(self))))
        for size, status in zip(sizes, (1, 2, None), strict=True):
            for number in islice(chosen, size):
                if status is None:
                    self.locked[number] = 1
                else:
                    self._status[number] = status

    # -- what never changes ------------------------------------------------------------------------------------

    def zone(self, number: int) -> str:
        """Return its availability zone."""
        return self._config.zones[number % len(self._config.zones)]

    def host(self, number: int) -> str:
        """Return its ``hostId``: 56 hex characters, one host serves one zone, unless it was placed elsewhere."""
        if number in self.placed:
            return self.placed[number]
        zones = len(self._config.zones)
        key = (number // zones // self._config.servers_per_host) * zones + number % zones
        found = self._hosts.get(key)
        if found is None:
            found = self._hosts[key] = hashlib.sha256(f"{self._config.seed}-{key}".encode()).hexdigest()[:56]
        return found

    def name(self, number: int) -> str:
        """Return its name."""
        return self.names.get(number) or f"{self._config.name_prefix}-{number:06d}"

    def tags_of(self, number: int) -> tuple[str, ...]:
        """Return its tags, each ``key=value``."""
        groups = self._config.tags
        drawn = groups[number // len(self._config.zones) % len(groups)] if groups else ()
        return self.tags.get(number, drawn)

    def created(self, number: int) -> float:
        """Return when it was created: a second apart, all of them before time 0."""
        return float(number - len(self) - 86_400)

    # -- what is so now ----------------------------------------------------------------------------------------

    def exists(self, number: int) -> bool:
        """Return True where it was not deleted."""
        return self._status[number] != GONE

    def busy(self, number: int, at: float) -> bool:
        """Return True where an action is under way at the instant `at`."""
        return self._began[number] <= at < self._ends[number]

    def action(self, number: int) -> Action:
        """Return the last action that was begun on it; only meaningful once there was one."""
        return ACTIONS[self._action[number]]

    def status(self, number: int, at: float) -> str:
        """Return its status, or the one from before the action that is under way."""
        self._settle(number, at)
        return STATUSES[self._status[number]]

    def state(self, number: int, at: float) -> State:
        """Return what a look at the instant `at` shows."""
        status = self.status(number, at)
        shown_from = self._began[number] + self._config.task_state_lag
        vm_state, power_state = VM_STATES.get(status, ("active", 1))
        if shown_from <= at < self._ends[number]:
            shown, task_state = self._transition(number, at, status)
            return State(shown, vm_state, task_state, power_state, self._newest(number, shown_from))
        ended = self._ends[number]
        updated = ended if ended <= at else self.created(number)
        return State(status, vm_state, None, power_state, self._newest(number, updated))

    def launched(self, number: int, at: float) -> float:
        """Return when it was started last, as `OS-SRV-USG:launched_at` shows it."""
        ended = self._ends[number]
        return ended if self._config.launched_moves and ended <= at else self.created(number) + 30

    def healthy(self, number: int, at: float) -> bool:
        """Return True where the guest answers: the server runs, has booted, and is not broken."""
        if self.status(number, at) != "ACTIVE" or self.busy(number, at):
            return False
        began, ended = self._began[number], self._ends[number]
        return math.isnan(began) or (
            ENDINGS[self._ending[number]] != "unhealthy" and at >= ended + self._config.boot_time
        )

    def truth(self, number: int, at: float) -> ServerTruth:
        """Return how it really is."""
        busy = self.busy(number, at)
        known = not busy and self.restart_count[number] > 0
        return ServerTruth(
            id=self.ids[number],
            status=self.state(number, at).status if self.exists(number) else "DELETED",
            restarts=self.restart_count[number],
            restarting=busy,
            last_restart_ok=ENDINGS[self._ending[number]] in {"ok", "unhealthy"} if known else None,
            healthy=self.exists(number) and self.healthy(number, at),
            zone=self.zone(number),
            host=self.host(number),
            name=self.name(number),
        )

    def select(self, zone: str | None, status: str | None, at: float) -> Iterator[int]:
        """Yield the existing servers of a zone and a status (as shown), either None for all."""
        for number in range(len(self)):
            if not self.exists(number) or (zone is not None and self.zone(number) != zone):
                continue
            if status is None or self.state(number, at).status == status:
                yield number

    # -- what happens to it ------------------------------------------------------------------------------------

    def begin(self, number: int, action: Action, ending: Ending, began: float, ends: float) -> None:
        """Begin an action that will end at `ends` (infinity for never), as `ending` says."""
        self._settle(number, began)
        self._action[number] = ACTIONS.index(action)
        self._ending[number] = ENDINGS.index(ending)
        self._began[number], self._ends[number] = began, ends
        self._unsettled[number] = 1
        if action in {"SOFT", "HARD"}:
            self.restart_count[number] += 1

    def set_status(self, number: int, status: str, at: float) -> None:
        """Give it a status, which ends an action under way.

        Raises:
            ValueError: there is no such status.
        """
        if status not in STATUSES:
            raise ValueError(f"A server cannot be set to {status}; possible are {', '.join(STATUSES)}.")
        self._stop_action(number, at)
        self._status[number] = STATUSES.index(status)

    def delete(self, number: int, at: float) -> None:
        """Delete it."""
        self._stop_action(number, at)
        self._status[number] = GONE

    def heal(self, number: int, at: float) -> None:
        """Make it ACTIVE, idle and healthy, as an operator would."""
        self.set_status(number, "ACTIVE", at)
        self._ending[number] = ENDINGS.index("ok")

    def hurt(self, number: int, at: float) -> None:
        """Make the guest stop answering."""
        self._stop_action(number, at)
        if math.isnan(self._began[number]):
            self._began[number] = self._ends[number] = at
        self._ending[number] = ENDINGS.index("unhealthy")

    def touch(self, number: int, at: float) -> None:
        """Set `updated`, as any change by somebody else does; kept listings are no longer valid."""
        self._touched[number] = at
        self.version += 1

    def _stop_action(self, number: int, at: float) -> None:
        self._settle(number, at)
        if self._unsettled[number]:
            self._ends[number] = at
            self._unsettled[number] = 0
        self.touch(number, at)

    def _settle(self, number: int, at: float) -> None:
        """Set the status that an action leaves, once it has ended."""
        if not self._unsettled[number] or self._ends[number] > at:
            return
        self._unsettled[number] = 0
        ending = ENDINGS[self._ending[number]]
        if ending == "error":
            self._status[number] = STATUSES.index("ERROR")
        elif ending in {"ok", "unhealthy"}:
            self._status[number] = STATUSES.index("SHUTOFF" if self.action(number) == "stop" else "ACTIVE")

    def _newest(self, number: int, updated: float) -> float:
        touched = self._touched.get(number)
        return updated if touched is None else max(updated, touched)

    def _transition(self, number: int, at: float, status: str) -> tuple[str, str]:
        action = self.action(number)
        if action == "start":
            return status, "powering-on"
        if action == "stop":
            return status, "powering-off"
        phase = RESTART_PHASES[self._phase(number, at)]
        return ("HARD_REBOOT", f"{phase}_hard") if action == "HARD" else ("REBOOT", phase)

    def _phase(self, number: int, at: float) -> int:
        began, ends = self._began[number], self._ends[number]
        if math.isinf(ends):
            return 2
        return min(2, int((at - began) / (ends - began) / PENDING_SHARE))
