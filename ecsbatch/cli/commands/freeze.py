"""``ecsbatch freeze`` and ``ecsbatch thaw``: stop all new requests of every run of a store, and let them go on."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit, UsageError
from ecsbatch.cli.flags import AskFlags, ConfigFile
from ecsbatch.cli.output import columns, print_json, print_lines
from ecsbatch.cli.wiring import make_store, who
from ecsbatch.config.since import UNTIL, parse_until
from ecsbatch.config.types import parse_duration
from ecsbatch.model.json_text import stamp
from ecsbatch.model.text import counted, printable
from ecsbatch.policy.frozen import freeze_words
from ecsbatch.views.text import format_span, wrap_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ecsbatch.model.freeze import Freeze
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.spending import GroupSpending
    from ecsbatch.store import DatabaseStore

T = TypeVar("T")

_ALL: Final = 1_000_000
_NAMED: Final = 3


def freeze(
    *,
    reason: Annotated[
        str,
        Parameter(
            help="Why, for everybody who asks what a run waits for.",
            metavar="TEXT",
            show_default=False,
            show_env_var=False,
        ),
    ] = "",
    until: Annotated[
        str,
        Parameter(
            help="When it ends by itself: 2h, 22:00, or a date or time.",
            metavar="TIME",
            show_default=False,
            show_env_var=False,
        ),
    ] = "",
    flags: Annotated[AskFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Stop all new requests of every run of the store, present and future, within a second.

    Servers under way get their outcome and are checked; runs wait until somebody thaws the store, and nothing of them
    is lost. Frozen already: the new reason and end replace those before.
    """
    context = CliContext.of(flags, config)
    if not reason.strip():
        raise UsageError('freeze needs a reason: ecsbatch freeze --reason "storage incident 4711".')
    at, lasts = _end(until)

    async def do(store: DatabaseStore) -> tuple[Freeze | None, Freeze]:
        before = await store.frozen()
        return before, await store.freeze(reason, by=who(), until=at, lasts=lasts)

    (before, now), going, spending = asyncio.run(_with_runs(context.store_url, do))
    if context.wants_json:
        replaced = before.as_dict() if before is not None else None
        told = {"runs": [record.run_id for record in going], "in_flight": sum(each.in_flight for each in spending)}
        print_json({"frozen": now.as_dict(), "replaced": replaced, **told})
        return Exit.OK
    lines = [f"Frozen{_until(now)}: {printable(now.reason)}."]
    if before is not None:
        lines.append(f"It replaces the freeze {freeze_words(before, time.time())}.")
    lines += _stopped(going, spending)
    print_lines([*_wrapped(lines), "", "Next:", f"  ecsbatch thaw{context.repeat.read}"], to_stdout=True)
    return Exit.OK


def thaw(*, flags: Annotated[AskFlags | None, Parameter(name="*")] = None, config: ConfigFile = None) -> int:
    """Let all runs of a frozen store go on."""
    context = CliContext.of(flags, config)
    ended, going, _ = asyncio.run(_with_runs(context.store_url, lambda store: store.thaw(by=who())))
    if context.wants_json:
        runs = [record.run_id for record in going]
        print_json({"frozen": None, "ended": ended.as_dict() if ended is not None else None, "runs": runs})
    elif ended is None:
        print_lines(["The store is not frozen."], to_stdout=True)
    else:
        lasted = format_span(max(0.0, (ended.thawed_at or ended.since) - ended.since))
        by = printable(ended.by) or "somebody"
        told = f"Thawed: {by} had frozen it {lasted} ago ({printable(ended.reason)})."
        go_on = f"{_named(going)} {'goes' if len(going) == 1 else 'go'} on." if going else "No run was waiting."
        print_lines(_wrapped([told, go_on]), to_stdout=True)
    return Exit.OK


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [part for line in lines for part in wrap_line(line, columns(to_stdout=True))]


def _end(text: str) -> tuple[float | None, float | None]:
    """Return when a freeze ends, seconds since 1970, or for how long it lasts; a duration is by the store's clock."""
    if not text:
        return None, None
    with suppress(ValueError):
        lasts = parse_duration(text)
        if lasts > 0:
            return None, lasts
        raise UsageError(f"--until {text} would be over at once: give {UNTIL}.")
    try:
        return parse_until(text, time.time()), None
    except ValueError as e:
        raise UsageError(f"--until {text}: give {e}.") from None


async def _with_runs(
    url: str, do: Callable[[DatabaseStore], Awaitable[T]]
) -> tuple[T, Sequence[RunRecord], Sequence[GroupSpending]]:
    """Do something, then say which runs go on and what is in flight."""
    async with make_store(url) as store:
        done = await do(store)
        going = [record for record in await store.runs(_ALL) if record.held and not record.status.over]
        return done, going, await store.spending()


def _stopped(going: Sequence[RunRecord], spending: Sequence[GroupSpending]) -> list[str]:
    """Say what a freeze stops, and what goes on."""
    flying = sum(group.in_flight for group in spending)
    if going:
        verb = "sends" if len(going) == 1 else "send"
        lines = [f"{_named(going)} {verb} nothing new from now on, nor does any that begins."]
    else:
        lines = ["No run is going on; one that begins waits."]
    if flying:
        lines.append(f"Requests for {counted(flying, 'server')} are in flight: they get their answer.")
    return lines


def _named(going: Sequence[RunRecord]) -> str:
    named = ", ".join(printable(record.run_id) for record in going[:_NAMED])
    return f"{counted(len(going), 'run')} ({named}{', …' if len(going) > _NAMED else ''})"


def _until(freeze: Freeze) -> str:
    return f" until {stamp(freeze.until)[:19]}Z" if freeze.until is not None else ""
