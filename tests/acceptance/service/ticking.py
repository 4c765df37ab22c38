"""The service with a ticker beside it in the same event loop: how late it is says what the engine costs its host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import app as service
from aiohttp import web

EVERY = 0.005
"""Seconds between two ticks."""


async def ticker(_app: web.Application) -> AsyncIterator[None]:
    """Tick as long as the service lives; log how late, in milliseconds."""
    late: list[float] = []

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + EVERY, loop.time())
            await asyncio.sleep(due - loop.time())
            late.append(loop.time() - due)

    ticking = asyncio.create_task(tick())
    yield
    ticking.cancel()
    late.sort()
    shares = {
        f"late_{share:g}": 1000 * late[min(len(late) - 1, int(len(late) * share / 100))] for share in (50, 99, 99.9)
    }
    service.log.info("ticked", ticks=len(late), most=1000 * late[-1], **shares)


if __name__ == "__main__":
    application = service.application()
    application.cleanup_ctx.append(ticker)
    service.log_as_json()
    web.run_app(application, host="127.0.0.1", port=int(os.environ["PORT"]), print=None, access_log=None)
