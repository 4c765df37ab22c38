"""`NamedRestarts`: single restarts of servers that are given by their names; the cloud is asked first who is meant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ecsbatch.engine.ports import Cloud
from ecsbatch.errors import EngineStopped
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.servers import RestartType, Server
from ecsbatch.rollout.targets import as_target, resolve_each

Submit = Callable[[Server, RestartType], asyncio.Future[Outcome]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A restart that somebody waits for, of a server that is not found yet."""

    server: Server
    type: RestartType
    future: asyncio.Future[Outcome]


class NamedRestarts:
    """Finds servers by their names and has them restarted; those asked for during one look are found by the next."""

    def __init__(self, clouds: Mapping[str, Cloud], submit: Submit) -> None:
        """Look at ``clouds``, by their sites' keys; ``submit`` restarts a server that is found."""
        self._clouds = clouds
        self._submit = submit
        self._asked: list[_Asked] = []
        self._looking: list[_Asked] = []
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._asked) + len(self._looking)

    def submit(self, server: str | Server, type_: RestartType) -> asyncio.Future[Outcome]:
        """Find a server by its name and restart it; the future gives its outcome, or why it is not restarted.

        Raises:
            SelectionError: this is no name.
            ConfigError: the server's site has no client.
        """
        target = as_target(server, self._clouds)
        loop = asyncio.get_running_loop()
        asked = _Asked(target, type_, loop.create_future())
        self._asked.append(asked)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._look(), name="ecsbatch-names")
        return asked.future

    async def _look(self) -> None:
        """Look until everybody that somebody waits for is found, or is not."""
        await asyncio.sleep(0)  # who asks at the same time is found by the same look
        while self._asked:
            self._looking, self._asked = [each for each in self._asked if not each.future.done()], []
            found = await self._find([each.server for each in self._looking])
            for asked, server in zip(self._looking, found, strict=True):
                self._restart(asked, server)
            self._looking = []

    async def _find(self, servers: Sequence[Server]) -> Sequence[Server | Exception]:
        """Return who is meant by each name, or why nobody is."""
        try:
            return await resolve_each(self._clouds, servers)
        except Exception as e:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            return [e] * len(servers)

    def _restart(self, asked: _Asked, server: Server | Exception) -> None:
        """Hand a server on that is found; whoever waits for its name waits for its restart then."""
        if asked.future.done():
            return
        if isinstance(server, Exception):
            asked.future.set_exception(server)
            return
        try:
            restart = self._submit(server, asked.type)
        except Exception as e:  # noqa: BLE001 - as above
            asked.future.set_exception(e)
            return
        restart.add_done_callback(lambda done: _hand_on(done, asked.future))
        asked.future.add_done_callback(lambda _: restart.cancel())

    def end(self) -> None:
        """Look for nobody any more: the engine has ended, or was closed."""
        if self._task is not None:
            self._task.cancel()
        for asked in (*self._asked, *self._looking):
            if not asked.future.done():
                asked.future.set_exception(EngineStopped("The engine ended before this server was found by its name."))
        self._asked, self._looking = [], []


def _hand_on(done: asyncio.Future[Outcome], waiter: asyncio.Future[Outcome]) -> None:
    if waiter.done():
        if not done.cancelled():
            done.exception()
    elif done.cancelled():
        waiter.cancel()
    elif (fault := done.exception()) is not None:
        waiter.set_exception(fault)
    else:
        waiter.set_result(done.result())
