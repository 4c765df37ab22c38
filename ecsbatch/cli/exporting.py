"""Metrics of a command: answered to Prometheus, and written into a file for node_exporter. Read `exporting` first.

A scrape costs milliseconds; what is written is kept for a second, however many ask.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ecsbatch.cli.catalog import installed_version
from ecsbatch.cli.listen import listening_at
from ecsbatch.errors import ConfigError
from ecsbatch.model.text import unwritable
from ecsbatch.views.exposition import CONTENT_TYPE, MetricsCollector, registry_of, written
from ecsbatch.views.measured import Sample, measure
from ecsbatch.views.metrics import Metrics

if TYPE_CHECKING:
    from aiohttp import web

    from ecsbatch.config.settings import Observability
    from ecsbatch.restarter import Restarter

FILE_EVERY: Final = 15.0
"""Seconds between two writes of the file."""

_KEPT: Final = 1.0
"""Seconds for which an answer is given again."""


@cache
def process_metrics() -> Metrics:
    """Return the metrics of this process: a run that is gone on with at the terminal is counted on."""
    return Metrics()


class Exporter:
    """Writes metrics down, as they stand when somebody asks."""

    def __init__(self, metrics: Metrics, engines: Sequence[Restarter]) -> None:
        """Write down ``metrics`` and how ``engines`` stand, those that are added later too."""
        self._engines = engines
        self._sample = Sample()
        self._asking = asyncio.Lock()
        self._answered: tuple[float, bytes] = (-_KEPT, b"")
        collector = MetricsCollector(metrics, lambda: self._sample, version=installed_version())
        self._scraped, self._filed = (registry_of(collector, process=process) for process in (True, False))

    async def answer(self, _: web.Request) -> web.Response:
        """Answer Prometheus."""
        from aiohttp import web  # noqa: PLC0415 - imported when used

        async with self._asking:
            if time.monotonic() - self._answered[0] >= _KEPT:
                self._sample = await measure(self._engines)
                self._answered = time.monotonic(), written(self._scraped)
        return web.Response(body=self._answered[1], headers={"Content-Type": CONTENT_TYPE})

    async def file(self, path: Path) -> None:
        """Write the file.

        Raises:
            OSError: it cannot be written.
        """
        self._sample = await measure(self._engines)
        await asyncio.to_thread(replace_file, path, written(self._filed))


@asynccontextmanager
async def exporting(
    settings: Observability, engines: Sequence[Restarter], warn: Callable[[str], None]
) -> AsyncGenerator[Metrics]:
    """Answer and write for as long as the block lasts; give what is to hear of these engines.

    Args:
        settings: say where.
        engines: how they stand is told, of those that are added later too.
        warn: tells people that the file cannot be written any more.

    Raises:
        ConfigError: the address cannot be listened at, or the file cannot be written.
    """
    exporter = Exporter(process_metrics(), engines)
    async with AsyncExitStack() as stack:
        if settings.metrics:
            await stack.enter_async_context(_answering(exporter, settings.metrics))
        if settings.metrics_file:
            await stack.enter_async_context(_filing(exporter, Path(settings.metrics_file), warn))
        yield process_metrics()


@asynccontextmanager
async def _answering(exporter: Exporter, address: str) -> AsyncGenerator[None]:
    from aiohttp import web  # noqa: PLC0415 - imported when used

    app = web.Application()
    app.router.add_get("/metrics", exporter.answer, allow_head=False)
    async with listening_at(app, address, "--metrics"):
        yield


@asynccontextmanager
async def _filing(exporter: Exporter, path: Path, warn: Callable[[str], None]) -> AsyncGenerator[None]:
    """Write the file now, now and then, and at the end."""
    try:
        await exporter.file(path)
    except (OSError, ValueError) as e:
        raise ConfigError(unwritable(f"--metrics-file {path}", e)) from e
    writing = asyncio.create_task(_write_again(exporter, path, warn), name="metrics-file")
    try:
        yield
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        await _write(exporter, path, warn)


async def _write_again(exporter: Exporter, path: Path, warn: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(FILE_EVERY)
        await _write(exporter, path, warn)


async def _write(exporter: Exporter, path: Path, warn: Callable[[str], None]) -> None:
    try:
        await exporter.file(path)
    except Exception as e:  # noqa: BLE001 - a view watches, it never stops what it watches
        why = e.strerror if isinstance(e, OSError) else type(e).__name__
        warn(f"--metrics-file {path} cannot be written any more ({why}): what it says grows old.")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that everybody may read; who reads it meanwhile reads the old one, whole.

    Raises:
        OSError: it cannot be written.
    """
    # Not *.prom: node_exporter must not read it. The process's number: another one may write the same file.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
