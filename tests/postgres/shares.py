"""Several processes spend one quota: says how much of it each gets, and how much all of them together.

    python tests/postgres/shares.py [--pgbouncer] [equal] [sizes] [late] [killed] [skewed]

Each scene is played by real commands, four rollouts on one database against one simulated cloud. It exits with 1 where
the simulator counted more than its quota, less than 95% of it was used, or shares differ by more than 20%.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in (".", "tests", "tests/cli")]

import fork_server  # noqa: E402 - the path first
import psycopg  # noqa: E402
from typed_commands import Simulator, Terminal, simulate  # noqa: E402

from ecsbatch.engine.limiter import GUARD  # noqa: E402
from ecsbatch.model import events as ev  # noqa: E402
from ecsbatch.store import open_store  # noqa: E402
from postgres.databases import Databases  # noqa: E402
from postgres.pgbouncer import PgBouncer  # noqa: E402
from postgres.server import Server  # noqa: E402

QUOTA: Final = 1000
USED: Final = 0.95
APART: Final = 0.20
TURN: Final = 2.5
"""Seconds for which a process that has died keeps its turn, at most."""

PATIENCE: Final = 300.0

_SHIFTED: Final = """
import sys, time
walls, sys.argv[0] = time.time, "ecsbatch"
time.time = lambda: walls() + 600.0
from ecsbatch.cli.app import main
sys.exit(main(sys.argv[1:]))
"""
"""A command whose wall clock is ten minutes ahead."""

Grants = list[tuple[float, int]]
"""When tokens were granted, by the ledger's clock, and how many."""

Process = fork_server.Command | subprocess.Popen[str]


@dataclass
class Player:
    """A process with a rollout of its own.

    Attributes:
        run_id: of its rollout.
        batch: servers of a request, at most.
        after: seconds until it begins.
        shifted: its wall clock is ten minutes ahead.
        process: once it has begun.
        grants: what it got, once all is over.
    """

    run_id: str
    batch: int = 100
    after: float = 0.0
    shifted: bool = False
    process: Process | None = None
    grants: Grants = field(default_factory=Grants)


@dataclass
class Stage:
    """One cloud, one database, and how long a window of the quota is here.

    Attributes:
        cloud: the simulator.
        url: of the store.
        terminal: where commands are typed.
        window: seconds.
    """

    cloud: Simulator
    url: str
    terminal: Terminal
    window: float

    def begin(self, player: Player, servers: Sequence[str]) -> None:
        """Begin a player's rollout."""
        fleet = self.terminal.folder / f"{player.run_id}.txt"
        fleet.write_text("\n".join(servers) + "\n")
        words = [
            *("restart", str(fleet), "--run-id", player.run_id, "--yes", "-o", "json"),
            *("--waves", "100%", "--max-unavailable", "100%", "--linger", "0"),
            *("--quota", f"{QUOTA}/{self.window:g}s", "--batch-size", str(player.batch)),
            *("--request-timeout", "2s", "--unknown-grace", "1s", "--typical-restart", "5s", "--api-rate", "400/s"),
        ]
        if player.shifted:
            variables = {**os.environ, **self.terminal.environment, "ECSBATCH_STORE": self.url}
            variables |= {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.terminal.folder / "state")}
            player.process = subprocess.Popen(  # noqa: S603 - our own few lines
                [sys.executable, "-c", _SHIFTED, *words],
                env=variables,
                cwd=self.terminal.folder,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            self.terminal.processes.append(player.process)
        else:
            player.process = self.terminal.begin(*words, ECSBATCH_STORE=self.url)

    async def grants(self, run_id: str) -> Grants:
        """Return what a run got."""
        async with open_store(self.url, read_only=True) as store:
            events = await store.events(run_id, limit=1_000_000)
        told = [each.event for each in events]
        return [(each.granted, len(each.servers)) for each in told if isinstance(each, ev.BatchSubmitting)]

    def turn_ends(self, run_id: str) -> float | None:
        """Return until when a run's process has a turn, in seconds since 1970; None where it has none."""
        asked = "SELECT max(asked_until) FROM ecsbatch.turns JOIN ecsbatch.leases USING (nonce) WHERE run_id = %s"
        with psycopg.connect(self.url) as connection:
            row = connection.execute(asked, (run_id,)).fetchone()
        return row[0] if row else None


def play(stage: Stage, players: Sequence[Player], windows: int, kill: Player | None) -> None:
    """Have all rollouts of equal fleets end, but one that is killed in its middle."""
    each = QUOTA * windows // len(players)
    began = time.monotonic()
    for number, player in enumerate(sorted(players, key=lambda player: player.after)):
        time.sleep(max(0.0, began + player.after - time.monotonic()))
        stage.begin(player, stage.cloud.ids[number * each : (number + 1) * each])
    if kill is not None:
        time.sleep(max(0.0, began + 2.5 * stage.window - time.monotonic()))
        died, ends = time.time(), stage.turn_ends(kill.run_id)
        assert kill.process is not None
        kill.process.send_signal(signal.SIGKILL)
        left = (stage.turn_ends(kill.run_id) or ends or died) - died
        sys.stdout.write(f"  {kill.run_id} killed; its turn ends {max(0.0, left):.2f} s later\n")
        assert left <= TURN, left
    for player in players:
        assert player.process is not None
        out, err = player.process.communicate(timeout=PATIENCE)
        assert player is kill or player.process.returncode == 0, out + err
    for player in players:
        player.grants = asyncio.run(stage.grants(player.run_id))


def burst(grants: Grants, at: float, window: float) -> float:
    """Return when the burst began that a grant is of: what was granted at once comes back at once."""
    instants = [at - window / 2, *sorted(other for other, _ in grants if at - window / 2 < other <= at)]
    return max(pairwise(instants), key=lambda pair: pair[1] - pair[0])[1]


def within(grants: Grants, begin: float, end: float) -> int:
    """Return the tokens that were granted in a time."""
    return sum(tokens for at, tokens in grants if begin <= at < end)


def judge(stage: Stage, players: Sequence[Player], kill: Player | None) -> list[str]:
    """Print what each got, and say what is wrong."""
    everything = sorted(grant for player in players for grant in player.grants)
    first, window = everything[0][0], stage.window + GUARD
    last = everything[-1][0]
    for number in range(int((last - first) / window) + 1):
        span = first - 0.5 + number * window, first - 0.5 + (number + 1) * window
        got = [within(player.grants, *span) for player in players]
        sys.stdout.write(f"  window {number}: {'  '.join(f'{tokens:4}' for tokens in got)}   all {sum(got):5}\n")
    busy = [player for player in players if player is not kill]
    # Who comes before the others takes what there is; a newcomer has its share within a window.
    newest = max(player.grants[0][0] for player in players)
    begin = min(at for at, _ in everything if at > newest + window / 2)
    end = burst(everything, min(player.grants[-1][0] for player in busy), window)
    got = [within(player.grants, begin, end) for player in busy]
    apart = max(got) / max(1, min(got)) - 1
    used = within(everything, begin, end) / (QUOTA * (end - begin) / stage.window)
    audit = stage.cloud.audit()
    sys.stdout.write(
        f"  while all were busy, {end - begin:.1f} s: {got}, {apart:.0%} apart; {used:.1%} of the quota\n"
        f"  the simulator's audit: fullest window {audit['fullest_window']}, share of the quota "
        f"{audit['quota_share']:.1%}, throttled {audit['throttled_requests']}, restarts {audit['restarts']}, "
        f"more than once {audit['restarted_more_than_once']}, requests {audit['accepted_requests']}\n"
    )
    sys.stdout.flush()
    wrong = []
    if audit["fullest_window"] > QUOTA or audit["throttled_requests"]:
        wrong.append(f"the fullest window has {audit['fullest_window']}")
    if kill is None and used < USED:
        wrong.append(f"{used:.1%} of the quota was used")
    if apart > APART:
        wrong.append(f"shares are {apart:.0%} apart")
    if audit["restarted_more_than_once"]:
        wrong.append("servers were restarted twice")
    return wrong


@contextmanager
def stage(folder: Path, url: str, window: float, servers: int) -> Iterator[Stage]:
    """Play on a database, in a folder."""

    async def made() -> None:
        async with open_store(url):
            pass

    asyncio.run(made())
    speed = 60 / window
    words = ["--servers", str(servers), "--speed", f"{speed:g}", "--quota", f"{QUOTA}/60s", "--restart-time", "10s"]
    clouds = simulate(folder, words)
    cloud = next(clouds)
    terminal = Terminal(folder, dict(cloud.environment))
    try:
        yield Stage(cloud, url, terminal, window)
    finally:
        terminal.end()
        next(clouds, None)


def equal(_window: float) -> list[Player]:
    """Four of the same kind."""
    return [Player(name) for name in "abcd"]


def sizes(_window: float) -> list[Player]:
    """Batches of different sizes."""
    return [Player("a"), Player("b"), Player("c", 300), Player("d", 1000)]


def late(window: float) -> list[Player]:
    """One begins when the others have shared all."""
    return [Player("a"), Player("b"), Player("c", 300), Player("d", after=1.3 * window)]


def skewed(_window: float) -> list[Player]:
    """One has a wall clock that is ten minutes ahead."""
    return [*(Player(name) for name in "abc"), Player("d", shifted=True)]


SCENES: Final[dict[str, Callable[[float], list[Player]]]] = {
    "equal": equal,
    "sizes": sizes,
    "late": late,
    "killed": sizes,
    "skewed": skewed,
}


def main() -> int:
    """Play what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("scenes", nargs="*", choices=[[], *SCENES], help="[all]")
    parser.add_argument("--pgbouncer", action="store_true", help="by way of a pooler in transaction mode")
    parser.add_argument("--window", type=float, default=10.0, help="seconds of a window here [10]")
    parser.add_argument("--windows", type=int, default=6, help="how many windows the servers are for [6]")
    typed = parser.parse_args()
    server = Server()
    server.start()
    databases = Databases(server.url())
    pooler = PgBouncer(server.url()) if typed.pgbouncer else None
    wrong: dict[str, list[str]] = {}
    try:
        for name in typed.scenes or SCENES:
            sys.stdout.write(f"{name}:\n")
            url = databases.create()
            players = SCENES[name](typed.window)
            kill = players[1] if name == "killed" else None
            with tempfile.TemporaryDirectory() as folder:
                place = stage(Path(folder), pooler.url(url) if pooler else url, typed.window, QUOTA * typed.windows)
                with place as made:
                    play(made, players, typed.windows, kill)
                    wrong[name] = judge(made, players, kill)
    finally:
        if pooler is not None:
            pooler.remove()
        server.remove()
    for name, said in wrong.items():
        sys.stdout.writelines(f"{name}: {each}\n" for each in said)
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
