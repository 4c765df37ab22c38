"""One simulated cloud for a module's tests, and a terminal in a folder of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from typed_commands import Simulator, Terminal, simulate

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a shell's background job; what is typed here is to hear Ctrl-C as in a terminal.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    yield from simulate(tmp_path_factory.mktemp("cloud"), ["--servers", "400", "--speed", "60", "--shutoff", "4"])


@pytest.fixture
def terminal(tmp_path: Path, cloud: Simulator) -> Iterator[Terminal]:
    typed = Terminal(tmp_path, dict(cloud.environment))
    yield typed
    typed.end()
