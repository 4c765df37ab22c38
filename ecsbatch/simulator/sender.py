"""Sends requests to the simulated cloud without a socket, in virtual or in real time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from ecsbatch.ecs.sender import MAX_ANSWER_BYTES, Answer, Request
from ecsbatch.simulator.cloud import Exchange, Reply, SimulatedCloud

SILENCE: Final = 86_400.0
"""Seconds after which a reply that never comes becomes a reset: a client without a timeout must not hang the loop."""


class SimulatedSender:
    """A `ecsbatch.ecs.sender.Sender` that passes each request to a simulated cloud.

    Raises, as a real sender does:
        ConnectionRefusedError: before `on_sent`; nothing was sent.
        ConnectionResetError: after `on_sent`; carried out or not.
    """

    def __init__(self, cloud: SimulatedCloud) -> None:
        self._cloud: SimulatedCloud | None = cloud

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Send a request once and return the answer."""
        if self._cloud is None:
            raise ConnectionRefusedError("This sender was severed by a simulated crash.")
        exchange = self._cloud.receive(request.method, *_wire(request), request.body)
        if exchange.refused:
            raise ConnectionRefusedError("The simulated cloud refuses connections during its outage.")
        on_sent()
        exchange.sent()
        try:
            return await self._answer(exchange)
        except BaseException:
            self._hang_up(exchange)
            raise

    def sever(self) -> None:
        """Cut the connection for a simulated crash: what has left is carried out, nothing else leaves."""
        self._cloud = None

    def _hang_up(self, exchange: Exchange) -> None:
        """Tell the cloud that nobody waits any more; a dead process does not."""
        if self._cloud is not None:
            exchange.abandoned()

    async def _answer(self, exchange: Exchange) -> Answer:
        await asyncio.sleep(exchange.inbound)
        reply = exchange.execute()
        if reply is None:
            if exchange.fate == "silence":
                await asyncio.sleep(SILENCE)
            raise ConnectionResetError("The simulated cloud reset the connection.")
        await asyncio.sleep(exchange.outbound)
        return _as_answer(reply, complete=exchange.fate == "answer")


def _wire(request: Request) -> tuple[str, dict[str, str]]:
    """Return path and query and the headers as a server receives them, with `Host`."""
    parts = urlsplit(request.url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return target, {"Host": parts.netloc, **request.headers}


def _as_answer(reply: Reply, *, complete: bool) -> Answer:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    body = reply.body if complete else reply.body[: len(reply.body) // 2]
    if len(body) > MAX_ANSWER_BYTES:
        return Answer(reply.status, headers, body[:MAX_ANSWER_BYTES], complete=False)
    return Answer(reply.status, headers, body, complete=complete)
