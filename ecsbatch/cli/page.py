"""The live page beside a command, where its settings ask for one; nothing of it is imported where they do not."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.cli.output import print_lines

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.rollout.history import History

_STEER: Final = "--dashboard-steer"


@asynccontextmanager
async def serving_page(context: CliContext, runs: History, run_id: str = "") -> AsyncGenerator[None]:
    """Show runs on a page for as long as the block lasts, where the settings ask for one.

    Args:
        context: of the command.
        runs: that are shown.
        run_id: the one that the printed address leads to, "" for all of them.

    Raises:
        ConfigError: it cannot be served as they say.
        UsageError: there is no page that could steer.
    """
    settings = context.settings.observability
    if settings.dashboard is None:
        if context.settings.origins.get("dashboard_steer") == _STEER:
            raise UsageError(f"{_STEER} needs a page: give --dashboard 127.0.0.1:8080, too.")
        yield
        return
    from ecsbatch.cli.dashboard.serve import serving_dashboard  # noqa: PLC0415 - imported when used

    async with serving_dashboard(settings, runs, run_id):
        yield


def page_can_stay(context: CliContext) -> bool:
    """Tell whether a page is asked for, and somebody is at the terminal to end it."""
    return context.settings.observability.dashboard is not None and sys.stderr.isatty()


async def page_stays(context: CliContext) -> None:
    """Keep a page beyond the end of what it showed, until Ctrl-C, where it can stay."""
    if not page_can_stay(context):
        return
    from ecsbatch.cli.signals import asked_to_end  # noqa: PLC0415 - imported when used

    print_lines(["", "The page stays until Ctrl-C."], to_stdout=False)
    with asked_to_end() as asked:
        await asked
