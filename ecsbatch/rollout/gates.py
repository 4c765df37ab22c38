"""What stands between two waves: a soak, a hold until somebody promotes, a gate that is asked."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from tempfile import TemporaryFile
from typing import IO, Any, Final, Literal

import orjson

from ecsbatch.errors import EcsbatchError
from ecsbatch.model.state import RolloutState
from ecsbatch.rollout.programs import run_program, split_command

GateVerdict = Literal["go", "wait", "stop"]
Gate = Callable[[RolloutState], Awaitable[GateVerdict]]
"""Asked before each wave but the first: ``go``, ask again (``wait``), or ``stop``.

Whatever else it does, it has said nothing (``inconclusive``) and is asked again as if it had said ``wait``.
"""

ASK_AGAIN: Final = 75
"""The exit code that says ``wait``: EX_TEMPFAIL of sysexits.h."""

_TAIL: Final = 8_192
_LINE: Final = 200
_ESCAPES: Final = re.compile(r"\x1b(\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]*[0-~])")


class GateInconclusive(EcsbatchError):
    """A gate could not be asked: neither go nor stop; it is asked again until its time is over."""


class CommandGate:
    """Asks a command; made by `command_gate`.

    Attributes:
        command: as it was given.
        message: the last line that it printed when it was asked last.
    """

    def __init__(self, command: str, timeout: float) -> None:
        self.command = command
        self.message = ""
        self._words = split_command(command)
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"<CommandGate {self.command!r} [{self.message!r}]>"

    async def __call__(self, state: RolloutState) -> GateVerdict:
        """Ask once."""
        self.message = ""
        # Files, no pipes: what the command leaves running behind it cannot keep us waiting for an end of output.
        with TemporaryFile() as told, TemporaryFile() as said:
            told.write(orjson.dumps(gate_summary(state)))
            told.seek(0)
            code = await self._ask(state, told, said)
            self.message = last_line(said)
        if code < 0:
            raise GateInconclusive(f"The gate {self.command!r} was killed by signal {-code}: mend it.")
        return "go" if code == 0 else "wait" if code == ASK_AGAIN else "stop"

    async def _ask(self, state: RolloutState, told: IO[bytes], said: IO[bytes]) -> int:
        environment = os.environ | {"ECSBATCH_RUN_ID": state.run_id, "ECSBATCH_WAVE": str(state.wave_over + 1)}
        try:
            return await run_program(self._words, self._timeout, stdin=told, output=said, environment=environment)
        except TimeoutError:
            raise GateInconclusive(
                f"The gate {self.command!r} gave no answer within {self._timeout:g} s: mend it."
            ) from None
        except (OSError, ValueError) as e:
            raise GateInconclusive(f"The gate {self.command!r} cannot be started ({e}): mend it.") from None


def command_gate(command: str, timeout: float) -> CommandGate:
    """Make a gate of a command: exit 0 is go, 75 is wait, anything else stop.

    It finds the run and the number of the wave that is to start in ``ECSBATCH_RUN_ID`` and ``ECSBATCH_WAVE``, and
    `gate_summary` as JSON on its standard input. Killed, not to be started, or without an end after ``timeout``
    seconds, it has said nothing: `GateInconclusive`.

    Raises:
        ConfigError: the command cannot be split into words.
    """
    return CommandGate(command, timeout)


def gate_summary(state: RolloutState) -> dict[str, Any]:
    """Return what a gate is told: the run so far, and the wave before the one that is to start."""
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
    """Return the last line that says something, without control characters and colours, cut to one line's length."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL))
    text = _ESCAPES.sub("", output.read().decode("utf-8", "replace"))
    for line in reversed(text.splitlines()):
        shown = "".join(c for c in line if c.isprintable()).strip()
        if shown:
            return shown[:_LINE]
    return ""
