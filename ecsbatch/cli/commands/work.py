"""``ecsbatch work``: a standby that goes on with runs whose process is gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Final

from cyclopts import Group, Parameter

from ecsbatch.cli import candidates
from ecsbatch.cli.context import CliContext, Verbosity
from ecsbatch.cli.exit_codes import Exit, UsageError
from ecsbatch.cli.flags import GROUPS, ConfigFile, Quiet, Verbose, WorkFlags
from ecsbatch.cli.listen import listen_address

_STANDBY: Final = Group("Standing by", sort_key=1)
_MOST: Final = 100


def work(
    *,
    runs: Annotated[
        str | None,
        Parameter(
            group=_STANDBY,
            metavar="RUN,...",
            env_var="ECSBATCH_RUNS",
            show_env_var=False,
            completer=candidates.runs,
            show_default=False,
            help="Take only these runs, by their ids.",
        ),
    ] = None,
    max_runs: Annotated[
        int,
        Parameter(
            group=_STANDBY,
            metavar="N",
            env_var="ECSBATCH_MAX_RUNS",
            show_env_var=False,
            show_default=False,
            help="Runs that go on here at once, at most. [4]",
        ),
    ] = 4,
    healthz: Annotated[
        str,
        Parameter(
            group=_STANDBY,
            metavar="ADDRESS:PORT",
            env_var="ECSBATCH_HEALTHZ",
            show_env_var=False,
            show_default=False,
            help="Answer a supervisor here: /healthz is 200 while the store answers and this looks for runs, else 503; "
            "/livez is 200 while this process lives. A port alone is one of this machine; nothing is opened where it "
            "is left out.",
        ),
    ] = "",
    allow_program: Annotated[
        list[str] | None,
        Parameter(
            group=GROUPS["programs"],
            metavar="TEXT",
            negative="",
            show_default=False,
            help="Check (cmd:, url:), gate or check_ca that may be used here where a run names this very text, besides "
            "allow_programs of the settings file; can be given several times.",
        ),
    ] = None,
    flags: Annotated[WorkFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Stand by on a store, and go on with runs whose process has died or has handed them over.

    It takes orphaned runs, and those that another ecsbatch work has handed over; never one that somebody, a limit or a
    gate has stopped. One that is being aborted is only looked after, a paused one stays paused. Several may stand by:
    each run is taken by one. SIGTERM and Ctrl-C let requests in flight get their answer and hand the runs over; the
    next one takes them at once, and ecsbatch resume goes on where there is none. A second signal ends it as a kill
    would.
    """
    context = CliContext.of(flags, config, Verbosity(quiet, verbose))
    if not 1 <= max_runs <= _MOST:
        raise UsageError(f"--max-runs {max_runs}: give a number from 1 to {_MOST}.")
    if healthz:
        listen_address(healthz, "--healthz")
    programs = context.settings.programs
    allowed = [*programs.allow_programs, *(text.strip() for text in allow_program or ())]
    from ecsbatch.cli.on_end import end_hook  # noqa: PLC0415 - as below
    from ecsbatch.cli.worker import WorkOptions, stand_by  # noqa: PLC0415 - with the engine, which --help does not need

    only = tuple(dict.fromkeys(name.strip() for name in (runs or "").split(",") if name.strip()))
    if runs is not None and not only:
        raise UsageError("--runs names no run: give ids of runs, or leave it out to stand by for all.")
    end_hook(context)
    options = WorkOptions(only, max_runs, healthz, replace(programs, allow_programs=allowed))
    asyncio.run(stand_by(context, options))
    return Exit.OK
