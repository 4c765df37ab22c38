"""Commands to the process that holds a run: asked by `Steering`, told in the words of the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.output import print_lines
from ecsbatch.cli.wiring import make_store, who
from ecsbatch.errors import RunConflict
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.text import printable
from ecsbatch.policy.decide import limits_of
from ecsbatch.rollout.history import History
from ecsbatch.rollout.steering import PATIENCE, new_limits
from ecsbatch.views.steering import steering_texts
from ecsbatch.views.text import wrap_line

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.engine.ports import Store
    from ecsbatch.model.recorded import Recorded
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState
    from ecsbatch.rollout.steering import Steering

_WIDTH: Final = 80

Asked: TypeAlias = "Callable[[Steering], Awaitable[Sequence[Recorded]]]"
"""What is asked of a run's holder."""


def ask_and_print_status(run: str, url: str, asked: Asked) -> int:
    """Ask the process that holds a run, wait until it has followed, and print how the run stands then.

    Args:
        run: its id or a unique beginning of it, "" for the latest.
        url: of the store.
        asked: what is asked.

    Raises:
        RunConflict: nobody follows, or not in time.
    """
    _, record = asyncio.run(_ask(run, url, asked))
    print_lines([f"Run {printable(record.run_id)}: {record.status.value}."], to_stdout=True)
    return Exit.OK


def ask_and_print_events(run: str, url: str, asked: Asked, nothing: str) -> int:
    """Ask the process that holds a run, wait until it has followed, and print what it has recorded of that.

    Args:
        run: its id or a unique beginning of it, "" for the latest.
        url: of the store.
        asked: what is asked.
        nothing: what is said where the run does so already.

    Raises:
        RunConflict: nobody follows, or not in time.
    """
    events, record = asyncio.run(_ask(run, url, asked))
    texts = steering_texts(recorded.event for recorded in events) or [nothing]
    print_lines([f"Run {printable(record.run_id)}: {text}." for text in texts], to_stdout=True)
    return Exit.OK


async def _ask(run: str, url: str, asked: Asked) -> tuple[Sequence[Recorded], RunRecord]:
    async with make_store(url) as store:
        run_id = (await store.run(run)).run_id  # another one may be the latest in a moment
        events = await asked(History(store).steer(run_id))
        return events, await store.run(run_id)


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
        raise RunConflict(f"Run {run} {now.status.value} before it could abort.", run_id=now.run_id)
    elif followed:
        print_lines(
            [f"Run {run} sends nothing more, and ends once its servers under way have their outcome."], to_stdout=True
        )
    else:
        why = f"has not confirmed it within {PATIENCE:.0f}s" if now.held else "is gone"
        text = (
            f"Run {run} is asked to abort; its process ({printable(holder.name)}, pid {holder.pid}) {why}. Whoever "
            "goes on with the run follows: it then only looks after servers under way. Until then requests may leave."
        )
        print_lines([*wrap_line(text, _WIDTH), "", "Next:", f"  ecsbatch status {run}{repeat}"], to_stdout=True)
        return Exit.STOPPED
    return Exit.OK


async def see_abort(store: Store, record: RunRecord) -> tuple[bool, RunRecord]:
    """Ask, and wait until the journal says that it is followed or nobody holds the run; also say how it stands then."""
    followed = await History(store).steer(record.run_id).abort(who())
    return followed, await store.run(record.run_id)


def loosened(state: RolloutState, limits: Mapping[str, int | str]) -> list[str]:
    """Return those of new limits that would allow more than the run's own do now, anywhere.

    Raises:
        Invalid: a limit is invalid.
    """
    now, new = limits_of(state.plan, state.limits), new_limits(state.plan, limits)
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
