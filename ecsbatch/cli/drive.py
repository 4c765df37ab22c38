"""Running a rollout from a terminal: signals go in, views watch, and none of them can stop it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecsbatch.cli.live import Surroundings, Watchers, Watching
from ecsbatch.config.sources import Settings
from ecsbatch.model.state import RolloutState
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.views.standing import aborting_notice
from ecsbatch.views.text import lasting, printable

if TYPE_CHECKING:
    from ecsbatch.restarter import Restarter

_A_MOMENT: Final = 3.0
"""Seconds without an answer that are not worth a word."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Driven:
    """What a run came to in this process; ``received`` is the signal that stopped it, 0 for none."""

    state: RolloutState
    received: int


class Signals:
    """The first signal asks a run to stop, the second one breaks it off."""

    def __init__(self, rollout: Rollout, hurry: Callable[[], None]) -> None:
        """Belong to the task that runs the rollout; ``hurry`` has its store wait for nobody."""
        self.received = 0
        self.broken_off = False
        self._rollout = rollout
        self._hurry = hurry
        self._task = asyncio.current_task()

    @contextmanager
    def installed(self) -> Generator[None]:
        """Listen while the block runs; a signal that is ignored (nohup) stays so."""
        loop = asyncio.get_running_loop()
        wanted = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in wanted:
            loop.add_signal_handler(number, self._receive, number)
        try:
            yield
        finally:
            for number in wanted:
                loop.remove_signal_handler(number)

    def notice(self) -> str:
        """Return what to tell about the run's end, "" while nobody has asked for it; a signal beats an abort."""
        if self.received:
            return "Stopping: nothing new is sent, requests in flight get their answer. Once more breaks it off."
        return aborting_notice(self._rollout.state)

    def _receive(self, number: int) -> None:
        if not self.received:
            self.received = number
            self._rollout.stop("interrupted", f"Stopped by {signal.Signals(number).name}.")
        elif not self.broken_off and self._task is not None:
            self.broken_off = True
            self._hurry()
            self._task.cancel()


def blind_notice(seconds: float, why: str, timeout: float) -> str:
    """Return what to tell while nothing can be seen of the cloud, "" where that is no more than a moment."""
    if seconds < _A_MOMENT:
        return ""
    return (
        f"Nothing can be seen of the cloud for {lasting(seconds)}: {printable(why).rstrip('.')}. No server is blamed "
        f"for it; after {lasting(timeout)} the run stops, and ecsbatch resume goes on."
    )


def busy_notice(seconds: float, keeper: int) -> str:
    """Return what to tell while another process keeps the store, "" where that is no more than a moment."""
    if seconds < _A_MOMENT:
        return ""
    way = f" (end it, or kill -CONT {keeper})" if keeper else ""
    process = f"Process {keeper}" if keeper else "Another process"
    return f"{process} keeps the store busy for {lasting(seconds)}: nothing is sent until it lets go{way}."


async def drive(
    restarter: Restarter, rollout: Rollout, settings: Settings, watching: Watching, *, known: int = 0
) -> Driven:
    """Run a rollout and show it; return how it stands then.

    Args:
        restarter: whose quota is shown.
        rollout: to be run.
        settings: for the events' file, the log's form and the quota.
        watching: how much is shown.
        known: the number of the last event before this process; the events' file may have those already.

    Raises:
        EcsbatchError: whatever the rollout raises.
    """
    signals = Signals(rollout, restarter.store.hurry)

    def notice() -> str:
        store = restarter.store
        waits = busy_notice(store.waiting, store.keeper) if store.waiting else ""
        return signals.notice() or waits or blind_notice(*restarter.blindness(), settings.engine.blind_timeout)

    around = Surroundings(settings.engine.quota, restarter.usage, notice, known, lambda: rollout.held)
    watchers = Watchers(rollout, around, settings, watching)
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            watchers.start(group)
            with signals.installed():
                try:
                    await rollout.run()
                except Exception as e:  # noqa: BLE001 - it is raised again, outside of the group that would wrap it
                    failure = e
            await watchers.end(whole=failure is None)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not signals.broken_off or task is None:
            raise
        task.uncancel()
    finally:
        await watchers.close()
    if failure is not None:
        raise failure
    return Driven(rollout.state, signals.received)
