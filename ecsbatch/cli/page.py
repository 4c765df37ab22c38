"""The live page beside a command, where its settings ask for one; nothing of it is imported where they do not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.rollout.history import History


@asynccontextmanager
async def serving_page(context: CliContext, runs: History) -> AsyncGenerator[None]:
    """Show runs on a page for as long as the block lasts, where the settings ask for one.

    Raises:
        ConfigError: it cannot be served as they say.
    """
    settings = context.settings.observability
    if settings.dashboard is None:
        yield
        return
    from ecsbatch.cli.dashboard.serve import serving_dashboard  # noqa: PLC0415 - imported when used

    async with serving_dashboard(settings, runs):
        yield
