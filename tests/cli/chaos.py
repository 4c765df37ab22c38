"""Kill the command line with ``-9`` at random instants and resume it: ``python tests/cli/chaos.py --kills 20``."""

from __future__ import annotations

import argparse
import json
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typed_commands import Simulator, Terminal, simulate

FAULTS = "lost_reply=3%,reset_after=3%,reject_503=3%"


@dataclass(frozen=True)
class ChaosResult:
    """What came of a run that was killed again and again."""

    kills: int
    report: dict[str, Any]
    audit: dict[str, Any]
    receipt: str

    def complaints(self) -> list[str]:
        """Say what was promised and not kept: by the simulator's books, not by ours."""
        books, servers = self.audit, self.report["servers"]
        restarted = [s["id"] for s in servers if s["outcome"] == "restarted"]
        found = [
            f"{books['restarted_more_than_once']} servers were restarted twice"
            * bool(books["restarted_more_than_once"]),
            f"{books['fullest_window']} servers in a window" * (books["fullest_window"] > books["quota_limit"]),
            f"{len(restarted)} say restarted, {books['restarted_servers']} were"
            * (len(restarted) != books["restarted_servers"]),
            f"outcomes {Counter(s['outcome'] for s in servers)}" * (len(restarted) != len(servers)),
        ]
        return [complaint for complaint in found if complaint]


@contextmanager
def cloud(folder: Path, servers: int, speed: int) -> Iterator[Simulator]:
    """Serve a simulated cloud with faults, in a process of its own."""
    yield from simulate(folder, ["--servers", str(servers), "--speed", str(speed), "--faults", FAULTS])


def run(folder: Path, simulator: Simulator, *, kills: int, speed: int, seed: int) -> ChaosResult:
    """Restart the whole fleet, killed at ``kills`` random instants."""
    chance = random.Random(seed)
    window = 60 / speed
    terminal = Terminal(folder, dict(simulator.environment))
    (folder / "fleet.txt").write_text("\n".join(simulator.ids))
    engine = ["--quota", f"1000/{window:g}s", "--typical-restart", f"{max(1.0, 40 / speed):g}s"]
    engine += ["--request-timeout", "1s", "--unknown-grace", f"{max(1.0, window):g}s", "--run-id", "chaos"]
    first = ["restart", "fleet.txt", "--yes", "--waves", "100%", "--max-unavailable", "10%", "--max-failures", "100%"]
    first += ["--max-failures-per-wave", "100%"]
    done = 0
    try:
        while True:
            process = (
                terminal.begin(*first, *engine)
                if done == 0
                else terminal.begin("resume", "chaos", "--yes", *engine[:-2])
            )
            if done < kills:
                # A real instant is what is wanted here; nothing is asserted about how far the process has come.
                time.sleep(chance.uniform(0.3, 3.0))
                process.send_signal(signal.SIGKILL)
            out, err = process.communicate(timeout=300)
            if process.returncode == 2 and "There is no run" in err:
                # On a busy machine every kill may have come before the run was on record.
                done = 0
                continue
            if process.returncode >= 0 and done >= kills:
                break
            done += 1
        assert process.returncode in {0, 3}, (process.returncode, out, err[-2000:])
        report = json.loads(terminal.type("report", "chaos", "-o", "json").stdout)
        receipt = terminal.type("audit", "chaos").stdout
    finally:
        terminal.end()
    return ChaosResult(done, report, simulator.audit(), receipt)


def main() -> int:
    """Do it once and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--servers", type=int, default=2000)
    parser.add_argument("--speed", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with cloud(folder, options.servers, options.speed) as simulator:
            story = run(folder, simulator, kills=options.kills, speed=options.speed, seed=options.seed)
    books = story.audit
    print(  # noqa: T201 - a program's output
        f"{story.kills} kills; {books['restarted_servers']} servers restarted, {books['restarted_more_than_once']} "
        f"twice; fullest window {books['fullest_window']} of {books['quota_limit']}; misfortunes {books['faults']}"
    )
    for complaint in story.complaints():
        print("BROKEN:", complaint)  # noqa: T201
    print(story.receipt)  # noqa: T201
    return 1 if story.complaints() else 0


if __name__ == "__main__":
    raise SystemExit(main())
