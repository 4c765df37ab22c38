"""What holds a quick test to its promise does so."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from nothing_real import nothing_real

from ecsbatch.simulator.virtual_time import run


def _connect() -> None:
    with socket.socket() as one:
        one.connect(("127.0.0.1", 9))


def _start() -> None:
    subprocess.run([sys.executable, "--version"], check=True)


def _spin() -> None:
    asyncio.run(asyncio.sleep(0.01))


@pytest.mark.parametrize(
    ("does", "told"),
    [
        (_start, "started a process"),
        (_connect, "opened a connection"),
        (lambda: time.sleep(0.01), "slept 0.01 s"),
        (_spin, "an event loop waited"),
        (lambda: threading.Event().wait(0.01), "it waited 0.01 s"),
    ],
    ids=["process", "connection", "sleep", "loop", "thread"],
)
def test_a_quick_test_fails_that_does_anything_real(does: Callable[[], object], told: str) -> None:
    with (
        pytest.raises((AssertionError, pytest.fail.Exception), match=told),
        pytest.MonkeyPatch.context() as patch,
        nothing_real(patch),
    ):
        does()


def test_a_quick_test_may_wait_in_virtual_time_and_for_others() -> None:
    ready = threading.Event()
    threading.Thread(target=ready.set).start()

    run(asyncio.sleep(3600.0))
    asyncio.run(asyncio.to_thread(ready.wait, 60.0))
