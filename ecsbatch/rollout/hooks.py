"""`Hooks`: the check and the gate of a run, which it asks besides the cloud. Read `hooks_of` first.

A strategy names them in words, or a program brings callables of its own; the run's plan says which. They are built
here for the library and the command line alike, so that neither is left out unless somebody says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ecsbatch.engine.server_queue import Check
from ecsbatch.errors import ConfigError
from ecsbatch.model.plan import Plan
from ecsbatch.rollout.gates import Gate, command_gate

if TYPE_CHECKING:
    from ecsbatch.rollout.checks import ServerCheck

A_CALLABLE: Final = "a callable"
"""What a plan says of a check or a gate that its program brought."""

_SHARE: Final = 0.9
"""The share of ``gate_timeout`` that a command gets: its own timeout ends it first, and says which command it was."""


class _Without(Enum):
    WITHOUT = "without"


WITHOUT: Final = _Without.WITHOUT
"""Given as a check or a gate: go without, whatever the strategy or the run's record says."""

Without: TypeAlias = Literal[_Without.WITHOUT]


@dataclass(frozen=True, slots=True)
class GivenHooks:
    """What a program gives as check and gate: a callable, `WITHOUT`, or None for what is planned.

    Raises:
        ConfigError: it is none of these.
    """

    check: Check | Without | None = None
    gate: Gate | Without | None = None

    def __post_init__(self) -> None:
        """Refuse what would fail only when it is asked."""
        for name, given in (("check", self.check), ("gate", self.gate)):
            if given is not None and given is not WITHOUT and not callable(given):
                raise ConfigError(f"{name}={given!r} is no callable: words go into Strategy({name}=...).")

    def name_in(self, plan: Plan) -> Plan:
        """Return a new run's plan that says what its program gives, so that whoever resumes it knows."""
        return replace(plan, check=_named(self.check, plan.check), gate=_named(self.gate, plan.gate))


def _named(given: object, planned: str) -> str:
    return planned if given is None else "" if given is WITHOUT else A_CALLABLE


@dataclass(frozen=True, slots=True)
class Hooks:
    """A run's check and gate, None where it has none.

    Attributes:
        check: asks a restarted server whether it is healthy.
        gate: asked before each wave but the first.
        built: the check, where it was built here and has to be closed.
    """

    check: Check | None = None
    gate: Gate | None = None
    built: ServerCheck | None = None

    async def aclose(self) -> None:
        """Close what was built here; what the program gave is the program's to close."""
        if self.built is not None:
            await self.built.aclose()


def hooks_of(plan: Plan, given: GivenHooks, run_id: str = "") -> Hooks:
    """Return a run's check and gate: what the program gives, else what the plan names.

    Raises:
        ConfigError: what the plan names is invalid, or it needs a callable of its program that is not given.
    """
    run = f"Run {run_id}" if run_id else "The plan"
    gate = _planned_gate(plan, run) if given.gate is None else None if given.gate is WITHOUT else given.gate
    if given.check is not None:
        return Hooks(None if given.check is WITHOUT else given.check, gate)
    built = _planned_check(plan, run)
    return Hooks(built, gate, built)


def _planned_check(plan: Plan, run: str) -> ServerCheck | None:
    if not plan.check:
        return None
    if plan.check == A_CALLABLE:
        raise _missing(run, "check")
    from ecsbatch.rollout.checks import check_of  # noqa: PLC0415 - imported when used

    return check_of(plan.check)


def _planned_gate(plan: Plan, run: str) -> Gate | None:
    if not plan.gate:
        return None
    if plan.gate == A_CALLABLE:
        raise _missing(run, "gate")
    return command_gate(plan.gate, _SHARE * plan.gate_timeout)


def _missing(run: str, name: str) -> ConfigError:
    return ConfigError(
        f"{run} was planned with a {name} of its own program, which is not given here: go on with it in that program, "
        f"with {name}=..., or with {name}=WITHOUT to go without."
    )


def validate_hooks(check: str | None, gate: str | None) -> None:
    """Refuse a strategy's check or gate that is invalid, before anything is looked at.

    Raises:
        ConfigError: ``check`` is none of the forms of `check_of`, or ``gate`` is no command.
    """
    if check:
        from ecsbatch.rollout.checks import check_of  # noqa: PLC0415 - imported when used

        check_of(check)
    if gate:
        command_gate(gate, 1.0)
