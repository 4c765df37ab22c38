"""``ecsbatch store``: look after the place where runs and quota are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit, UsageError
from ecsbatch.cli.flags import AskFlags, ConfigFile, Yes
from ecsbatch.cli.output import columns, print_json, print_lines
from ecsbatch.cli.remedies import with_remedy
from ecsbatch.cli.store_findings import StoreFinding, finding_lines, of_seen
from ecsbatch.cli.wiring import make_store
from ecsbatch.config.types import DURATION, parse_duration
from ecsbatch.errors import EcsbatchError, StoreError
from ecsbatch.model.store_url import shown
from ecsbatch.model.text import counted, printable
from ecsbatch.views.summary import run_lines
from ecsbatch.views.text import wrap_line

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord

_SHOWN: Final = 20
"""Runs that a list has, the oldest ones of all that would be deleted."""

_ALL: Final = 1_000_000


def store(  # noqa: D417 - the options are told of where they are defined
    action: Annotated[Literal["check", "upgrade", "prune"], Parameter(show_choices=False)],
    /,
    *,
    print_sql: Annotated[
        bool,
        Parameter(name="--print", negative="", show_default=False, help="Of upgrade: print it as SQL, do nothing."),
    ] = False,
    older_than: Annotated[
        str | None, Parameter(help="Of prune: runs that ended longer ago, such as 90d.", metavar="TIME")
    ] = None,
    yes: Yes = False,
    flags: Annotated[AskFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Look after a store: see whether it is well, upgrade its tables, delete runs that are long over.

    check writes nothing and ends with 1 where something is wrong. upgrade makes the tables of a database or brings
    them to this version, as their owner; a file is upgraded whenever it is opened, and a copy kept. prune names the
    runs that it would delete, and deletes them with --yes; what can be resumed stays, however old.

    Args:
        action: check, upgrade or prune.
    """
    belongs = {"--print": ("upgrade", print_sql), "--older-than": ("prune", older_than), "--yes": ("prune", yes)}
    _refuse_stray(action, belongs)
    context = CliContext.of(flags, config)
    if action == "check":
        return _check(context)
    return _upgrade(context, print_sql=print_sql) if action == "upgrade" else _prune(context, older_than, yes=yes)


def _refuse_stray(action: str, options: Mapping[str, tuple[str, object]]) -> None:
    for option, (owner, given) in options.items():
        if given and owner != action:
            raise UsageError(f"{option} belongs to ecsbatch store {owner}, and {action} does without.")


def _check(context: CliContext) -> int:
    from ecsbatch.store.migrations import VERSION  # noqa: PLC0415 - imported when used
    from ecsbatch.store.opening import look_at  # noqa: PLC0415 - the same

    url = context.store_url
    try:
        findings = list(of_seen(look_at(url), VERSION))
    except EcsbatchError as e:
        findings = [StoreFinding("store", "failed", with_remedy(e))]
    well = all(each.state in {"ok", "warning"} for each in findings)
    if context.wants_json:
        rows = [{"name": each.name, "state": each.state, "text": each.text} for each in findings]
        print_json({"ok": well, "store": shown(url), "checks": rows})
    else:
        print_lines(finding_lines(findings, columns(to_stdout=True)), to_stdout=True)
    return Exit.OK if well else Exit.ERROR


def _upgrade(context: CliContext, *, print_sql: bool) -> int:
    from ecsbatch.store.migrations import VERSION  # noqa: PLC0415 - imported when used
    from ecsbatch.store.opening import upgrade  # noqa: PLC0415 - the same

    url = context.store_url
    if print_sql:
        return _print_script(url)
    before = upgrade(url)
    if context.wants_json:
        print_json({"store": shown(url), "before": before, "schema": VERSION})
        return Exit.OK
    if before == VERSION:
        text = f"{shown(url)} has schema {VERSION} already."
    else:
        text = f"{shown(url)} has schema {VERSION} now, {f'upgraded from {before}' if before else 'made new'}."
    print_lines([text], to_stdout=True)
    return Exit.OK


def _print_script(url: str) -> int:
    from ecsbatch.store.migrations import version_of  # noqa: PLC0415 - imported when used
    from ecsbatch.store.opening import look_at, upgrade_script  # noqa: PLC0415 - the same

    seen = look_at(url, thoroughly=False)
    if seen.version is None or seen.version < 0:
        whose = "cannot be read with this role" if seen.version is None else "are another program's"
        raise StoreError(f"The tables of the store {shown(url)} {whose}.")
    script = upgrade_script("postgres" if seen.server is not None else "sqlite", version_of(seen.version, shown(url)))
    print_lines([script or f"-- Nothing to do: {shown(url)} has this version's tables already."], to_stdout=True)
    return Exit.OK


def _prune(context: CliContext, older_than: str | None, *, yes: bool) -> int:
    if older_than is None:
        raise UsageError("store prune needs an age: ecsbatch store prune --older-than 90d.")
    try:
        age = parse_duration(older_than)
    except ValueError:
        raise UsageError(f"--older-than {printable(older_than, 40)}: give {DURATION}.") from None
    run_ids, records = asyncio.run(_pruned(context.store_url, age, yes=yes))
    if context.wants_json:
        print_json({"deleted": yes, "older_than_s": age, "runs": run_ids})
        return Exit.OK
    if yes or not run_ids:
        said = f"{counted(len(run_ids), 'run')} deleted that" if run_ids else "No run"
        print_lines([f"{said} ended longer ago than {older_than}."], to_stdout=True)
        return Exit.OK
    more = len(run_ids) - _SHOWN
    width = columns(to_stdout=True)
    lines = [*run_lines(records[:_SHOWN], width, {}), *([f"and {more:,} more"] if more > 0 else [])]
    events = sum(record.seq for record in records)
    servers = sum(record.total for record in records)
    told = f"{counted(len(run_ids), 'run')} of {counted(servers, 'server')}, with {counted(events, 'event')}"
    again = f"ecsbatch store prune --older-than {older_than} --yes{context.repeat.read}"
    told = f"{told}. Nothing was deleted; this deletes them:"
    print_lines([*lines, "", *wrap_line(told, width), f"  {again}"], to_stdout=True)
    return Exit.OK


async def _pruned(url: str, age: float, *, yes: bool) -> tuple[list[str], list[RunRecord]]:
    """Delete runs, or find those that would be; return their ids, and the records of what is still there."""
    async with make_store(url, read_only=not yes) as store:
        run_ids = await store.prune(age, dry=not yes)
        if yes or not run_ids:
            return run_ids, []
        by_id = {record.run_id: record for record in await store.runs(_ALL)}
    return run_ids, [by_id[run_id] for run_id in run_ids if run_id in by_id]
