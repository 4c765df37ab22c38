"""What a run asks besides the cloud: its servers' health, and a gate between waves. Built from the plan's own words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecsbatch.errors import ConfigError

if TYPE_CHECKING:
    from ecsbatch.gates import Gate
    from ecsbatch.line import Check
    from ecsbatch.plan import Plan

_SHARE: Final = 0.9
"""Of a gate's time, so that it is the command's own timeout that strikes first and says which command it was."""

_PROGRAMS_OWN: Final = "a callable"
"""What a plan says of a gate that is no command."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A plan's check and gate, None where it has none."""

    check: Check | None = None
    gate: Gate | None = None


@asynccontextmanager
async def asked_of(plan: Plan) -> AsyncGenerator[Asked]:
    """Build what a plan's words name, close it at the end; a resumed run asks what it was planned with.

    Raises:
        ConfigError: they cannot be meant, or name what only the program has that made the plan.
    """
    gate = _gate(plan)
    if not plan.check:
        yield Asked(gate=gate)
        return
    from ecsbatch.checks import check_of  # noqa: PLC0415 - imported when used

    try:
        check = check_of(plan.check)
    except ConfigError as e:
        raise ConfigError(
            f"The run's health check {plan.check!r} cannot be asked from here ({e}): "
            "go on with it in the program that planned it."
        ) from None
    try:
        yield Asked(check, gate)
    finally:
        await check.aclose()


def _gate(plan: Plan) -> Gate | None:
    if not plan.gate:
        return None
    if plan.gate == _PROGRAMS_OWN:
        raise ConfigError("The run's gate belongs to the program that planned it: go on with it there.")
    from ecsbatch.gates import command_gate  # noqa: PLC0415 - imported when used

    return command_gate(plan.gate, _SHARE * plan.gate_timeout)


def refuse_unaskable(check: str | None, gate: str | None) -> None:
    """Refuse a check or a gate that cannot be built, before anything is looked at.

    Raises:
        ConfigError: so it is.
    """
    if check:
        from ecsbatch.checks import check_of  # noqa: PLC0415 - imported when used

        check_of(check)
    if gate:
        from ecsbatch.gates import command_gate  # noqa: PLC0415 - imported when used

        command_gate(gate, 1.0)
