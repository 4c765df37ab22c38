"""Commands to the process that holds a run: they go through the store, and its journal shows that it has followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.output import print_lines
from ecsbatch.cli.wiring import make_store, who
from ecsbatch.errors import RunConflict
from ecsbatch.model.events import Event, GateChecked, LimitChanged, RunAborting
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.text import printable
from ecsbatch.planning.strategy import resolve_limits
from ecsbatch.policy.decide import limits_of
from ecsbatch.views.steering import steering_texts
from ecsbatch.views.text import wrap_line

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState
    from ecsbatch.store import DatabaseStore

_PATIENCE: Final = 10.0
"""Seconds that a holder has to follow."""

_GLANCE: Final = 0.2
"""Seconds between two looks at the store."""

_WIDTH: Final = 80

Seen: TypeAlias = Callable[[Sequence[Event]], bool]
"""Tells whether events show that what was asked for is done."""

Body: TypeAlias = Mapping[str, Any]
"""What is asked, as the holder reads it."""


def send_command(run_id: str, body: Body, url: str, until: Collection[RunStatus]) -> int:
    """Send a command to the process that holds a run, and wait until the run's status says that it has followed.

    Args:
        run_id: which run.
        body: the command.
        url: of the store.
        until: any of these says so.

    Raises:
        RunConflict: it did not follow in time.
    """
    status = asyncio.run(_send(url, run_id, body, until))
    if status not in until and status.over:
        raise RunConflict(f"Run {run_id} {status.value} before it could {body['command']}.")
    if status not in until:
        raise RunConflict(
            f"Run {run_id} is still {status.value}: {body['command']} is asked of it, see ecsbatch status {run_id}."
        )
    print_lines([f"Run {printable(run_id)}: {status.value}."], to_stdout=True)
    return Exit.OK


def ask_to_abort(record: RunRecord, context: CliContext) -> int:
    """Ask the holder to end its run; servers under way may take minutes, and nobody has to wait for them here.

    Raises:
        RunConflict: the run ended otherwise before.
    """

    async def ask() -> tuple[bool, RunRecord]:
        async with make_store(context.store_url) as store:
            return await see_abort(store, record)

    followed, now = asyncio.run(ask())
    return report_abort(now, followed=followed, repeat=context.repeat.read)


def report_abort(now: RunRecord, *, followed: bool, repeat: str = "") -> int:
    """Print what asking for an abort has come to: done, recorded by its holder, or only asked; return the code.

    Args:
        now: the run as it is now.
        followed: its holder has recorded that it follows.
        repeat: flags that the next command needs too.

    Raises:
        RunConflict: the run ended otherwise before.
    """
    run, holder = printable(now.run_id), now.holder
    if now.status is RunStatus.ABORTED:
        print_lines([f"Run {run} aborted."], to_stdout=True)
    elif now.status.over:
        raise RunConflict(f"Run {run} {now.status.value} before it could abort.")
    elif followed:
        print_lines(
            [f"Run {run} sends nothing more, and ends once its servers under way have their outcome."], to_stdout=True
        )
    else:
        why = f"has not confirmed it within {_PATIENCE:.0f}s" if now.held else "is gone"
        text = (
            f"Run {run} is asked to abort; its process ({printable(holder.name)}, pid {holder.pid}) {why}. Whoever "
            "goes on with the run follows: it then only looks after servers under way. Until then requests may leave."
        )
        print_lines([*wrap_line(text, _WIDTH), "", "Next:", f"  ecsbatch status {run}{repeat}"], to_stdout=True)
        return Exit.STOPPED
    return Exit.OK


async def see_abort(store: DatabaseStore, record: RunRecord) -> tuple[bool, RunRecord]:
    """Ask, and wait until the journal says that it is followed or nobody holds the run; also say how it stands then."""
    followed, after = False, record.seq
    await store.command(record.run_id, {"command": "abort"}, who())
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            while record.held and not followed:
                await asyncio.sleep(_GLANCE)
                for recorded in await store.events(record.run_id, after):
                    after = recorded.seq
                    followed = followed or isinstance(recorded.event, RunAborting)
                record = await store.run(record.run_id)
    return followed, record


async def _send(url: str, run_id: str, body: Body, until: Collection[RunStatus]) -> RunStatus:
    async with make_store(url) as store:
        await store.command(run_id, body, who())
        status = (await store.run(run_id)).status
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while status not in until and not status.over:
                    await asyncio.sleep(_GLANCE)
                    status = (await store.run(run_id)).status
        return status


def send_and_wait(record: RunRecord, body: Body, url: str, seen: Seen) -> int:
    """Send a command to the process that holds a run, and wait until its journal says that it is done.

    Args:
        record: of the run.
        body: the command.
        url: of the store.
        seen: tells of the journal's events since then whether it is done.

    Raises:
        RunConflict: it did not follow in time.
    """
    done = asyncio.run(_send_and_wait(url, record.run_id, body, seen))
    run = printable(record.run_id)
    if not done:
        raise RunConflict(
            f"Run {run} has not followed yet: {body['command']} is asked of it, see ecsbatch status {run}."
        )
    print_lines([f"Run {run}: {text}." for text in steering_texts(done)], to_stdout=True)
    return Exit.OK


async def _send_and_wait(url: str, run_id: str, body: Body, seen: Seen) -> list[Event]:
    """Return the events that carried it out, none where they did not come in time."""
    found: list[Event] = []
    async with make_store(url) as store:
        after = (await store.run(run_id)).seq
        await store.command(run_id, body, who())
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while not seen(found):
                    await asyncio.sleep(_GLANCE)
                    for recorded in await store.events(run_id, after):
                        after = recorded.seq
                        found += [recorded.event] if isinstance(recorded.event, LimitChanged | GateChecked) else []
    return found if seen(found) else []


def promoted(events: Sequence[Event]) -> bool:
    """Tell whether somebody's word let a wave go."""
    return any(isinstance(event, GateChecked) and (event.gate, event.verdict) == ("hold", "go") for event in events)


def changed(limits: Mapping[str, int | str]) -> Seen:
    """Return what tells whether all of these limits were changed."""

    def seen(events: Sequence[Event]) -> bool:
        return {event.limit for event in events if isinstance(event, LimitChanged)} >= set(limits)

    return seen


def loosened(state: RolloutState, limits: Mapping[str, int | str]) -> list[str]:
    """Return those of new limits that would allow more than the run's own do now, anywhere.

    Raises:
        ConfigError: a limit is invalid.
    """
    now = limits_of(state.plan, state.limits)
    new = limits_of(resolve_limits(state.plan, **limits), {})
    return [name for name in limits if _looser(getattr(now, name), getattr(new, name))]


def _looser(now: Any, new: Any) -> bool:
    """Compare one number, one for each wave or one for each domain; where there was no limit, any is tighter."""
    if now is None or new is None:
        return now is not None
    if isinstance(now, int):
        return bool(new > now)
    if isinstance(now, Mapping):
        by_domain = cast("Mapping[str, int]", now)
        return any(new[name] > limit for name, limit in by_domain.items())
    by_wave = cast("Sequence[int]", now)
    return any(bigger > limit for bigger, limit in zip(new, by_wave, strict=True))
