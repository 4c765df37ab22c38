"""`Hooks`: the check and the gate of a run, which it asks besides the cloud. Read `hooks_of` first.

A strategy names them in words, or a program brings callables of its own; the run's plan says which. They are built
here for the library and the command line alike, so that neither is left out unless somebody says so. A program that
others may have written into the record runs only where whoever goes on with the run has given its text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from enum import Enum
from shlex import quote
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ecsbatch.config.settings import Engine, Programs
from ecsbatch.engine.server_queue import Check
from ecsbatch.errors import ConfigError, ProgramRefused
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.ownership import Exposure
from ecsbatch.model.plan import Plan
from ecsbatch.model.text import printable
from ecsbatch.rollout.gates import Gate, command_gate
from ecsbatch.rollout.needs import A_CALLABLE, ACTING, UNATTENDED, own_words_in
from ecsbatch.rollout.programs import cannot_start, split_command

if TYPE_CHECKING:
    from ecsbatch.rollout.checks import ServerCheck

_SHARE: Final = 0.9
"""The share of ``gate_timeout`` that a command gets: its own timeout ends it first, and says which command it was."""


class _Without(Enum):
    WITHOUT = "without"


WITHOUT: Final = _Without.WITHOUT
"""Given to `Restarter.rollout` or `Restarter.resume` as ``check`` or ``gate``: go without one, whatever the strategy or
the run's record says."""

Without: TypeAlias = Literal[_Without.WITHOUT]


@dataclass(frozen=True, slots=True)
class GivenHooks:
    """What a program gives as check and gate: a callable, `WITHOUT`, or None for what is planned.

    Attributes:
        check, gate: as above.
        programs: what planned commands may do, and which run whoever may have planned them.
        on_this_machine: the cloud is a simulator here, so that checks may ask this machine.
        unattended: nobody has asked for this very run: nothing runs here that only its record names.

    Raises:
        ConfigError: it is none of these.
    """

    check: Check | Without | None = None
    gate: Gate | Without | None = None
    programs: Programs = field(default_factory=Programs)
    on_this_machine: bool = False
    unattended: bool = False

    def __post_init__(self) -> None:
        """Refuse what would fail only when it is asked."""
        for name, given in (("check", self.check), ("gate", self.gate)):
            if given is not None and given is not WITHOUT and not callable(given):
                raise ConfigError(f"{name}={given!r} is no callable: words go into Strategy({name}=...).")

    def for_callables(self, plan: Mapping[str, Any]) -> GivenHooks:
        """Return the same for a run of a record: what was planned in words stays so."""
        check, gate = plan.get("check") == A_CALLABLE, plan.get("gate") == A_CALLABLE
        return replace(self, check=self.check if check else None, gate=self.gate if gate else None)

    def speaking_for(self, plan: Plan) -> GivenHooks:
        """Return the same where the program names a plan itself: what that one names is its own word."""
        words = [text for text in (plan.check, plan.gate) if text]
        programs = replace(self.programs, allow_programs=[*self.programs.allow_programs, *words])
        return replace(self, programs=programs)

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


def hooks_of(
    plan: Plan,
    given: GivenHooks,
    run_id: str = "",
    exposure: Exposure | None = None,
    *,
    check_timeout: float = Engine().check_timeout,
) -> Hooks:
    """Return a run's check and gate: what the program gives, else what the plan names.

    Args:
        plan: of the run.
        given: what the program gives.
        run_id: of a run that is gone on with.
        exposure: why others may have written the plan; None: it is the word of whoever runs this.
        check_timeout: seconds that one check may take.

    Raises:
        ConfigError: what the plan names is invalid or cannot be started here, or it needs a callable of its program
            that is not given.
        ProgramRefused: others may have written the plan, and what it names was not given here.
    """
    run = f"Run {run_id}" if run_id else "The plan"
    for name in programs_of(plan):
        if getattr(given, name) is None:
            _refuse_foreign(name, getattr(plan, name), run, given.programs, exposure)
    if given.unattended:
        _refuse_others_words(plan, run, given)
    for why in cannot_be_asked(plan, given):
        raise ConfigError(f"{why} Nothing was sent.")
    gate = _planned_gate(plan, run, given) if given.gate is None else None if given.gate is WITHOUT else given.gate
    if given.check is not None:
        return Hooks(None if given.check is WITHOUT else given.check, gate)
    built = _planned_check(plan, run, given, check_timeout)
    return Hooks(built, gate, built)


def programs_of(plan: Plan) -> list[str]:
    """Return which of a plan's ``check`` and ``gate`` act on this machine, or on others than the plan's servers."""
    acting = ["check"] if plan.check.strip().startswith(ACTING) else []
    return acting + (["gate"] if plan.gate and plan.gate != A_CALLABLE else [])


def cannot_be_asked(plan: Plan, given: GivenHooks) -> list[str]:
    """Return a sentence for each of a plan's check and gate that would run a command which cannot be started here.

    Raises:
        ConfigError: the quotes of a command are not closed.
    """
    commands = {"check": _command_in(plan.check), "gate": "" if plan.gate == A_CALLABLE else plan.gate}
    return [
        f"The {name} {quote(printable(command))} cannot be started: {printable(why)}."
        for name, command in commands.items()
        if command and getattr(given, name) is None and (why := cannot_start(split_command(command)))
    ]


def is_program(check: str) -> bool:
    """Tell whether a planned check starts a program here."""
    return bool(_command_in(check))


def _command_in(check: str) -> str:
    kind, _, command = check.strip().partition(":")
    return command if kind == "cmd" else ""


def _refuse_foreign(name: str, text: str, run: str, programs: Programs, exposure: Exposure | None) -> None:
    if exposure is None or text.strip() in programs.allow_programs:
        return
    raise ProgramRefused(
        f"{run} names the {name} {quote(printable(text))}, and others may have written that: {exposure}. "
        f"Nothing was sent: give --{name} with the same text if it is what you want to run, or list it in "
        f"allow_programs, [programs] of your own settings file."
    )


def _refuse_others_words(plan: Plan, run: str, given: GivenHooks) -> None:
    """Refuse a text of the record that acts by itself, and that is none of this program's own."""
    for name, text in own_words_in({"check": plan.check, "gate": plan.gate, "check_ca": plan.check_ca}):
        replaced = given.gate if name == "gate" else given.check
        if replaced is None and text not in given.programs.allow_programs:
            raise ProgramRefused(
                f"{run} names the {name} {quote(printable(text))}, and {UNATTENDED}. "
                "Nothing was sent: list it in allow_programs of this worker's own settings."
            )


def _planned_check(plan: Plan, run: str, given: GivenHooks, check_timeout: float) -> ServerCheck | None:
    if not plan.check:
        return None
    if plan.check == A_CALLABLE:
        raise _missing(run, "check")
    from ecsbatch.rollout.checks import SHARE, check_of  # noqa: PLC0415 - imported when used

    try:
        return check_of(
            plan.check,
            timeout=SHARE * check_timeout,
            pass_env=given.programs.pass_env,
            ca_file=plan.check_ca,
            on_this_machine=given.on_this_machine,
        )
    except ConfigError as e:
        raise ConfigError(f"{run} cannot go on with its check; give another one. {e}").about("check") from None


def _planned_gate(plan: Plan, run: str, given: GivenHooks) -> Gate | None:
    if not plan.gate:
        return None
    if plan.gate == A_CALLABLE:
        raise _missing(run, "gate")
    return command_gate(plan.gate, _SHARE * plan.gate_timeout, given.programs.pass_env)


def _missing(run: str, name: str) -> ConfigError:
    return ConfigError(
        f"{run} was planned with a {name} of its own program, which is not given here: go on with it in that program, "
        f"with {name}=..., or with {name}=WITHOUT to go without."
    )


def validate_hooks(check: str | None, gate: str | None, check_ca: str = "") -> None:
    """Refuse a strategy's check or gate that is invalid, before anything is looked at.

    Raises:
        ConfigError: ``check`` is none of the forms of `check_of`, ``check_ca`` nothing to verify one by, or ``gate`` no
            command.
    """
    if check:
        from ecsbatch.rollout.checks import check_of  # noqa: PLC0415 - imported when used

        check_of(check, ca_file=check_ca)
    elif check_ca:
        raise ConfigError(f"check_ca = {check_ca!r}: it verifies a check, and there is none: give one too.").about(
            "check"
        )
    if gate:
        command_gate(gate, 1.0)
