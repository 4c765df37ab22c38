"""``ecsbatch audit``: a receipt of what a run's record proves. It reads the store and needs no cloud."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecsbatch.cli.auditing import audit_run
from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import AskFlags, ConfigFile, RunName
from ecsbatch.cli.output import columns, print_json, print_lines
from ecsbatch.cli.prompt import parse_hash
from ecsbatch.cli.wiring import make_store
from ecsbatch.views.receipt import receipt_lines

if TYPE_CHECKING:
    from ecsbatch.audit.receipt import Receipt


def audit(
    run: RunName = "",
    /,
    *,
    head: Annotated[
        str,
        Parameter(
            help="The head of the record as somebody has noted it, at a run's end or in its --events: shows any edit "
            "of what was before it.",
            metavar="HASH",
            show_default=False,
            show_env_var=False,
        ),
    ] = "",
    flags: Annotated[AskFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Replay a run's record and say whether it kept what was promised: quota, budget, limits, nothing lost or twice.

    Other runs of the store that spent the same quota meanwhile are counted in, and the record is compared with the
    hashes that it carries. Ends with 1 where a promise is broken, or the record is not as it was written.
    """
    context = CliContext.of(flags, config)
    receipt = asyncio.run(_audit(context.store_url, run, parse_hash("--head", head)))
    if context.wants_json:
        print_json(receipt.to_json())
    else:
        print_lines(receipt_lines(receipt, columns(to_stdout=True)), to_stdout=True)
    return Exit.OK if receipt.ok else Exit.ERROR


async def _audit(url: str, name: str, anchor: str) -> Receipt:
    async with make_store(url, read_only=True) as store:
        return await audit_run(store, name, anchor)
