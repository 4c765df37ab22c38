"""``ecsbatch quota``: who holds and who spent how much of a store's quota, now and in the last hour."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import AskFlags, ConfigFile
from ecsbatch.cli.output import columns, print_json, print_lines
from ecsbatch.cli.wiring import make_store
from ecsbatch.policy.frozen import freeze_notice
from ecsbatch.views.quota import quota_lines
from ecsbatch.views.text import wrap_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecsbatch.model.freeze import Freeze
    from ecsbatch.model.spending import GroupSpending


def quota(*, flags: Annotated[AskFlags | None, Parameter(name="*")] = None, config: ConfigFile = None) -> int:
    """Say who holds and who spent how much of the quota, now and in the last hour: all runs that share the store.

    A limit is the one that the last process kept to which took tokens.
    """
    context = CliContext.of(flags, config)
    groups, freeze = asyncio.run(_read(context.store_url))
    if context.wants_json:
        frozen = freeze.as_dict() if freeze is not None else None
        print_json({"groups": [group.as_dict() for group in groups], "frozen": frozen})
        return Exit.OK
    if freeze is not None:
        notice = wrap_line(freeze_notice(freeze, time.time()), columns(to_stdout=True))
        print_lines([*notice, ""], to_stdout=True)
    if groups:
        print_lines(quota_lines(groups), to_stdout=True)
    else:
        print_lines(["Nothing of any quota is spent, now or in the last hour."], to_stdout=True)
    return Exit.OK


async def _read(url: str) -> tuple[Sequence[GroupSpending], Freeze | None]:
    async with make_store(url, read_only=True) as store:
        return await store.spending(), await store.frozen()
