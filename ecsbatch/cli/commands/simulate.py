"""``ecsbatch simulate``: a cloud on this machine that nobody misses."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields as fields_of
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Group, Parameter

from ecsbatch.cli.exit_codes import Exit, UsageError
from ecsbatch.cli.flags import GROUPS
from ecsbatch.cli.output import print_lines
from ecsbatch.config.types import Amount, QuotaType, format_duration, parse_duration
from ecsbatch.errors import ConfigError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.text import unwritable
from ecsbatch.views.simulator import verdict_lines

if TYPE_CHECKING:
    from ecsbatch.simulator.config import CloudConfig
    from ecsbatch.simulator.server import Running

_CLOUD: Final = Group("The cloud", sort_key=1)
_TROUBLE: Final = Group("Trouble", sort_key=2)
_MOST_SERVERS: Final = 2_000_000
_MOST_SPEED: Final = 10_000.0
_MOST_PORT: Final = 65_535
_OF_RESTARTS: Final = frozenset({"fail", "stuck", "unhealthy"})


@dataclass(frozen=True, kw_only=True)
class SimulatedFleetFlags:
    """What the simulated cloud is like."""

    servers: Annotated[int, Parameter(group=_CLOUD, metavar="N", help="How many servers there are. [100]")] = 100
    zones: Annotated[
        str, Parameter(group=_CLOUD, metavar="NAMES", help="Availability zones, taken in turn. [az1,az2,az3]")
    ] = "az1,az2,az3"
    restart_time: Annotated[
        str, Parameter(group=_CLOUD, metavar="TIME", help="The median of a restart, in the cloud's time. [40s]")
    ] = "40s"
    quota: Annotated[
        str, Parameter(group=_CLOUD, metavar="N/TIME", help="Servers let through, in the cloud's time. [1000/60s]")
    ] = "1000/60s"
    latency: Annotated[str, Parameter(group=_CLOUD, metavar="TIME", help="The mean round trip. [100ms]")] = "100ms"
    speed: Annotated[
        float, Parameter(group=_CLOUD, metavar="N", help="How much faster its time runs; the latency stays. [1]")
    ] = 1.0
    seed: Annotated[int, Parameter(group=_CLOUD, metavar="N", help="Names all its chances. [1]")] = 1
    locked: Annotated[str, Parameter(group=_TROUBLE, metavar="N|N%", help="Servers that are locked. [0]")] = "0"
    shutoff: Annotated[str, Parameter(group=_TROUBLE, metavar="N|N%", help="Servers that are shut off. [0]")] = "0"
    faults: Annotated[
        str,
        Parameter(
            group=_TROUBLE,
            metavar="NAME=N%,...",
            help="Misfortunes: fail, stuck, unhealthy of restarts, in one zone as fail@az2; reject_503, throttle, "
            "reset, lost_reply, silent, late_execution, error_500_after, html_502, garbage, slow of submits, and the "
            "same of looks as look.NAME.",
        ),
    ] = ""


def simulate(
    *,
    world: Annotated[SimulatedFleetFlags | None, Parameter(name="*", show_default=False)] = None,
    port: Annotated[
        int, Parameter(group=_CLOUD, metavar="N", show_default=False, help="Port on 127.0.0.1; 0 takes a free one. [0]")
    ] = 0,
    ids: Annotated[
        Path | None,
        Parameter(
            group=GROUPS["output"], metavar="FILE", help="Write the servers into this file, .csv with their zones."
        ),
    ] = None,
    output: Annotated[
        Literal["table", "json"],
        Parameter(
            name=["--output", "-o"],
            group=GROUPS["output"],
            metavar="table|json",
            show_choices=False,
            show_default=False,
            help="How the address and the verdict are printed. [table]",
        ),
    ] = "table",
) -> int:
    """Serve a simulated cloud on this machine until Ctrl-C, then print what its auditor counted.

    The auditor can be read meanwhile at /_simulator/audit.
    """
    if not 0 <= port <= _MOST_PORT:
        raise UsageError(f"--port {port}: give a number from 0 to {_MOST_PORT}.")
    world = world or SimulatedFleetFlags()
    config = config_of(world)
    asyncio.run(_serve(config, world.speed, port, ids, as_json=output == "json"))
    return Exit.OK


def config_of(world: SimulatedFleetFlags) -> CloudConfig:
    """Return what the simulator takes.

    Raises:
        ConfigError: a value is invalid.
    """
    from ecsbatch.simulator.config import CloudConfig  # noqa: PLC0415 - imported when used

    if not 1 <= world.servers <= _MOST_SERVERS:
        raise ConfigError(f"--servers {world.servers}: give a whole number from 1 to {_MOST_SERVERS}.")
    if not 0 < world.speed <= _MOST_SPEED:
        raise ConfigError(f"--speed {world.speed:g}: give a number above 0 and up to {_MOST_SPEED:g}.")
    zones = tuple(zone.strip() for zone in world.zones.split(",") if zone.strip())
    if not zones:
        raise ConfigError("--zones: give at least one name, such as az1.")
    quota = _read("--quota", world.quota, QuotaType())
    submits, looks, rates = _faults(world.faults, zones)
    return CloudConfig(
        seed=world.seed,
        servers=world.servers,
        zones=zones,
        restart_median=_duration("--restart-time", world.restart_time),
        parent_lag=8.0,
        latency=_duration("--latency", world.latency),
        quota_limit=quota.limit,
        quota_window=quota.window,
        locked=_share("--locked", world.locked),
        shutoff=_share("--shutoff", world.shutoff),
        submit_faults=submits,
        look_faults=looks,
        **rates,
    )


def exports(running: Running) -> dict[str, str]:
    """Return the variables that point ecsbatch at a simulated cloud."""
    config = running.cloud.config
    return {
        "HUAWEICLOUD_SDK_AK": config.access_key,
        "HUAWEICLOUD_SDK_SK": config.secret_key,
        "HUAWEICLOUD_SDK_PROJECT_ID": config.project_id,
        "ECSBATCH_ENDPOINT": running.url,
    }


async def _serve(config: CloudConfig, speed: float, port: int, ids: Path | None, *, as_json: bool) -> None:
    from ecsbatch.simulator.server import serve  # noqa: PLC0415 - imported when used

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    try:
        async with serve(config, port=port, speed=speed) as running:
            if ids is not None:
                _write_ids(ids, running)
            _introduce(running, ids, as_json=as_json)
            await stop.wait()
            audit = running.audit()
    except OSError as e:
        raise ConfigError(f"--port {port} cannot be listened at ({e.strerror}): give another, or 0.") from e
    if as_json:
        sys.stdout.write(json_bytes(audit).decode() + "\n")
    else:
        print_lines(verdict_lines(audit, several_runs=True), to_stdout=True)


def _introduce(running: Running, ids: Path | None, *, as_json: bool) -> None:
    variables = exports(running)
    if as_json:
        sys.stdout.write(json_bytes({"url": running.url, "environment": variables}).decode() + "\n")
        sys.stdout.flush()
        return
    window = format_duration(max(round(running.cloud.config.quota_window / running.speed, 3), 1.0))
    quota = f"{running.cloud.config.quota_limit}/{window}"
    restart = format_duration(max(round(running.cloud.config.restart_median / running.speed, 1), 1.0))
    servers = running.cloud.config.servers
    print_lines(
        [
            f"A simulated cloud of {servers:,} servers at {running.url}.",
            f"Its time runs {running.speed:g} times as fast as the real one. Ctrl-C ends it.",
            "",
            "In another terminal:",
            *(f"  export {name}={value}" for name, value in variables.items()),
            *([] if ids else [f"  curl -s '{running.url}/_simulator/ids?format=csv' > fleet.csv"]),
            f"  ecsbatch restart {ids or 'fleet.csv'} --quota {quota} --typical-restart {restart}",
            "",
        ],
        to_stdout=True,
    )


def _write_ids(path: Path, running: Running) -> None:
    fleet = running.cloud.fleet
    rows = running.cloud.ids()
    text = "".join(f"{one}\n" for one in rows)
    if path.suffix == ".csv":
        places = ((one, fleet.numbers[one]) for one in rows)
        text = "id,az,name\n" + "".join(f"{one},{fleet.zone(n)},{fleet.name(n)}\n" for one, n in places)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise ConfigError(unwritable(f"--ids {path}", e)) from e


def _faults(text: str, zones: Sequence[str]) -> tuple[Any, Any, dict[str, Any]]:
    """Read ``--faults`` into those of submits, those of looks, and rates of restarts, everywhere or in one zone."""
    from ecsbatch.simulator.config import Faults  # noqa: PLC0415 - imported when used

    known = {each.name for each in fields_of(Faults) if isinstance(each.default, float)} - {"late_max", "slow_by"}
    submits: dict[str, Any] = {}
    looks: dict[str, Any] = {}
    rates: dict[str, Any] = {}
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        name, _, amount = part.partition("=")
        share = _percent(part, amount)
        plain = name.removeprefix("look.")
        plain = "reset_after" if plain == "reset" else plain
        kind, at, zone = name.partition("@")
        if kind in _OF_RESTARTS and at:
            rates.setdefault(f"{kind}_zones", {})[_zone(part, zone, zones)] = share
        elif name in _OF_RESTARTS:
            rates[f"{name}_rate"] = share
        elif plain not in known:
            raise ConfigError(f"--faults {part}: there is no misfortune {plain}; see ecsbatch simulate --help.")
        else:
            (looks if name.startswith("look.") else submits)[plain] = share
    for shares in (submits, looks):
        if sum(shares.values()) > 1:
            raise ConfigError(f"--faults {text}: they come to more than 100%.")
    return Faults(**submits), Faults(**looks), rates


def _zone(said: str, zone: str, zones: Sequence[str]) -> str:
    if zone not in zones:
        raise ConfigError(f"--faults {said}: there is no zone {zone}; there are {', '.join(zones)}.")
    return zone


def _percent(said: str, text: str) -> float:
    share = _share(f"--faults {said}", text)
    if isinstance(share, int) and share:
        raise ConfigError(f"--faults {said}: give a percentage, such as 5%.")
    return float(share)


def _share(flag: str, text: str) -> float:
    """Read a count (int) or a percentage (float)."""
    try:
        amount = Amount.parse(text)
    except ValueError as e:
        raise ConfigError(f"{flag} {text}: give {e}.") from None
    return amount.count if amount.count is not None else float(amount.percent or 0) / 100


def _duration(flag: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as e:
        raise ConfigError(f"{flag} {text}: give {e}.") from None


def _read(flag: str, text: str, kind: QuotaType) -> Any:
    try:
        return kind.read(text)
    except ValueError as e:
        raise ConfigError(f"{flag} {text}: give {e}.") from None
