from __future__ import annotations

from pathlib import Path

from .browser import chromium
from .real import play


async def test_a_tab_stays_right_through_a_reload_a_cut_line_and_a_killed_process(tmp_path: Path) -> None:
    async with chromium() as browser:
        await play(browser, tmp_path, servers=800, asleep=3.0, cut=0.5)
