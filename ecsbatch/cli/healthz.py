"""What a supervisor asks a worker over HTTP: is it well, does it live. It tells, and steers nothing.

GET /healthz    200 while the store answers and the worker looks for runs, else 503; the runs that it has
GET /livez      200 while its event loop turns: for whoever would restart it, which helps no store that is away
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.errors import ConfigError
from ecsbatch.model.json_text import json_bytes

if TYPE_CHECKING:
    from aiohttp import web

WELL_WITHIN: Final = 10.0
"""Seconds after its last look at the store for which a worker counts as well."""

_LAST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """How a worker is.

    Attributes:
        looked_ago: seconds since its last look at the store that succeeded; None before the first.
        away: why the store could not be looked at the last time; "" where it could.
        ending: it was told to end.
        runs: the ids of the runs that it has, each with how it stands.
        max_runs: how many it may have.
    """

    looked_ago: float | None
    away: str
    ending: bool
    runs: dict[str, str]
    max_runs: int

    @property
    def why_not_well(self) -> str:
        """Why it is not well; "" where it is."""
        if self.ending:
            return "It was told to end, and hands its runs over."
        if self.away:
            return self.away
        if self.looked_ago is None:
            return "It has not looked for runs yet."
        return f"It has last looked for runs {self.looked_ago:.0f} s ago." if self.looked_ago > WELL_WITHIN else ""

    def answer(self) -> tuple[int, dict[str, Any]]:
        """Return the status and the body of what a supervisor is told."""
        why = self.why_not_well
        body = {
            "status": "unavailable" if why else "ok",
            "why": why,
            "runs": [{"run_id": run_id, "standing": how} for run_id, how in self.runs.items()],
            "max_runs": self.max_runs,
            "looked_s_ago": None if self.looked_ago is None else round(self.looked_ago, 3),
        }
        return (503 if why else 200), body


def host_and_port(text: str) -> tuple[str, int]:
    """Read ``127.0.0.1:8080``, ``[::1]:8080`` or ``8080``, which is one of this machine alone.

    Raises:
        UsageError: it is none of these.
    """
    host, _, digits = text.strip().rpartition(":")
    host = host or "127.0.0.1"
    bare = host.removeprefix("[").removesuffix("]")
    good = digits.isascii() and digits.isdigit() and 1 <= int(digits) <= _LAST_PORT
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        good = good and bare == "localhost"
    if not good or (":" in bare and host == bare):
        raise UsageError(f"--healthz {text}: give an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080.")
    return bare, int(digits)


@asynccontextmanager
async def answering(address: str, health: Callable[[], WorkerHealth]) -> AsyncGenerator[None]:
    """Answer for as long as the block lasts; "" opens nothing.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    if not address:
        yield
        return
    from aiohttp import web  # noqa: PLC0415 - imported when used

    async def healthz(_: web.Request) -> web.Response:
        status, body = health().answer()
        return web.Response(body=json_bytes(body), status=status, content_type="application/json")

    async def livez(_: web.Request) -> web.Response:
        return web.Response(body=json_bytes({"status": "ok"}), content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/livez", livez)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        host, port = host_and_port(address)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as e:
            why = e.strerror or e
            raise ConfigError(f"--healthz {address} cannot be listened at ({why}): give another port.") from e
        yield
    finally:
        await runner.cleanup()
