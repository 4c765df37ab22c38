"""What a supervisor asks a worker over HTTP: is it well, does it live. It tells, and steers nothing.

GET /healthz    200 while the store answers and the worker looks for runs, else 503; the runs that it has
GET /livez      200 while its event loop turns: for whoever would restart it, which helps no store that is away
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from ecsbatch.cli.listen import listening_at
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.json_text import json_bytes

if TYPE_CHECKING:
    from aiohttp import web

WELL_WITHIN: Final = 10.0
"""Seconds after its last look at the store for which a worker counts as well."""


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
    async with listening_at(app, address, "--healthz"):
        yield
