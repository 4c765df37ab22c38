"""``ecsbatch demo``: a real rollout over HTTP against a simulated cloud in a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import orjson
from cyclopts import Parameter

from ecsbatch.cli.commands.restart import carried_out
from ecsbatch.cli.context import CliContext, Verbosity
from ecsbatch.cli.drive import DriveResult
from ecsbatch.cli.exit_codes import Exit, code_of_signal
from ecsbatch.cli.output import columns, print_lines
from ecsbatch.cli.page import page_stays
from ecsbatch.cli.survey import prepare, survey
from ecsbatch.config.sources import from_flags, merge_layers
from ecsbatch.errors import EcsbatchError
from ecsbatch.model.plan import Plan
from ecsbatch.planning.fleet_file import read_fleet
from ecsbatch.planning.selection import Selection
from ecsbatch.views.plan import plan_lines
from ecsbatch.views.simulator import is_clean, verdict_lines
from ecsbatch.views.summary import outcome_lines

SERVERS: Final = 3000
SPEED: Final = 15
FAULTS: Final = "lost_reply=5%,reset=4%,reject_503=4%,look.reject_503=3%,fail=0.2%"

_SETTINGS: Final[dict[str, str | bool | None]] = {
    "waves": "1,10%,100%",
    "max_unavailable": "40%",
    "max_failures": "2%",
    "server_timeout": "30s",
    "quota": f"1000/{60 // SPEED}s",
    "typical_restart": "2.7s",
    "request_timeout": "2s",
    "unknown_grace": "3s",
    "linger": "0.1s",
    "api_rate": "100/s",
}

_PATIENCE: Final = 20.0
"""Seconds that the simulator has for its end."""


def demo(
    *,
    servers: Annotated[int, Parameter(metavar="N", show_default=False, help="How many servers. [3000]")] = SERVERS,
    dashboard: Annotated[
        str | None,
        Parameter(
            metavar="ADDRESS:PORT",
            show_default=False,
            help="Show it on a page at this address, such as 127.0.0.1:8080, too; on a terminal it stays until Ctrl-C.",
        ),
    ] = None,
    quiet: Annotated[
        bool, Parameter(name=["--quiet", "-q"], negative="", show_default=False, help="Show no plan and no progress.")
    ] = False,
) -> int:
    """Watch a rollout on a simulated cloud, in half a minute.

    The cloud runs in a process of its own, fifteen times as fast as the real one, and loses replies, breaks connections
    and fails to answer now and then. Nothing outside of this machine is touched, and nothing stays behind.
    """
    with TemporaryDirectory(prefix="ecsbatch-demo-") as folder:
        fleet = Path(folder, "fleet.csv")
        with _simulator(servers, fleet) as cloud:
            more = {"dashboard": dashboard, "store": f"sqlite:///{folder}/demo.db"}
            context = _point_at(cloud.introduction, more, Verbosity(quiet=quiet))
            return asyncio.run(_restart(_look(fleet, context), context, cloud))


def _look(fleet: Path, context: CliContext) -> Plan:
    """Look at the fleet, and show what is planned."""
    prepared = prepare(asyncio.run(survey(Selection(read_fleet(fleet)), context)), context)
    if not context.verbosity.quiet:
        opening = [
            f"A simulated cloud, {SPEED} times as fast as the real one, with some misfortunes:",
            f"  {FAULTS}",
            "",
            *plan_lines(prepared.view, columns(to_stdout=False)),
            "",
        ]
        print_lines(opening, to_stdout=False)
    return prepared.view.plan


async def _restart(plan: Plan, context: CliContext, cloud: _Cloud) -> int:
    async with carried_out(plan, context) as result:
        code = _print_result(result, await asyncio.to_thread(cloud.verdict))
        if not result.received:
            await page_stays(context)
    return code


def _print_result(result: DriveResult, audit: dict[str, Any]) -> int:
    state = result.state
    print_lines(["", *outcome_lines(state), "", *verdict_lines(audit)], to_stdout=True)
    if result.received:
        return code_of_signal(result.received)
    if not state.status.over or not is_clean(audit):
        return Exit.ERROR
    try_next = [
        "",
        "Every server is accounted for. What to try next:",
        "  ecsbatch demo --dashboard 127.0.0.1:8080",
        "      the same on a page in a browser",
        "  ecsbatch simulate --speed 12 --servers 2000 --ids fleet.csv",
        "      a cloud to play with",
        "  ecsbatch restart fleet.csv",
        "      with the exports that it prints",
        "  ecsbatch restart --help",
        "      waves, budgets, limits",
    ]
    print_lines(try_next, to_stdout=True)
    return Exit.OK


def _point_at(introduction: dict[str, Any], more: dict[str, str | None], verbosity: Verbosity) -> CliContext:
    """Return the demo's context; this process asks the simulated cloud from now on, whatever was exported."""
    environment = dict(introduction["environment"])
    endpoint = environment.pop("ECSBATCH_ENDPOINT")
    os.environ.pop("HUAWEICLOUD_SDK_SECURITY_TOKEN", None)
    os.environ.update(environment)
    settings = merge_layers(from_flags({**_SETTINGS, "endpoint": endpoint, **more}))
    return CliContext(settings, verbosity)


class _Cloud:
    """The simulator's process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.introduction = self._line()

    def verdict(self) -> dict[str, Any]:
        """End it and return what its auditor says."""
        self._process.terminate()
        return self._line()

    def _line(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            raise EcsbatchError("The simulated cloud ended before its time: try ecsbatch simulate by itself.")
        spoken: dict[str, Any] = orjson.loads(line)
        return spoken


def _clean_environment() -> dict[str, str]:
    """Return the environment without our settings and credentials, and without what tells Python to run something."""
    ours = ("ECSBATCH_", "HUAWEICLOUD_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@contextmanager
def _simulator(servers: int, fleet: Path) -> Generator[_Cloud]:
    """Run a simulator; it is gone when the block is left."""
    # Without -P a folder here that is called ecsbatch, or a module of Python's own, would run in its place.
    command = [sys.executable, "-P", "-m", "ecsbatch", "simulate", "-o", "json", "--ids", str(fleet)]
    command += ["--servers", str(servers), "--speed", str(SPEED), "--latency", "50ms", "--seed", "7"]
    command += ["--shutoff", "0.5%", "--faults", FAULTS]
    # In a session of its own: a Ctrl-C here asks the rollout to stop, and the cloud must be there for its end.
    pipe, clean = subprocess.PIPE, _clean_environment()
    with subprocess.Popen(command, stdout=pipe, env=clean, start_new_session=True) as process:  # noqa: S603 - ours
        try:
            yield _Cloud(process)
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
