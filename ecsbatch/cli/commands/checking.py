"""``ecsbatch check``: everything that a restart needs, looked at without restarting anything."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from typing import Annotated, Final

import orjson
from cyclopts import Parameter

from ecsbatch.cli.commands.check import Finding, Inspection, as_json
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import CheckFlags, ConfigFile, settings_of
from ecsbatch.cli.wiring import columns, say

_LEFT: Final = 20


def check(*, flags: Annotated[CheckFlags | None, Parameter(name="*")] = None, config: ConfigFile = None) -> int:
    """Look at network, key, project, clock, listing, store and quota; restart nothing.

    It sends one request to the cloud, and one more for what has to be asked for first: the project of the region, a
    token, a temporary key. A line that is not ok says what to do. The store is created where it is missing.
    """
    inspection = Inspection(settings_of(flags, config))
    asyncio.run(inspection.look())
    if inspection.settings.output.output == "json":
        sys.stdout.buffer.write(orjson.dumps(as_json(inspection)) + b"\n")
        sys.stdout.buffer.flush()
    else:
        width = columns(to_stdout=True)
        say([line for finding in inspection.findings for line in _lines(finding, width)], to_stdout=True)
    return Exit.OK if inspection.ok else Exit.ERROR


def _lines(finding: Finding, width: int) -> list[str]:
    head, room = f"{finding.state:11}{finding.name:9}", max(width - _LEFT, _LEFT)
    wrapped = textwrap.wrap(finding.text, room, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{head}{wrapped[0]}".rstrip(), *(f"{'':{_LEFT}}{line}" for line in wrapped[1:])]
