"""``ecsbatch dashboard``: the page of all runs of a store, those of other processes and machines too."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import ConfigFile, DashboardFlags
from ecsbatch.cli.page import serving_page
from ecsbatch.cli.wiring import make_store

if TYPE_CHECKING:
    from ecsbatch.config.sources import Settings

_ADDRESS: Final = "127.0.0.1:8080"


def dashboard(
    *,
    flags: Annotated[DashboardFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Show all runs of a store on a page, those of other processes and machines too, until Ctrl-C.

    The address that it prints has the page's token, which is that of ECSBATCH_DASHBOARD_TOKEN, else kept in
    dashboard.token beside the default store. It listens at 127.0.0.1:8080 where --dashboard says nothing else. It reads
    the store, and changes nothing; with --dashboard-steer runs can be steered from the page.
    """
    context = CliContext.of(flags, config)
    context = replace(context, settings=_listening(context.settings))
    asyncio.run(_serve(context))
    return Exit.OK


def _listening(settings: Settings) -> Settings:
    observability = settings.observability
    return replace(settings, observability=replace(observability, dashboard=observability.dashboard or _ADDRESS))


async def _serve(context: CliContext) -> None:
    from ecsbatch.cli.signals import asked_to_end  # noqa: PLC0415 - with the loop, which --help does not need
    from ecsbatch.rollout.history import History  # noqa: PLC0415 - the same

    read_only = not context.settings.observability.dashboard_steer
    with asked_to_end() as asked:
        async with make_store(context.store_url, read_only=read_only) as store, serving_page(context, History(store)):
            await asked
