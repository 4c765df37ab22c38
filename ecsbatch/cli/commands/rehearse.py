"""``ecsbatch rehearse``: the same plan, the same engine, a simulated cloud of the same shape, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Group, Parameter

from ecsbatch.cli.commands.simulate import SimulatedFleetFlags, config_of
from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit, UsageError, code_of_run
from ecsbatch.cli.flags import ConfigFile, FleetFile, RestartFlags
from ecsbatch.cli.output import check_outputs, print_json, print_lines
from ecsbatch.cli.page import page_can_stay, page_stays, serving_page
from ecsbatch.cli.selection_flags import SelectionFlags, read_selection
from ecsbatch.cli.survey import prepare, survey
from ecsbatch.config.settings import SETTINGS
from ecsbatch.config.sources import Settings
from ecsbatch.config.types import format_duration
from ecsbatch.errors import EcsbatchError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import Fleet, Server
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import counted
from ecsbatch.planning.plan_file import is_plan, read_plan
from ecsbatch.planning.time_model import time_model
from ecsbatch.views.report import run_json
from ecsbatch.views.simulator import is_clean, verdict_lines
from ecsbatch.views.summary import outcome_lines
from ecsbatch.views.text import format_span

if TYPE_CHECKING:
    from ecsbatch.testing import World

_WORLD: Final = Group("The simulated cloud", sort_key=0)
_LONGEST_DAYS: Final = 7
"""Virtual days after which a rehearsal counts as one that never ends; each costs a few seconds."""


@dataclass(frozen=True, kw_only=True)
class RehearsalFlags:
    """What the simulated cloud is like; all else is the plan's."""

    restart_time: Annotated[
        str | None,
        Parameter(group=_WORLD, metavar="TIME", help="The median of a restart; --typical-restart where left out."),
    ] = None
    latency: Annotated[str, Parameter(group=_WORLD, metavar="TIME", help="The mean round trip. [100ms]")] = "100ms"
    faults: Annotated[
        str, Parameter(group=_WORLD, metavar="NAME=N%,...", help="Misfortunes, as of ecsbatch simulate.")
    ] = ""
    seed: Annotated[int, Parameter(group=_WORLD, metavar="N", help="Names all its chances. [1]")] = 1


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How it went: the run's state, what the simulated cloud counted, and the world that has its record."""

    state: RolloutState
    audit: dict[str, Any]
    world: World


def rehearse(  # noqa: D417 - the options are told of where they are defined
    file: FleetFile = "",
    /,
    *,
    rehearsal: Annotated[RehearsalFlags | None, Parameter(name="*", show_default=False)] = None,
    selecting: Annotated[SelectionFlags | None, Parameter(name="*")] = None,
    flags: Annotated[RestartFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Run a plan in virtual time against a simulated cloud of the same zones and sizes; nothing is restarted.

    Hours take seconds. Holds are passed at once and gates are not asked; a health check asks the simulated servers. At
    a terminal --dashboard shows on a page how it went, until Ctrl-C. Exit codes are those of restart.

    Args:
        file: Servers, as for restart, or a plan that ecsbatch plan --out wrote, which needs no cloud at all.
    """
    context = CliContext.of(flags, config)
    settings = context.settings
    check_outputs(settings)
    rehearsal = rehearsal or RehearsalFlags()
    if is_plan(file):
        _refuse_changes(file, settings, selecting)
        plan = read_plan(file).plan
    else:
        selection = read_selection(file, selecting, "rehearse")
        plan = prepare(asyncio.run(survey(selection, context, store="none")), context).view.plan
    rehearsed = run_rehearsal(plan, settings, rehearsal)
    _print(plan, context, rehearsed)
    if page_can_stay(context):
        asyncio.run(_show(context, rehearsed.world))
    return code_of_run(rehearsed.state) if is_clean(rehearsed.audit) else Exit.ERROR


def _refuse_changes(file: str, settings: Settings, selecting: SelectionFlags | None) -> None:
    """Refuse to change what a plan has settled: nothing that was typed is ignored without a word.

    Raises:
        UsageError: settings of the strategy or a selection were typed beside a plan.
    """
    flags = [SETTINGS[name].flag for name in settings.origins if SETTINGS[name].section == "strategy"]
    typed = [flag for flag in flags if flag in settings.origins.values()]
    if typed or selecting is not None:
        what = typed[0] if typed else "a selection"
        raise UsageError(
            f"{file} is a plan, which has settled servers and strategy already: leave {what} out, or plan again."
        )


def run_rehearsal(plan: Plan, settings: Settings, rehearsal: RehearsalFlags) -> Rehearsed:
    """Run a plan in virtual time; the state that it comes to tells of simulated servers.

    Raises:
        ConfigError: a value is invalid.
        EcsbatchError: it never ends.
    """
    from ecsbatch.testing import Hang, World  # noqa: PLC0415 - imported when used

    engine = settings.engine
    if time_model(plan, engine.quota, engine.typical_restart).seconds > _LONGEST_DAYS * 86_400:
        raise _too_long()
    restart_time = rehearsal.restart_time or format_duration(engine.typical_restart)
    quota = f"{engine.quota.limit}/{engine.quota.window:g}s"
    flags = SimulatedFleetFlags(
        servers=len(plan.fleet),
        restart_time=restart_time,
        quota=quota,
        latency=rehearsal.latency,
        faults=rehearsal.faults,
        seed=rehearsal.seed,
    )
    # A zone for each server: the simulated fleet has exactly the plan's zones, in the plan's order.
    zones = tuple(plan.fleet.domain(index) or "(not known)" for index in range(len(plan.fleet)))
    world = World(config=replace(config_of(flags), zones=zones), longest=_LONGEST_DAYS * 86_400.0)
    twin = _twin(plan, world)
    try:
        state = world.run(partial(_roll_out, twin, settings, world, rehearsal.seed))
    except Hang:
        raise _too_long() from None
    return Rehearsed(state, world.cloud.audit(), world)


async def _show(context: CliContext, world: World) -> None:
    """Show on a page how it went; it took seconds, so that there was nothing to watch meanwhile."""
    from ecsbatch.rollout.history import History  # noqa: PLC0415 - imported when used

    async with world.store() as store, serving_page(context, History(store, clock=world.clock)):
        await page_stays(context)


def _too_long() -> EcsbatchError:
    return EcsbatchError(f"The rehearsal does not end within {_LONGEST_DAYS} days: try it with a shorter soak.")


def _twin(plan: Plan, world: World) -> Plan:
    """Return the plan of simulated servers in place of the real ones; nobody is there to promote or resume it.

    Each is on the host of the real one, and grouped by its tags.
    """
    real = plan.fleet
    fleet = Fleet(world.ids, real.domains, hosts=real.hosts, tags=real.tags)
    for server_id, host in zip(world.ids, real.hosts or (), strict=False):
        world.cloud.place(server_id, host)
    for skip in plan.skips:
        for index in range(skip.start, skip.end):
            world.cloud.set_status(fleet.ids[index], "ERROR" if skip.holds else "SHUTOFF")
    return replace(plan, fleet=fleet, hold_after=(), gate="", on_failure="stop")


async def _roll_out(plan: Plan, settings: Settings, world: World, seed: int) -> RolloutState:
    from ecsbatch.restarter import Restarter  # noqa: PLC0415 - imported when used

    async def healthy(server: Server) -> bool:
        return world.cloud.healthy(server.id)

    engine, connection = settings.engine, settings.connection
    client = world.client(
        request_timeout=connection.request_timeout,
        connect_timeout=connection.connect_timeout,
        api_rate=connection.api_rate,
    )
    async with (
        client,
        world.store() as store,
        Restarter(client, store, engine=engine, clock=world.clock, seed=seed) as restarter,
    ):
        rollout = restarter.rollout(plan, check=healthy if plan.check else None, run_id="rehearsal")
        await rollout.run()
        return rollout.state


def _print(plan: Plan, context: CliContext, rehearsed: Rehearsed) -> None:
    state, audit, engine = rehearsed.state, rehearsed.audit, context.settings.engine
    model = time_model(plan, engine.quota, engine.typical_restart)
    if context.wants_json:
        rehearsal = {
            "planned_s": round(model.seconds, 3),
            "most_down": audit["most_down"],
            "most_down_by_zone": audit["most_down_by_zone"],
            "fullest_window": audit["fullest_window"],
        }
        print_json(run_json(state) | rehearsal)
        return
    took, expected = format_span(state.elapsed), format_span(model.seconds)
    lines = [
        f"A rehearsal of {counted(plan.to_restart, 'server')}: {took}, where the plan expects about {expected}.",
        "",
        *outcome_lines(state),
        "",
        *verdict_lines(audit),
    ]
    print_lines(lines, to_stdout=True)
