"""Gates, which are asked whether the next wave may start: their type, and gates that are commands.

A gate is an async function that is given the `RolloutState` and returns ``go``, ``wait`` or ``stop``. Whatever else it
returns or raises is inconclusive, and it is asked again as if it had said ``wait``; after ``gate_timeout`` of that the
run stops, and can be resumed:

    async def calm(state: RolloutState) -> GateVerdict:
        return "stop" if state.run.failures > 3 else "go"
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Collection
from tempfile import TemporaryFile
from typing import IO, Any, Final, Literal

import orjson

from ecsbatch.errors import EcsbatchError
from ecsbatch.model.state import RolloutState
from ecsbatch.rollout.programs import child_environment, run_program, split_command

GateVerdict = Literal["go", "wait", "stop"]
"""What a gate says: the next wave may start, ask again later, or stop the run."""
Gate = Callable[[RolloutState], Awaitable[GateVerdict]]
"""Asked before each wave but the first: ``go``, ``wait`` (ask again later) or ``stop``.

Whatever else it returns or raises is ``inconclusive``: it is asked again as if it had said ``wait``.
"""

ASK_AGAIN: Final = 75
"""The exit code that says ``wait``: EX_TEMPFAIL of sysexits.h."""

_TAIL: Final = 8_192
_MESSAGE: Final = 200
_ESCAPES: Final = re.compile(r"\x1b(\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]*[0-~])")


class GateInconclusive(EcsbatchError):
    """A gate gave no verdict; it is asked again until its time is over."""


class CommandGate:
    """Asks a command; made by `command_gate`.

    Attributes:
        command: as it was given.
        message: the last line that it printed when it was last asked.
    """

    def __init__(self, command: str, timeout: float, pass_env: Collection[str] = ()) -> None:
        self.command = command
        self.message = ""
        self._words = split_command(command)
        self._timeout = timeout
        self._pass_env = pass_env

    def __repr__(self) -> str:
        return f"<CommandGate {self.command!r} [{self.message!r}]>"

    async def __call__(self, state: RolloutState) -> GateVerdict:
        """Ask once; raises GateInconclusive."""
        self.message = ""
        # Files and no pipes: what the command leaves running cannot keep us waiting for an end of its output.
        with TemporaryFile() as summary, TemporaryFile() as output:
            summary.write(orjson.dumps(gate_summary(state)))
            summary.seek(0)
            code = await self._run(state, summary, output)
            self.message = last_line(output)
        if code < 0:
            raise GateInconclusive(f"The gate {self.command!r} was killed by signal {-code}: mend it.")
        return "go" if code == 0 else "wait" if code == ASK_AGAIN else "stop"

    async def _run(self, state: RolloutState, summary: IO[bytes], output: IO[bytes]) -> int:
        told = {"ECSBATCH_RUN_ID": state.run_id, "ECSBATCH_WAVE": str(state.wave_over + 1)}
        environment = child_environment(told, self._pass_env)
        try:
            return await run_program(self._words, self._timeout, stdin=summary, output=output, environment=environment)
        except TimeoutError:
            raise GateInconclusive(
                f"The gate {self.command!r} gave no answer within {self._timeout:g} s: mend it."
            ) from None
        except (OSError, ValueError) as e:
            raise GateInconclusive(f"The gate {self.command!r} cannot be started ({e}): mend it.") from None


def command_gate(command: str, timeout: float, pass_env: Collection[str] = ()) -> CommandGate:
    """Make a gate of a command: exit code 0 is go, 75 is wait, any other stop.

    It finds the run's id and the number of the wave that is to start in the environment, ``ECSBATCH_RUN_ID`` and
    ``ECSBATCH_WAVE``, and `gate_summary` as JSON on its standard input; of our credentials only those whose variables
    ``pass_env`` names. Where it is killed, cannot be started, or has not ended after ``timeout`` seconds, it raises
    `GateInconclusive`.

    Raises:
        ConfigError: the command is empty, or its quotes are not closed.
    """
    return CommandGate(command, timeout, pass_env)


def gate_summary(state: RolloutState) -> dict[str, Any]:
    """Return what a command gate reads: the run so far, and the wave before the one that is to start."""
    over = state.wave_over
    tally = state.waves[over - 1] if over else None
    return {
        "run_id": state.run_id,
        "status": state.status.value,
        "wave": over + 1,
        "waves": len(state.waves),
        "total": state.run.total,
        **{kind.value: count for kind, count in state.counts.items()},
        "failures": state.run.failures,
        "down": state.down,
        "elapsed_s": round(state.elapsed, 3),
        "last_wave": None
        if tally is None
        else {
            "wave": over,
            "label": state.plan.waves[over - 1].label,
            "servers": tally.total,
            "failures": tally.failures,
            **{kind.value: count for kind, count in sorted(tally.ended.items())},
        },
        "failed_by": {key: dict(counts.most_common(20)) for key, counts in state.failed_by.items()},
    }


def last_line(output: IO[bytes]) -> str:
    """Return the last line that is not blank, without control characters and colours, cut to 200 characters."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL))
    text = _ESCAPES.sub("", output.read().decode("utf-8", "replace"))
    for line in reversed(text.splitlines()):
        shown = "".join(c for c in line if c.isprintable()).strip()
        if shown:
            return shown[:_MESSAGE]
    return ""
