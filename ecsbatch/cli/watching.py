"""What watches a command's engines and writes down elsewhere what they do: metrics and traces, where settings ask.

Read `watching` first. Nothing that they need is imported where they are not asked for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from ecsbatch.cli.extras import need_extras
from ecsbatch.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.ecs.observed_sender import RequestWatcher
    from ecsbatch.engine.ports import Watcher
    from ecsbatch.restarter import Restarter

    class ProcessWatcher(Watcher, RequestWatcher, Protocol):
        """Hears of an engine's events and of a client's requests."""


@dataclass(frozen=True, slots=True)
class WatchedEngines:
    """What the engines of a command are watched by.

    Attributes:
        watchers: what each of them, and its client, is given.
        engines: these engines, once there are some.
    """

    watchers: list[ProcessWatcher] = field(default_factory=list["ProcessWatcher"])
    engines: list[Restarter] = field(default_factory=list["Restarter"])


@asynccontextmanager
async def watching(context: CliContext, warn: Callable[[str], None]) -> AsyncGenerator[WatchedEngines]:
    """Write metrics and traces, as far as settings ask, for as long as the block lasts.

    Args:
        context: of the command.
        warn: tells people what cannot be written any more.

    Raises:
        UsageError: what they need is not installed.
        ConfigError: an address cannot be listened at, or a file cannot be written.
    """
    settings, watched = context.settings.observability, WatchedEngines()
    need_extras(settings)
    async with AsyncExitStack() as stack:
        if settings.traces:
            from ecsbatch.cli.tracing import tracing  # noqa: PLC0415 - imported when used

            watched.watchers.append(stack.enter_context(tracing()))
        if settings.metrics or settings.metrics_file:
            from ecsbatch.cli.exporting import exporting  # noqa: PLC0415 - imported when used

            watched.watchers.append(await stack.enter_async_context(exporting(settings, watched.engines, warn)))
        yield watched
