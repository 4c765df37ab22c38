"""``--on-end``: a command that runs when a run has ended or stopped here, once it is on record. Read `EndHook` first.

It can change nothing: whatever becomes of it, the run and its exit code are what they are.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ecsbatch.cli.exit_codes import UsageError, code_of_run
from ecsbatch.cli.output import in_json, log_json, print_lines
from ecsbatch.cli.programs import is_own
from ecsbatch.cli.signals import listening
from ecsbatch.cli.wiring import make_store
from ecsbatch.errors import EcsbatchError
from ecsbatch.model.conflicts import RunTaken
from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.outcome import HANDED_OVER
from ecsbatch.model.text import printable
from ecsbatch.rollout.follower import head_at
from ecsbatch.rollout.programs import cannot_start, child_environment, run_program, split_command
from ecsbatch.views.report import run_json

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.model.state import RolloutState
    from ecsbatch.rollout.rollout import Rollout
    from ecsbatch.store import DatabaseStore

Say: TypeAlias = Callable[[Literal["info", "warning"], str, str, str], None]
"""Tells people, given a level, a word for programs, a message and the run."""

TIMEOUT: Final = 60.0
"""Seconds after which the command is ended with all that it has started."""

_MOST: Final = 16_384
"""Bytes of its output that are shown."""

_LAST: Final = 2 * TIMEOUT
"""Seconds that a process which is told to end waits for the commands of runs that have ended: report and command."""


class EndHook:
    """The command of ``--on-end``, for each run that ends or stops in this process.

    It finds the summary that ``-o json`` prints on its standard input, and in its environment ``ECSBATCH_RUN_ID``,
    ``ECSBATCH_STATUS``, ``ECSBATCH_EXIT_CODE`` and the path of an HTML report, ``ECSBATCH_REPORT``, which is deleted
    behind it. Credentials and the store's password are not in there.
    """

    def __init__(self, context: CliContext, say: Say) -> None:
        """Take the command from the settings; there is one.

        Raises:
            UsageError: it cannot be started here, or stands in a file that others may write.
            ConfigError: its quotes are not closed.
        """
        command = context.settings.observability.on_end or ""
        self._words = split_command(command)
        self._context = context
        self._say = say
        if not is_own(context.settings, "on_end"):
            origin = context.settings.origins["on_end"]
            raise UsageError(f"on_end stands in {printable(origin)}, which others may write: give --on-end instead.")
        if why := cannot_start(self._words):
            raise UsageError(f"--on-end {printable(command, 60)}: {why}.")

    async def run(self, state: RolloutState, head: str, received: int = 0) -> None:
        """Run the command for a run that has ended; what goes wrong is told and nothing else.

        Args:
            state: of the run; it is on record.
            head: of its record.
            received: the signal that has stopped it, 0 for none.
        """
        told = {
            "ECSBATCH_RUN_ID": state.run_id,
            "ECSBATCH_STATUS": state.status.value,
            "ECSBATCH_EXIT_CODE": str(int(code_of_run(state, received))),
        }
        try:
            async with self._report(state.run_id) as report:
                environment = told | ({"ECSBATCH_REPORT": str(report)} if report is not None else {})
                fault = await self._command(json_bytes(run_json(state) | {"head": head}), environment, state.run_id)
        except Exception as e:  # noqa: BLE001 - the run has its end and its code, whatever is wrong here
            fault = f"was not run ({type(e).__name__}: {e})"
        if fault:
            self._say("warning", "on_end.failed", f"--on-end {fault}. The run is as it is.", state.run_id)

    @asynccontextmanager
    async def _report(self, run_id: str) -> AsyncGenerator[Path | None]:
        """Have an HTML report for as long as the block lasts; None where it cannot be made."""
        with ExitStack() as stack:
            made: Path | None = None
            try:
                path = Path(stack.enter_context(TemporaryDirectory(prefix="ecsbatch-")), "report.html")
                await _write_report(self._context.store_url, run_id, path)
                made = path
            except Exception as e:  # noqa: BLE001 - a view that fails is missed
                why = f"The report for --on-end cannot be made, which runs without it: {e}"
                self._say("warning", "on_end.failed", why, run_id)
            yield made

    async def _command(self, summary: bytes, told: dict[str, str], run_id: str) -> str:
        """Run the command, show what it prints, and return what went wrong; "" for nothing."""
        environment = child_environment(told, self._context.settings.programs.pass_env)
        with TemporaryFile() as stdin, _bounded_output(lambda text: self._show(text, run_id)) as output:
            stdin.write(summary)
            stdin.seek(0)
            try:
                code = await run_program(self._words, TIMEOUT, stdin=stdin, output=output, environment=environment)
            except TimeoutError:
                return f"has not ended within {TIMEOUT:g} s and was ended"
            except (OSError, ValueError) as e:
                return f"cannot be started ({e})"
        return f"was killed by signal {-code}" if code < 0 else f"has ended with code {code}" if code else ""

    def _show(self, output: str, run_id: str) -> None:
        if output.strip():
            self._say("info", "on_end.output", output.rstrip(), run_id)


async def _write_report(url: str, run_id: str, path: Path) -> None:
    """Write a run's report by a connection of its own: who restarts other servers meanwhile does not wait for it."""
    from ecsbatch.cli.html_report import write_html_report  # noqa: PLC0415 - imported when used

    async with make_store(url, read_only=True) as store:
        await write_html_report(store, run_id, path)


@contextmanager
def _bounded_output(show: Callable[[str], None]) -> Generator[int]:
    """Give what a command can write to, and show the begin of that behind the block.

    It is a pipe that is read to nowhere once that is enough: no disk is filled. Whoever the command leaves behind with
    it keeps nobody waiting.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    kept = bytearray()
    more = False

    def read() -> bool:
        nonlocal more
        try:
            data = os.read(reading, 65_536)
        except BlockingIOError:
            return False
        more = more or len(kept) + len(data) > _MOST
        kept.extend(data[: _MOST - len(kept)])
        if not data:
            loop.remove_reader(reading)
        return bool(data)

    loop = asyncio.get_running_loop()
    loop.add_reader(reading, read)
    try:
        yield writing
    finally:
        os.close(writing)
        for _ in range(2):  # as much as a pipe holds
            read()
        loop.remove_reader(reading)
        os.close(reading)
        show(kept.decode("utf-8", "replace") + ("\n(more is not shown)" if more else ""))


def end_hook(context: CliContext, say: Say | None = None) -> EndHook | None:
    """Return the command of ``--on-end``, None where there is none.

    Args:
        context: of the command.
        say: tells people; None for lines of its own on stderr.

    Raises:
        UsageError: it cannot be started here, or stands in a file that others may write.
    """
    return EndHook(context, say or say_on_stderr) if context.settings.observability.on_end else None


def end_hook_or_warning(context: CliContext) -> EndHook | None:
    """Return the same; one that cannot be started is warned of, for an abort must not wait until it is mended."""
    try:
        return end_hook(context)
    except EcsbatchError as e:
        say_on_stderr("warning", "on_end.failed", str(e), "")
        return None


def say_on_stderr(level: Literal["info", "warning"], event: str, message: str, run_id: str) -> None:
    """Write lines for people, or one object."""
    if in_json():
        log_json(level, event, {"run_id": run_id, "message": message})
        return
    before = "ecsbatch: warning: " if level == "warning" else ""
    print_lines([f"{before}{line}" for line in message.splitlines()], to_stdout=False)


async def run_unless_interrupted(hook: EndHook, state: RolloutState, head: str, received: int) -> None:
    """Run the command; a signal ends it alone, for the run has its end and its code already."""
    task = asyncio.ensure_future(hook.run(state, head, received))

    def end(_: int) -> None:
        task.cancel()

    with listening(end):
        await asyncio.wait([task])
    if task.cancelled():
        say_on_stderr("warning", "on_end.failed", "--on-end was ended by a signal. The run is as it is.", state.run_id)
    else:
        task.result()


def left_to_others(hook: EndHook | None, run_id: str, failure: Exception, say: Say = say_on_stderr) -> None:
    """Say that the command does not run here, since the run has no end here."""
    if hook is None:
        return
    why = "whoever has the run now runs its own" if isinstance(failure, RunTaken) else "the run's end is not on record"
    say("warning", "on_end.failed", f"--on-end was not run: {why}.", run_id)


class EndHooks:
    """The command of ``--on-end`` for all runs that a standby has."""

    def __init__(self, hook: EndHook | None, store: DatabaseStore, say: Say) -> None:
        """Wait for none yet."""
        self._hook = hook
        self._store = store
        self._say = say
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, rollout: Rollout) -> None:
        """Run the command once a run has ended here."""
        if self._hook is not None:
            task = asyncio.get_running_loop().create_task(self._at_its_end(self._hook, rollout))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _at_its_end(self, hook: EndHook, rollout: Rollout) -> None:
        try:
            if (await rollout).reason == HANDED_OVER:
                return
            head = await head_at(self._store.lines, rollout.run_id, rollout.state.seq)
        except EcsbatchError as e:
            left_to_others(hook, rollout.run_id, e, self._say)
            return
        await hook.run(rollout.state, head)

    async def settled(self) -> None:
        """Wait for commands that are running."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST)
