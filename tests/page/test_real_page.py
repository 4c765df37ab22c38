from __future__ import annotations

import asyncio
from pathlib import Path

from postgres.bridge import Bridge
from postgres.server import Server

from .browser import chromium
from .real import ROLLOUT, Stage, free_port, play, simulated, tab, typing


async def test_a_tab_stays_right_through_a_reload_a_cut_line_and_a_killed_process(tmp_path: Path) -> None:
    async with chromium() as browser:
        await play(browser, tmp_path, servers=800, asleep=3.0, cut=0.5)


async def test_a_page_of_a_database_says_that_it_has_stopped_and_is_right_once_it_is_back(
    tmp_path: Path, own_server: Server
) -> None:
    port = free_port()
    with (
        simulated(tmp_path, 300, 60, "fail=5%") as cloud,
        typing(tmp_path, cloud, ECSBATCH_STORE=own_server.url()) as terminal,
        Bridge(("127.0.0.1", port)) as bridge,
    ):
        async with chromium() as browser, tab(browser) as viewer:
            stage = Stage(terminal, bridge, viewer, port)
            await stage.type("store", "upgrade")
            run = terminal.begin(*ROLLOUT, "--waves", "30%,100%")
            await stage.enter((await stage.begin("dashboard"))[1])
            await stage.is_held(1)
            await asyncio.to_thread(own_server.stop)
            await viewer.until("() => !document.querySelector('#banner-notice').hidden")
            assert "nothing new is seen" in await viewer.text("#banner-notice")
            await asyncio.to_thread(own_server.start)
            await viewer.until("() => document.querySelector('#banner-notice').hidden")
            await stage.promote()
            assert await asyncio.to_thread(run.wait) == 3
            await viewer.until("() => !document.querySelector('#banner-end').hidden")
            await stage.agrees()
