"""Holds a test to what a quick one may do: start no process, open no connection, wait in virtual time only."""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ecsbatch.simulator.virtual_time import VirtualLoop

FORBIDDEN = {
    **dict.fromkeys(("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"), "started a process"),
    **dict.fromkeys(("socket.connect", "socket.bind", "socket.getaddrinfo"), "opened a connection"),
}
"""Python's own audit events, and what each says of the test."""

_seen: list[str] | None = None
"""What the test under way did that it may not; None where it may do anything."""


def _note(what: str) -> None:
    if _seen is not None:
        _seen.append(what)


def _audit(event: str, _: tuple[Any, ...]) -> None:
    if _seen is not None and event in FORBIDDEN:
        _note(f"{FORBIDDEN[event]} ({event})")
        # It must not come to it; pytest's own exception passes any `except Exception` on its way.
        pytest.fail(_seen[-1])


# An audit hook stays for as long as the interpreter; it looks at the list.
sys.addaudithook(_audit)


@contextmanager
def nothing_real(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that starts a process, opens a connection or waits for real time to pass."""
    global _seen  # noqa: PLW0603 - the audit hook is one for the whole process
    _no_sleep(patch)
    _no_timer(patch)
    before, seen = _seen, list[str]()
    _seen = seen
    try:
        yield
    finally:
        _seen = before
    assert seen == [], f"a quick test (mark it `real` if it cannot do without): {seen[:5]}"


def _no_sleep(patch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        _note(f"slept {seconds} s")

    patch.setattr(time, "sleep", sleep)


def _no_timer(patch: pytest.MonkeyPatch) -> None:
    """See the loop of real time, or the test, wait for an instant to come; to wait for each other is no wait."""
    select = selectors.DefaultSelector.select
    wait = threading.Condition.wait

    def selecting(self: Any, timeout: float | None = None) -> Any:
        ready = select(self, timeout)
        if not ready and timeout and timeout > 0 and not isinstance(asyncio._get_running_loop(), VirtualLoop):
            _note(f"an event loop waited {timeout} s")
        return ready

    def waiting(self: Any, timeout: float | None = None) -> bool:
        got = wait(self, timeout)
        if not got and timeout and timeout > 0 and threading.current_thread() is threading.main_thread():
            _note(f"it waited {timeout} s")
        return got

    patch.setattr(selectors.DefaultSelector, "select", selecting)
    patch.setattr(threading.Condition, "wait", waiting)
