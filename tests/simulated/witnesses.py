"""What the world writes down while a rollout is simulated: the cloud's side of every request, the order of all writes.

Two witnesses. `WatchedCloud` notes each submit when it leaves and when the cloud carries it out, with the servers that
begin to restart by it and how that will end. `WatchedDatabase` notes when each row of the journal was committed, on
the same count of ticks, so that the checker can say what came first. Neither tells the engine anything.
"""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import orjson

from ecsbatch.errors import StoreError
from ecsbatch.simulator.cloud import CloudConfig, Exchange, Faults, Reply, SimulatedCloud
from ecsbatch.simulator.faults import FaultInjector
from ecsbatch.simulator.fleet import ENDINGS
from ecsbatch.simulator.gateway import ReceivedRequest
from ecsbatch.simulator.virtual_time import EPOCH
from ecsbatch.store.sqlite import MemoryDatabase

T = TypeVar("T")

FOREVER: Final = float("inf")
CALM: Final = 0.02
"""Seconds of each way in calm weather."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """One command that was stored for a run's holder, by whomever, in this life; ``number`` is its row's."""

    tick: int
    at: float
    life: int
    run_id: str
    body: dict[str, Any]
    number: int


@dataclass(frozen=True, slots=True)
class Foreign:
    """One restart that somebody else began, by none of our requests."""

    server: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Begun:
    """One restart that the cloud began; ``ending`` as the simulator drew it."""

    server: str
    at: float
    ends: float
    ending: str


@dataclass(slots=True)
class Sent:
    """One submit whose bytes have left.

    Attributes:
        tick, at: when it left.
        servers: whom it names, in its order.
        performed_at: when the cloud carried it out; None for never.
        begun: the restarts that began by it.
        arrival: keeps the request alive, as its identity is its name.
    """

    tick: int
    at: float
    servers: tuple[str, ...]
    received: ReceivedRequest
    performed_at: float | None = None
    begun: list[Begun] = field(default_factory=list[Begun])


class WatchedCloud(SimulatedCloud):
    """The simulated cloud with a witness.

    Args:
        config: what it is like.
        ticks: the world's count of everything that happens.
        longest: seconds from a send to the instant at which the cloud carries it out, at most: what the engine assumes
            of a request that was given up must be true of this cloud.

    Attributes:
        calm: nothing goes wrong any more.
        heals: (server, instant) of every repair.
        exchanges: (instant, exchange) of everything that somebody tried to ask.
    """

    def __init__(self, config: CloudConfig, ticks: itertools.count[int], longest: float) -> None:
        super().__init__(config, lambda: 0.0)
        self.calm = False
        self.sends: list[Sent] = []
        self.heals: list[tuple[str, float]] = []
        self.exchanges: list[tuple[float, Exchange]] = []
        self.performed = 0
        self._ticks = ticks
        self._longest = longest
        self._watched: dict[int, Sent] = {}

    def receive(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Exchange:
        """Let a request in, and note a submit that leaves."""
        if self.calm:
            exchange = self._receive_calmly(method, target, headers, body)
        else:
            exchange = super().receive(method, target, headers, body)
        self.exchanges.append((self.now(), exchange))
        return exchange

    def schedule(self, exchange: Exchange, delay: float) -> None:
        """Note a submit that leaves: what is stopped at the last instant never comes here."""
        received = exchange.received
        if received.is_action and id(received) not in self._watched:
            named = tuple(str(server["id"]) for server in orjson.loads(received.body)["reboot"]["servers"])
            sent = Sent(next(self._ticks), self.now(), named, received)
            self.sends.append(sent)
            self._watched[id(received)] = sent
        super().schedule(exchange, delay)

    def _receive_calmly(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        self.advance()
        self.auditor.requests += 1
        path, _, query = target.partition("?")
        received = ReceivedRequest(method, path, query, {name.lower(): value for name, value in headers.items()}, body)
        return Exchange(self, received, "", FaultInjector(Faults(), random.Random(0)))

    def perform(self, received: ReceivedRequest, fault: str, at: float) -> Reply | None:
        """Carry a request out, and note whom it restarts."""
        sent = self._watched.get(id(received))
        if sent is None:
            return super().perform(received, fault, at)
        fleet = self.fleet
        numbers = {server: fleet.numbers[server] for server in sent.servers if server in fleet.numbers}
        before = {server: fleet.restart_count[number] for server, number in numbers.items()}
        reply = super().perform(received, fault, at)
        sent.performed_at = at
        for server, number in numbers.items():
            if fleet.restart_count[number] > before[server]:
                ending = ENDINGS[fleet._ending[number]]
                sent.begun.append(Begun(server, at, fleet._ends[number], ending))
        self.carried_out(sent)
        return reply

    def carried_out(self, sent: Sent) -> None:
        """Take note of a submit that was carried out."""

    def latency(self) -> tuple[float, float]:
        """Draw both ways, the first no longer than the engine's assumption allows."""
        there, back = super().latency()
        if self.calm:
            return CALM, CALM
        return min(there, self._longest), back

    def repair(self, server: str) -> None:
        """Heal a server, as an operator would."""
        self.heal(server)
        self.heals.append((server, self.now()))


def _nothing() -> None:
    """Let a transaction be."""


@dataclass(frozen=True, slots=True)
class Row:
    """One committed row of the journal."""

    tick: int
    at: float
    run_id: str
    lines: tuple[bytes, ...]


class WatchedDatabase(MemoryDatabase):
    """A database in memory that notes when each row of the journal became durable, and can fail or end a process.

    Attributes:
        now: the instant; the next life's loop replaces it.
        writes: transactions so far.
        before_write, after_write: called around each transaction; StoreError raised before refuses it.
        life: the number of the life that writes.
        commands: every command that was stored.
    """

    def __init__(self, ticks: itertools.count[int], *, leases: bool = False) -> None:
        super().__init__(leases=leases, clock=lambda: EPOCH + self.now())
        self.now: Callable[[], float] = lambda: 0.0
        self.writes = 0
        self.before_write: Callable[[], None] = _nothing
        self.after_write: Callable[[], None] = _nothing
        self.stamps: dict[int, tuple[int, float]] = {}
        self.life = 0
        self.commands: list[Ordered] = []
        self._ticks = ticks
        self._last_row = 0

    def write(self, do: Callable[[], T], *, claims: bool = False) -> T:
        """Write, and note what was written."""
        self.before_write()
        done = super().write(do, claims=claims)
        self.writes += 1
        self._note()
        self.after_write()
        return done

    def _note(self) -> None:
        if not self.stamps and not self._has_journal():
            return
        rows = self.connection.execute("SELECT rowid FROM journal WHERE rowid > ?", (self._last_row,)).fetchall()
        for (rowid,) in rows:
            self.stamps[rowid] = (next(self._ticks), self.now())
            self._last_row = rowid
        last = self.commands[-1].number if self.commands else 0
        query = "SELECT id, run_id, body FROM commands WHERE id > ? ORDER BY id"
        for number, run_id, body in self.connection.execute(query, (last,)).fetchall():
            ordered = Ordered(next(self._ticks), self.now(), self.life, run_id, orjson.loads(body), number)
            self.commands.append(ordered)

    def _has_journal(self) -> bool:
        found: Any = self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal'").fetchone()
        return found is not None

    def journal(self) -> list[Row]:
        """Return every committed row in the order of its commit."""
        rows = self.connection.execute("SELECT rowid, run_id, lines FROM journal ORDER BY rowid").fetchall()
        return [Row(*self.stamps[rowid], run_id, tuple(plain(lines).split(b"\n"))) for rowid, run_id, lines in rows]


def plain(stored: bytes) -> bytes:
    """Return the lines of a row, which are compressed where they are many."""
    return zlib.decompress(stored) if stored.startswith(b"x") else stored


def disk_full() -> StoreError:
    """Return what a store says when nothing more fits."""
    return StoreError("The store memory: has no space left on its disk: make room, then resume.")
