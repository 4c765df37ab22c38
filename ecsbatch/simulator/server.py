"""The simulated cloud over real HTTP, for other clients, for `demo` and for tests of the real sender.

Its time may run faster than the real one (`speed`): restarts, quota windows and jobs then take less real time, while
the latency stays as configured, in real seconds. Besides the API it serves, without authentication:

    GET  /_simulator/audit               the auditor's summary
    GET  /_simulator/health/{id}         200 or 503: a server's own health check
    GET  /_simulator/ids?az=&status=&format=txt|csv
    POST /_simulator/set                 {"outage": 30}, {"zone_fail": "az2"}, {"zone_mend": "az2"}, {"lock": [id]}, ...

Signatures are checked against the real clock; `Date`, jobs, servers and the time of a token follow the cloud's.

An outage closes connections instead of refusing them, since the socket stays open. So a client cannot know that nothing
was carried out; in virtual time (`sender`) it can.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, cast

import orjson
from aiohttp import web

from ecsbatch.simulator.cloud import CloudConfig, Exchange, Reply, SimulatedCloud

SHUTDOWN_PATIENCE: Final = 0.1
"""Real seconds for which an open connection delays the server's end: a client that waits for a lost reply must not."""

SILENCE: Final = 86_400.0
"""Real seconds for which a connection without a reply is kept open."""


class Running:
    """A running server.

    Attributes:
        url: where it listens, without a slash at its end.
        cloud: the cloud behind it.
        speed: seconds of the cloud's time in a real second.
    """

    def __init__(self, url: str, cloud: SimulatedCloud, speed: float) -> None:
        self.url = url
        self.cloud = cloud
        self.speed = speed

    def audit(self) -> dict[str, Any]:
        """Return the auditor's summary, with the quota's window and the submits' span in real seconds too."""
        return real_summary(self.cloud, self.speed)


def real_summary(cloud: SimulatedCloud, speed: float) -> dict[str, Any]:
    """Return the auditor's summary, with the quota's window and the submits' span in real seconds too."""
    summary = cloud.audit()
    first, last = summary["first_submit"], summary["last_submit"]
    real = {
        "speed": speed,
        "quota_window_real": cloud.config.quota_window / speed,
        "first_to_last_submit_real": None if first is None else (last - first) / speed,
    }
    return {**summary, **real}


@contextlib.asynccontextmanager
async def serve(
    config: CloudConfig, *, host: str = "127.0.0.1", port: int = 0, speed: float = 1.0
) -> AsyncGenerator[Running]:
    """Serve a cloud over HTTP while the block runs; port 0 takes a free one."""
    started = time.monotonic()
    # The network is not sped up: what is half a second of the cloud's time must be half a real one for the client.
    scaled = dataclasses.replace(config, latency=config.latency * speed)
    cloud = SimulatedCloud(scaled, lambda: (time.monotonic() - started) * speed, time.time)
    server = web.Server(HttpFront(cloud, speed, host).answer, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_PATIENCE)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0]
        yield Running(f"http://{host}:{bound[1]}", cloud, speed)
    finally:
        await runner.cleanup()


def is_for_us(headers: Mapping[str, str], host: str) -> bool:
    """Return False for what a page in a browser asks: it says an Origin, or has led its own name to our address.

    Args:
        headers: of the request.
        host: where we listen, as it was given.
    """
    asked = headers.get("Host", "").lower()
    name = asked.partition("]")[0].removeprefix("[") if asked.startswith("[") else asked.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in {"localhost", host.lower()} and "Origin" not in headers
    return "Origin" not in headers


class HttpFront:
    """Passes HTTP requests to the cloud, and sends its replies back or breaks them off."""

    def __init__(self, cloud: SimulatedCloud, speed: float, host: str) -> None:
        self._cloud = cloud
        self._speed = speed
        self._host = host

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; path and query go to the cloud as they were received."""
        if not is_for_us(request.headers, self._host):
            return web.Response(status=403, text="The simulator answers programs that ask it by its own address.\n")
        if request.path.startswith("/_simulator/"):
            return await self._operate(request)
        body = await request.read()
        exchange = self._cloud.receive(request.method, request.raw_path, request.headers, body)
        if exchange.refused:
            return _cut(request)
        exchange.sent()
        try:
            return await self._carry(exchange, request)
        except asyncio.CancelledError:
            exchange.abandoned()
            raise

    async def _carry(self, exchange: Exchange, request: web.BaseRequest) -> web.StreamResponse:
        await self._pause(exchange.inbound)
        reply = exchange.execute()
        if reply is None:
            if exchange.fate == "silence":
                await asyncio.sleep(SILENCE)
            exchange.abandoned()
            return _cut(request)
        await self._pause(exchange.outbound)
        if exchange.fate == "truncated":
            return await _send_half(reply, request)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds / self._speed)

    # -- the operator's side -----------------------------------------------------------------------------------

    async def _operate(self, request: web.BaseRequest) -> web.Response:
        match (request.method, *request.path.split("/")[2:]):
            case ("GET", "audit"):
                return _json(real_summary(self._cloud, self._speed))
            case ("GET", "health", server_id) if server_id in self._cloud.fleet.numbers:
                healthy = self._cloud.healthy(server_id)
                return web.Response(status=200 if healthy else 503, text="up\n" if healthy else "down\n")
            case ("GET", "ids"):
                return web.Response(text=self._ids(request))
            case ("POST", "set"):
                return self._set(await request.read())
            case _:
                return web.Response(status=404, text="There is no such page or server.\n")

    def _ids(self, request: web.BaseRequest) -> str:
        ids = self._cloud.ids(request.query.get("az"), request.query.get("status"))
        if request.query.get("format") != "csv":
            return "".join(f"{server_id}\n" for server_id in ids)
        fleet = self._cloud.fleet
        rows = ((server_id, fleet.numbers[server_id]) for server_id in ids)
        return "id,az,name\n" + "".join(f"{one},{fleet.zone(number)},{fleet.name(number)}\n" for one, number in rows)

    def _set(self, body: bytes) -> web.Response:
        try:
            changes = cast("dict[str, Any]", orjson.loads(body))
            for name, value in changes.items():
                self._change(name, value)
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            return web.Response(status=400, text=f"{error}\n")
        return _json({"set": sorted(changes)})

    def _change(self, name: str, value: Any) -> None:
        per_server: dict[str, Callable[[str], None]] = {
            "lock": self._cloud.lock,
            "delete": self._cloud.delete,
            "heal": self._cloud.heal,
            "hurt": self._cloud.hurt,
        }
        if name in per_server:
            for server_id in value:
                per_server[name](server_id)
        elif name == "outage":
            self._cloud.begin_outage(float(value) * self._speed)
        elif name == "zone_fail":
            self._cloud.zone_down(value)
        elif name == "zone_mend":
            self._cloud.zone_mended(value)
        else:
            self._cloud.set_rates(**{name: value})


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def _cut(request: web.BaseRequest) -> web.Response:
    """Reset the connection; the returned response is not sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _send_half(reply: Reply, request: web.BaseRequest) -> web.StreamResponse:
    """Announce the whole body, send half of it and cut the connection."""
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
