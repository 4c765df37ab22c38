"""Two web applications, each with a `Restarter` and a `Rollout`, against a simulator over real sockets.

Run by `test_two_applications.py` under ``-W error``; prints what it saw as JSON. Not a test module itself.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import AsyncGenerator

import aiohttp
from aiohttp import web

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.model.quota import Quota
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.server import Running, serve
from ecsbatch.store import open_store

SPEED = 60.0
ENGINE = Engine(quota=Quota(1000, 60 / SPEED), typical_restart=1.0, linger=0.05)
RESTARTER = web.AppKey("restarter", Restarter)
ROLLOUT = web.AppKey("rollout", Rollout)
RUNNING = web.AppKey("running", asyncio.Task)


def application(cloud: Running, store_url: str, ids: list[str]) -> web.Application:
    """Build an application that restarts a fleet in the background, and single servers for whoever asks."""

    async def engine(app: web.Application) -> AsyncGenerator[None]:
        config = cloud.cloud.config
        auth = KeyAuth(config.access_key, config.secret_key)
        async with (
            EcsClient(auth=auth, project_id=config.project_id, endpoint=cloud.url, api_rate=200) as ecs,
            open_store(store_url) as store,
            Restarter(ecs, store, engine=ENGINE) as restarter,
        ):
            app[RESTARTER] = restarter
            app[ROLLOUT] = restarter.rollout(ids, Strategy(max_unavailable=20, waves="1,100%"))
            app[RUNNING] = asyncio.create_task(app[ROLLOUT].run())
            yield
            app[RUNNING].cancel()
            await asyncio.wait([app[RUNNING]])

    async def restart(request: web.Request) -> web.Response:
        outcome = await request.app[RESTARTER].restart(request.match_info["server"])
        return web.json_response({"server": outcome.server, "kind": outcome.kind})

    app = web.Application()
    app.router.add_post("/restart/{server}", restart)
    app.cleanup_ctx.append(engine)
    return app


async def start(app: web.Application) -> tuple[web.AppRunner, str]:
    """Serve an application on a free port."""
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def use(urls: list[str], ids: list[str], session: aiohttp.ClientSession) -> list[dict[str, str]]:
    """Ask both applications for servers; every third caller hangs up while it waits."""

    async def ask(i: int, server: str) -> dict[str, str] | None:
        try:
            async with (
                asyncio.timeout(0.2 if i % 3 == 0 else 60),
                session.post(f"{urls[i % 2]}/restart/{server}") as got,
            ):
                answer: dict[str, str] = await got.json()
                return answer
        except TimeoutError:
            return None

    answers = await asyncio.gather(*(ask(i, server) for i, server in enumerate(ids)))
    return [answer for answer in answers if answer is not None]


async def main(store_url: str) -> None:
    """Let two applications work, cancel and close them, and say what is left."""
    asyncio.get_running_loop().slow_callback_duration = 10.0  # a busy machine is not what is looked for
    async with serve(CloudConfig(servers=700, restart_median=30), speed=SPEED) as cloud:
        ids = cloud.cloud.ids()
        apps = [application(cloud, store_url, ids[:300]), application(cloud, store_url, ids[300:600])]
        started = [await start(app) for app in apps]
        async with aiohttp.ClientSession() as session:
            answers = await use([url for _, url in started], ids[600:], session)
        cancelled = [not app[RUNNING].done() for app in apps]
        for runner, _ in started:
            await runner.cleanup()
        states = [str(app[ROLLOUT].state.status) for app in apps]
        audit = cloud.audit()
    left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    gc.collect()
    wrong = [answer for answer in answers if answer["kind"] != "restarted"]
    keys = ("restarted_more_than_once", "fullest_window")
    seen = {key: audit[key] for key in keys}
    sys.stdout.write(
        json.dumps(
            {"answers": len(answers), "wrong": wrong, "cancelled": cancelled, "left": left, "states": states, **seen}
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
