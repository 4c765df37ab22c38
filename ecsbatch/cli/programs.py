"""Which commands of checks and gates run here: those that whoever types has given, or a record that only they write.

`hooks_of` decides; here is what it is told of the command line.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from ecsbatch.config.settings import SETTINGS, Programs
from ecsbatch.errors import ConfigError, RunConflict
from ecsbatch.model.ownership import Exposure, file_exposure, folders_above
from ecsbatch.model.text import printable
from ecsbatch.rollout.hooks import programs_of, validate_hooks
from ecsbatch.rollout.needs import A_CALLABLE

if TYPE_CHECKING:
    from ecsbatch.config.sources import Settings
    from ecsbatch.model.plan import Plan
    from ecsbatch.rollout.checks import ServerCheck

_NAMES = ("check", "gate")


def given_programs(settings: Settings) -> Programs:
    """Return what commands may do here; a check and a gate that are given are allowed by that."""
    words = [text for name in _NAMES if (text := _text(settings, name)) and is_own(settings, name)]
    return replace(settings.programs, allow_programs=[*settings.programs.allow_programs, *words])


def _text(settings: Settings, name: str) -> str:
    return getattr(settings.strategy, name) or ""


def _typed(settings: Settings, name: str) -> bool:
    return settings.origins.get(name) == SETTINGS[name].flag


def is_own(settings: Settings, name: str) -> bool:
    """Tell whether a flag or a variable gives a setting, or a file that nobody else may write."""
    origin = settings.origins.get(name, "")
    if origin in {SETTINGS[name].flag, SETTINGS[name].variable}:
        return True
    return file_exposure(Path(origin), *folders_above(Path(origin))) is None


def refuse_other(plan: Plan, settings: Settings, whose: str) -> None:
    """Refuse a check or a gate that is typed and is not the one on record; one that cannot be asked may be replaced.

    Args:
        plan: on record.
        settings: of the command.
        whose: names the record.

    Raises:
        RunConflict: another text was typed.
    """
    for name in _NAMES:
        text, planned = _text(settings, name), getattr(plan, name)
        if not _typed(settings, name) or text == planned or (name == "check" and _is_unaskable(plan)):
            continue
        has = f"the {name} {quote(printable(planned))}" if planned else f"no {name}"
        raise RunConflict(
            f"{whose} has {has}, not --{name} {quote(printable(text))}, and goes on as it was planned: "
            f"give the same text or leave --{name} out."
        )


def _is_unaskable(plan: Plan) -> bool:
    """Tell whether the check on record is one that this version refuses."""
    if plan.check == A_CALLABLE:
        return False
    try:
        validate_hooks(plan.check, None)
    except ConfigError:
        return True
    return False


@asynccontextmanager
async def replaced_check(plan: Plan, settings: Settings) -> AsyncGenerator[ServerCheck | None]:
    """Give the check that was typed in place of one that cannot be asked; None where the one on record can."""
    if not (_typed(settings, "check") and _is_unaskable(plan)):
        yield None
        return
    from ecsbatch.rollout.checks import SHARE, check_of  # noqa: PLC0415 - imported when used

    timeout, passed = SHARE * settings.engine.check_timeout, settings.programs.pass_env
    async with aclosing(check_of(_text(settings, "check"), timeout=timeout, pass_env=passed)) as check:
        yield check


def texts_again(plan: Plan, exposure: Exposure | None) -> str:
    """Return the flags that `resume` needs for the run's commands, as one would type them; "" where it needs none."""
    names = programs_of(plan) if exposure is not None else []
    return "".join(f" --{name} {quote(printable(getattr(plan, name)))}" for name in names)


def exposure_notice(plan: Plan, exposure: Exposure | None) -> str:
    """Return what to tell of a run whose commands stand where others may write; "" where they do not."""
    names = programs_of(plan)
    if exposure is None or not names:
        return ""
    return (
        f"{exposure}. Others may change what stands there, so this run's {' and '.join(names)} "
        f"{'run' if len(names) > 1 else 'runs'} only for who gives the same text again."
    )
