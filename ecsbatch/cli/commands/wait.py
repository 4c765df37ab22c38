"""``ecsbatch wait``: for scripts, until a run is where it is waited for. It reads the store and steers nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from ecsbatch.cli import candidates
from ecsbatch.cli.commands.status import status_json
from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit, UsageError, code_of_run
from ecsbatch.cli.flags import AskFlags, ConfigFile, RunName, Timeout, seconds_of
from ecsbatch.cli.output import print_json, print_lines
from ecsbatch.cli.wiring import make_store
from ecsbatch.model.text import counted, printable
from ecsbatch.policy.awaited import Awaited, AwaitedKind, has_come
from ecsbatch.policy.standing import standing
from ecsbatch.rollout.follower import NEXT_HOLDER, RunFollower, head_at, new_history

if TYPE_CHECKING:
    from ecsbatch.rollout.follower import RunHistory

_FORMS: Final = "finished, stopped or a wave such as wave:2"


def wait(
    run: RunName = "",
    /,
    *,
    for_: Annotated[
        str,
        Parameter(
            name="--for",
            metavar="finished|stopped|wave:N",
            completer=candidates.offered("finished", "stopped", "wave:1", "wave:2"),
            show_default=False,
            help="finished: the run is over. stopped: it stands still. wave:N: its wave N is over. [finished]",
        ),
    ] = AwaitedKind.FINISHED.value,
    timeout: Timeout = "",
    flags: Annotated[AskFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Wait until a run is finished, stands still or has a wave behind it, whichever process holds it meanwhile.

    A run stands still where it is over, was stopped or interrupted, or has had no process for 15 seconds; and where it
    is paused, held for promote or frozen, and no server is under way any more. It does not while it soaks or asks a
    gate. Where a run comes to rest that was to finish, or to get behind a wave, nothing more is waited for.

    The code is 0 where a wave is over, or the run is paused, held or frozen as was waited for; 124 where --timeout was
    over before; else the code that the run has ended with: 0 where all went well, 4 where it was stopped.
    """
    context = CliContext.of(flags, config)
    try:
        awaited = Awaited.parse(for_.strip())
    except ValueError:
        raise UsageError(f"--for {printable(for_, 40)}: give {_FORMS}.") from None
    history, in_time = asyncio.run(_wait(context.store_url, run, awaited, seconds_of(timeout)))
    come = has_come(awaited, history.state, history.read_at)
    if context.wants_json:
        print_json(status_json(history) | {"awaited": str(awaited), "in_time": in_time})
    else:
        print_lines([_told(history, awaited, come=come, in_time=in_time)], to_stdout=True)
    if not in_time:
        return Exit.NOT_IN_TIME
    if come and (awaited.kind is AwaitedKind.WAVE or history.state.status.goes_on):
        return Exit.OK
    return code_of_run(history.state)


def _told(history: RunHistory, awaited: Awaited, *, come: bool, in_time: bool) -> str:
    state = history.state
    run, stands = printable(history.record.run_id), standing(state, history.read_at).text
    if not in_time:
        return f"Run {run} is not {awaited} in time: {stands}, wave {state.wave_under_way} of {len(state.waves)}."
    if come and awaited.kind is AwaitedKind.WAVE:
        return f"Wave {awaited.wave} of run {run} is over: {stands}."
    return f"Run {run}: {stands}."


async def _wait(url: str, name: str, awaited: Awaited, seconds: float | None) -> tuple[RunHistory, bool]:
    """Follow a run until it is there or goes no further; also return False where the time was over before.

    Raises:
        UsageError: the run has no such wave.
    """
    async with make_store(url, read_only=True) as store:
        record = await store.run(name)
        now = asyncio.get_running_loop().time()
        follower = RunFollower(store, await new_history(store, record), patience=NEXT_HOLDER, left_at=now)
        if awaited.wave > (waves := len(follower.state.waves)):
            raise UsageError(f"--for {awaited}: run {printable(record.run_id)} has {counted(waves, 'wave')}.")

        def come() -> bool:
            return has_come(awaited, follower.state, store.wall())

        await follower.refresh()
        in_time = True
        try:
            async with asyncio.timeout(seconds):
                await follower.to_its_end(asyncio.Event(), come)
        except TimeoutError:
            in_time = False
        follower.history.head = await head_at(store.lines, record.run_id, follower.state.seq)
        return follower.history, in_time
