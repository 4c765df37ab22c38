"""`NamedRestarts`: single restarts of servers that are given by their names; the cloud is asked first who is meant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from ecsbatch.engine.ports import Cloud
from ecsbatch.errors import EngineStopped
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.servers import RestartType, Server
from ecsbatch.rollout.targets import as_target, resolve

Submit = Callable[[str, str, RestartType], asyncio.Future[Outcome]]
"""Restarts a server, by its id and its site's key."""


class NamedRestarts:
    """Finds servers by their names, and has each restarted as soon as it is found."""

    def __init__(self, clouds: Mapping[str, Cloud], submit: Submit) -> None:
        """Look at ``clouds``, by their sites' keys; ``submit`` restarts a server that is found."""
        self._clouds = clouds
        self._submit = submit
        self._looking: dict[asyncio.Task[None], asyncio.Future[Outcome]] = {}

    def submit(self, server: str | Server, type_: RestartType) -> asyncio.Future[Outcome]:
        """Find a server by its name and restart it; the future gives its outcome, or why it is not restarted.

        Raises:
            SelectionError: this is no name.
            ConfigError: the server's site has no client.
        """
        target, loop = as_target(server, self._clouds), asyncio.get_running_loop()
        asked: asyncio.Future[Outcome] = loop.create_future()
        task = loop.create_task(self._find(target, type_, asked), name="ecsbatch-name")
        self._looking[task] = asked
        task.add_done_callback(self._looked)
        return asked

    async def _find(self, target: Server, type_: RestartType, asked: asyncio.Future[Outcome]) -> None:
        """Find a server, and hand it on; whoever waits for its name waits for its restart then."""
        [found] = await resolve(self._clouds, [target])
        if not asked.done():
            restart = self._submit(found.id, found.site, type_)
            restart.add_done_callback(lambda done: _hand_on(done, asked, found))
            asked.add_done_callback(lambda _: restart.cancel())

    def _looked(self, task: asyncio.Task[None]) -> None:
        """Tell who waits for a server that was not found, whatever the reason."""
        asked = self._looking.pop(task)
        fault = None if task.cancelled() else task.exception()
        if asked.done():
            return
        if task.cancelled():
            asked.cancel()
        elif fault is not None:
            asked.set_exception(fault)

    def end(self) -> None:
        """Look for nobody any more: the engine has ended, or was closed."""
        for task, asked in list(self._looking.items()):
            task.cancel()
            if not asked.done():
                asked.set_exception(EngineStopped("The engine ended before this server was found by its name."))


def _hand_on(done: asyncio.Future[Outcome], asked: asyncio.Future[Outcome], found: Server) -> None:
    """Tell whoever has asked by a name how the restart of the server that was found has ended."""
    if asked.done():
        if not done.cancelled():
            done.exception()
    elif done.cancelled():
        asked.cancel()
    elif (fault := done.exception()) is not None:
        asked.set_exception(fault)
    else:
        asked.set_result(replace(done.result(), name=found.name, domain=found.domain))
