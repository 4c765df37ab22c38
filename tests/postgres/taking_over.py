"""Real processes on one PostgreSQL database and one simulated cloud: one holds a run, is lost, and another takes it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fork_server
from typed_commands import Simulator, Terminal, simulate

from ecsbatch.model import events as ev
from ecsbatch.model.recorded import Recorded
from ecsbatch.store import open_store

SPEED: Final = 20
QUOTA: Final = 40
WINDOW: Final = 3.0
"""Seconds here of a window of a minute in the cloud."""

SERVERS: Final = 400
CLOUD: Final = ("--servers", str(SERVERS), "--speed", str(SPEED), "--quota", f"{QUOTA}/60s", "--restart-time", "30s")
PLANNED: Final = (
    *("--waves", "100%", "--max-unavailable", "100%", "--quota", f"{QUOTA}/{WINDOW:g}s"),
    *("--batch-size", "10", "--linger", "0"),
)
ENGINE: Final = ("--request-timeout", "1s", "--unknown-grace", "1s", "--typical-restart", "1s")
PATIENCE: Final = 60.0


@dataclass
class Scene:
    """One simulated cloud, one database, and terminals at several machines.

    Attributes:
        cloud: the simulator.
        url: of the store.
        terminal: where commands are typed.
    """

    cloud: Simulator
    url: str
    terminal: Terminal

    def begin(self, *words: str, url: str = "") -> fork_server.Command:
        """Type a command about the shared store, which may be reached by another address."""
        return self.terminal.begin(*words, ECSBATCH_STORE=url or self.url)

    def restart(self, run_id: str, servers: list[str], *more: str, url: str = "") -> fork_server.Command:
        """Begin a rollout in a process of its own."""
        fleet = self.terminal.folder / f"{run_id}.txt"
        fleet.write_text("\n".join(servers) + "\n")
        return self.begin("restart", str(fleet), "--run-id", run_id, "--yes", *PLANNED, *ENGINE, *more, url=url)

    def events(self, run_id: str) -> list[Recorded]:
        """Return the record of a run; empty while there is none."""
        return asyncio.run(self._events(run_id))

    async def _events(self, run_id: str) -> list[Recorded]:
        async with open_store(self.url, read_only=True) as store:
            return await store.events(run_id, limit=100_000)

    def until(self, run_id: str, kind: type[ev.Event], count: int = 1) -> Recorded:
        """Wait for the n-th event of a kind and return it."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            found = [each for each in self.events(run_id) if isinstance(each.event, kind)]
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.05)
        raise AssertionError(f"run {run_id} has had no {kind.name} number {count}")

    def resumed(self, run_id: str) -> fork_server.Command:
        """Resume a run from another machine as soon as its holder's lease lets that be."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            taker = self.begin("resume", run_id, "--yes", *ENGINE)
            before = len(self.holders(run_id))
            while taker.poll() is None:
                if len(self.holders(run_id)) > before:
                    return taker
                time.sleep(0.05)
            out, err = taker.communicate()
            assert taker.returncode == 7, out + err  # it is still held
        raise AssertionError(f"nobody could take run {run_id}")

    def holders(self, run_id: str) -> list[Recorded]:
        """Return the event of each process that has had a run."""
        return [each for each in self.events(run_id) if isinstance(each.event, ev.HolderChanged)]


@contextmanager
def scene(folder: Path, url: str) -> Iterator[Scene]:
    """Play a scene in a folder, on a database."""
    asyncio.run(_made(url))
    clouds = simulate(folder, CLOUD)
    cloud = next(clouds)
    terminal = Terminal(folder, dict(cloud.environment))
    try:
        yield Scene(cloud, url, terminal)
    finally:
        terminal.end()
        next(clouds, None)


async def _made(url: str) -> None:
    async with open_store(url):
        pass


def ended(process: fork_server.Command, patience: float = PATIENCE) -> tuple[int, str, str]:
    """Wait for a process's end; return its code and what it has written."""
    out, err = process.communicate(timeout=patience)
    return process.wait(), out, err


def kill(process: fork_server.Command) -> float:
    """Kill a process as a machine dies; return when, in seconds since 1970."""
    at = time.time()
    process.send_signal(signal.SIGKILL)
    return at


def books(cloud: Simulator) -> dict[str, Any]:
    """Return what the simulator says of promises that must hold whoever was killed."""
    audit = cloud.audit()
    names = ("restarts", "restarted_servers", "restarted_more_than_once", "fullest_window", "throttled_requests")
    return {name: audit[name] for name in names}
