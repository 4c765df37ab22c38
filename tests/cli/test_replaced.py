"""A package that is replaced below a run, or files that can no more be opened: what is imported late may fail."""

from __future__ import annotations

import os
import subprocess
import sys

from typed_commands import Simulator, Terminal

NOTHING_MORE = """
import sys
from ecsbatch.cli import app
from ecsbatch.ecs.aiohttp_sender import AiohttpSender

class Gone:
    restarting = False

    def find_spec(self, name, path=None, target=None):
        if self.restarting:
            raise ImportError(f"{name} is gone")

gone, send = Gone(), AiohttpSender.__call__

async def sends(self, request, on_sent):
    gone.restarting = gone.restarting or request.method == "POST"
    return await send(self, request, on_sent)

AiohttpSender.__call__ = sends
sys.meta_path.insert(0, gone)
sys.exit(app.main(sys.argv[1:]))
"""
FAST = ("--quota", "1000/1s", "--typical-restart", "1s", "--max-unavailable", "100%", "--linger", "0.05s", "--yes")


def test_a_run_needs_no_import_once_it_restarts_servers(terminal: Terminal, cloud: Simulator) -> None:
    """Its log has had nothing to say before; what becomes of the profile is told."""
    (terminal.folder / "fleet.txt").write_text("\n".join(cloud.ids[:10]) + "\n")
    words = ["restart", "fleet.txt", *FAST, "-q", "--events", "/dev/full", "--cpu-profile", "p.txt"]
    environment = {**os.environ, **cloud.environment, "XDG_STATE_HOME": str(terminal.folder / "state")}
    run = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", NOTHING_MORE, *words],
        cwd=terminal.folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stderr
    assert "10 of 10 restarted" in run.stdout
    assert "events.lost" in run.stderr  # before the first request with structlog, behind it without
    assert "--cpu-profile p.txt cannot be written" in run.stderr
