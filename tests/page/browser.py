"""A real Chromium, and a page of made-up runs in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

import pytest
from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright

from .pretend import Pretender, serve

SIZE: Final[Any] = {"width": 1440, "height": 900}

_PAGES: Final[WeakKeyDictionary[Browser, Page]] = WeakKeyDictionary()
"""The page that each browser is led to again and again."""


def missing(what: str) -> None:
    """End a test that cannot be run here; in CI it fails."""
    if os.environ.get("CI"):
        pytest.fail(f"needs {what}")
    pytest.skip(f"needs {what}")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start Debian's Chromium."""
    program = shutil.which("chromium") or ""
    if not program:
        missing("Debian's package chromium: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


def axe_script() -> str:
    """Return where axe-core is, which judges whether a page can be used by all."""
    folder = os.environ.get("AXE_CORE", "")
    script = Path(folder) / "axe.min.js"
    if not folder or not script.is_file():
        missing("AXE_CORE, a folder with axe.min.js of npm's axe-core")
    return str(script)


@dataclass
class Viewer:
    """Somebody who looks at a page.

    Attributes:
        page: what is looked at.
        pretender: the server behind it, None for a file.
        faults: what the browser has to complain of: errors of the script, and what the policy has refused.
    """

    page: Page
    pretender: Pretender | None = None
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", self._broke)
        self.page.on("console", self._said)

    def leave(self) -> None:
        """Hear no more of the page."""
        self.page.remove_listener("pageerror", self._broke)
        self.page.remove_listener("console", self._said)

    def _broke(self, error: Error) -> None:
        self.faults.append(str(error))

    def _said(self, message: ConsoleMessage) -> None:
        # A server that is gone is no fault of the page's.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    async def text(self, selector: str) -> str:
        """Return the text of an element."""
        return await self.page.inner_text(selector)

    async def counts(self) -> dict[str, int]:
        """Return what the legend counts, by its words; what is hidden is none."""
        return await self.page.eval_on_selector_all(  # type: ignore[no-any-return]
            "#legend .chip",
            "chips => Object.fromEntries(chips.map(chip => [chip.childNodes[1].textContent.trim(), "
            "Number(chip.querySelector('b').textContent.replaceAll(',', ''))]))",
        )

    async def table(self) -> dict[str, list[int]]:
        """Return the numbers of the table's rows, by what they are of."""
        rows: dict[str, list[str]] = await self.page.eval_on_selector_all(
            "#matrix-rows tr, #matrix-foot tr",
            "rows => Object.fromEntries(rows.map(row => [row.children[0].textContent, "
            "[...row.querySelectorAll('td')].map(cell => cell.textContent)]))",
        )
        return {name: [0 if text == "·" else int(text.replace(",", "")) for text in row] for name, row in rows.items()}

    async def heads(self) -> list[str]:
        """Return the table's columns."""
        return await self.page.eval_on_selector_all("#matrix-head th", "heads => heads.map(each => each.textContent)")  # type: ignore[no-any-return]

    async def rows(self) -> list[list[str]]:
        """Return the rows of the list of servers that are drawn."""
        return await self.page.eval_on_selector_all(  # type: ignore[no-any-return]
            "#list-rows tr:not(.space)", "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
        )

    async def until(self, expression: str, argument: Any = None) -> None:
        """Wait until an expression is true in the page."""
        await self.page.wait_for_function(expression, arg=argument, timeout=30_000)


@asynccontextmanager
async def visiting(browser: Browser, pretender: Pretender | None = None, **options: Any) -> AsyncIterator[Viewer]:
    """Have a browser without a page yet, and find no fault in what it is led to."""
    context = await browser.new_context(**{"viewport": SIZE} | options)
    try:
        viewer = Viewer(await context.new_page(), pretender)
        yield viewer
        assert viewer.faults == []
    finally:
        await context.close()


@asynccontextmanager
async def returning(browser: Browser, pretender: Pretender) -> AsyncIterator[Viewer]:
    """Have the page of all who wish nothing of their own, as if it were new, and find no fault in what it is led to.

    A new one takes twice the CPU time, as it has all scripts compiled again.
    """
    # One that a test has failed with is left out.
    page = _PAGES.pop(browser, None) or await (await browser.new_context(viewport=SIZE)).new_page()
    viewer = Viewer(page, pretender)
    yield viewer
    assert viewer.faults == []
    viewer.leave()
    await page.evaluate("localStorage.clear(), sessionStorage.clear()")
    await page.goto("about:blank")
    await page.context.clear_cookies()
    await page.emulate_media(media="null")
    await page.set_viewport_size(SIZE)
    await page.mouse.move(0, 0)
    _PAGES[browser] = page


@asynccontextmanager
async def looking(
    browser: Browser, pretender: Pretender, path: str = "", *, script: str = "", **options: Any
) -> AsyncIterator[Viewer]:
    """Open a page of a server of made-up runs, and find no fault in it; ``script`` runs before the page's own."""
    runner, port = await serve(pretender)
    try:
        own = script or options
        async with visiting(browser, pretender, **options) if own else returning(browser, pretender) as viewer:
            if script:
                await viewer.page.add_init_script(script)
            await viewer.page.goto(f"http://127.0.0.1:{port}/{path}")
            yield viewer
    finally:
        pretender.hang_up()
        await runner.cleanup()


@asynccontextmanager
async def reading(browser: Browser, file: Path, **options: Any) -> AsyncIterator[Viewer]:
    """Open a file, and find no fault in it."""
    async with visiting(browser, **options) as viewer:
        await viewer.page.goto(file.as_uri())
        yield viewer
