"""Dimensions of the cloud and of what is beside it: what its looks show, other people, their code, a second site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.fleet import server_ids

from .changes import at_most_one, each_life, fleet_of, some, soon, troubled
from .troubles import CloudTroubles, Outsider
from .world import Ask, Life, World

OTHER_PROJECT: Final = "0a0b0c0d0e0f40008000000000000002"


# -- what the cloud shows ----------------------------------------------------------------------------------------------


def slow_looks(world: World, chance: Random) -> World:
    """Answer looks late, while requests that were given up begin as late as the one assumption allows."""
    if chance.random() < 0.7:
        faults, spare = world.cloud.submit_faults, 0.9 * world.longest
        faults = replace(faults, late_execution=chance.choice((0.2, 0.4)), late_max=faults.late_max + spare)
        world = replace(world, request_timeout=30.0)
        cloud = replace(world.cloud, submit_faults=at_most_one(faults), latency=min(world.cloud.latency, 0.2))
        world = replace(world, cloud=cloud, longest=world.longest - spare)
    rate = chance.choice((0.1, 0.3, 0.6))
    return troubled(world, slow_looks=rate, slowest=world.request_timeout * chance.choice((0.3, 0.95)))


def hidden(world: World, chance: Random) -> World:
    """Let a server or a job never be shown; a cloud of one server that is not shown is an outage."""
    status = chance.choice((500, 400))
    fleet = fleet_of(world)
    if chance.random() < 0.5 and len(fleet) > 1:
        return troubled(world, hidden=frozenset((chance.choice(fleet),)), hidden_status=status)
    return troubled(world, hidden_job=chance.randint(1, 3), hidden_status=status)


def holes(world: World, chance: Random) -> World:
    if chance.random() < 0.4:
        return troubled(world, left_out=frozenset((chance.choice(fleet_of(world)),)))
    return troubled(world, holes=chance.choice((0.02, 0.1, 0.3)))


def no_updated(world: World, chance: Random) -> World:
    fleet = fleet_of(world)
    rows = fleet if chance.random() < 0.5 else some(chance, fleet, len(fleet))
    return troubled(world, no_updated=frozenset(rows))


# -- other people ------------------------------------------------------------------------------------------------------


def others_restarts(world: World, chance: Random) -> World:
    fleet = fleet_of(world)
    visits = [
        Outsider(soon(chance, 150.0), server, round(chance.uniform(5.0, 60.0), 2), hard=chance.random() < 0.3)
        for server in some(chance, fleet, max(2, len(fleet) // 4))
    ]
    if chance.random() < 0.6:
        few = chance.choice((2, 3, "10%"))
        world = replace(world, strategy=replace(world.strategy, precheck=True, max_unavailable=few))
    return troubled(world, outsiders=(*world.troubles.cloud.outsiders, *visits))


def healing(world: World, chance: Random) -> World:
    """Let restarts break servers, and others repair them while the run goes on or is down."""
    cloud = replace(
        world.cloud,
        fail_rate=max(world.cloud.fail_rate, chance.choice((0.1, 0.3))),
        fail_to_error=chance.choice((0.7, 1.0)),
        stuck_rate=max(world.cloud.stuck_rate, chance.choice((0.0, 0.05))),
        unhealthy_rate=0.0 if world.check_delay is None else max(world.cloud.unhealthy_rate, 0.15),
    )
    repairs = [Outsider(soon(chance, 200.0), server, repairs=True) for server in fleet_of(world)]
    world = replace(world, cloud=cloud, strategy=replace(world.strategy, max_failures="100%"))
    heals = chance.choice((10.0, 60.0, 300.0))
    return troubled(world, heals=heals, outsiders=(*world.troubles.cloud.outsiders, *repairs))


def foreign_code(world: World, chance: Random) -> World:
    """Give the world a gate, and a check to most."""
    gates = chance.choice((0.0, 0.2, 0.5)) if chance.random() < 0.7 else None
    check_delay = world.check_delay
    if check_delay is None and chance.random() < 0.7:
        check_delay = chance.choice((0.0, 0.5))
    strategy = replace(
        world.strategy,
        waves=chance.choice(("1,100%", "1,10%,30%", "25%", "2,domain")) if gates is not None else world.strategy.waves,
        gate_timeout=chance.choice((20.0, 60.0, 600.0)),
    )
    troubles = replace(world.troubles, gates=gates, checks=chance.choice((0.05, 0.2)))
    return replace(world, check_delay=check_delay, strategy=strategy, troubles=troubles)


# -- two sites ---------------------------------------------------------------------------------------------------------


def two_sites(world: World, chance: Random) -> World:
    """Add a second site with servers of its own to every run, and let it fail for a while."""
    size = chance.randint(1, max(2, world.cloud.servers))
    begin = chance.choice((0.0, soon(chance)))
    span = (begin, begin + chance.choice((20.0, 100.0, 500.0)))
    kind = chance.choice(("outage", "auth", "calm"))
    elsewhere = replace(
        world.cloud,
        seed=world.cloud.seed + 1_000_003,
        project_id=OTHER_PROJECT,
        servers=size,
        locked=0,
        shutoff=0,
        error=0,
        outages=(span,) if kind == "outage" else (),
        blackholes=(),
    )
    servers = [(server, elsewhere.zones[number % len(elsewhere.zones)]) for number, server in numbered(elsewhere)]
    runs = list(world.runs)
    for number, run in enumerate(runs):
        mixed = [*run.servers, *servers[number :: len(runs)]]
        chance.shuffle(mixed)
        runs[number] = replace(run, servers=tuple(mixed))
    troubles = replace(world.troubles, elsewhere=CloudTroubles(denials=(span,) if kind == "auth" else ()))
    world = replace(world, runs=tuple(runs), elsewhere=elsewhere, troubles=troubles)
    free = [
        *chance.sample([server for server, _ in servers], 1 + size // 5),
        *some(chance, fleet_of(world), 1 + size // 5),
    ]
    world = each_life(world, lambda life: asking(world, chance, life, [server for server, _ in servers] + free))
    return asking_around(world, chance, begin, free)


def asking_around(world: World, chance: Random, begin: float, servers: Sequence[str]) -> World:
    """Let patient callers of both sites, whose servers no run has, wait at the instant at which one begins to fail."""
    first, *later = world.lives
    asks = tuple(
        Ask(max(0.0, begin + chance.uniform(-4.0, 8.0)), chance.randrange(world.processes), server, None)
        for server in servers
    )
    runs = tuple(
        replace(run, servers=tuple(one for one in run.servers if one[0] not in servers) or run.servers)
        for run in world.runs
    )
    return replace(world, lives=(replace(first, asks=(*first.asks, *asks)), *later), runs=runs)


def numbered(cloud: CloudConfig) -> Sequence[tuple[int, str]]:
    return list(enumerate(server_ids(cloud.seed, cloud.servers)))


def asking(world: World, chance: Random, life: Life, servers: Sequence[str]) -> Life:
    asks = tuple(
        Ask(
            at=soon(chance),
            process=chance.randrange(world.processes),
            server=chance.choice(servers),
            patience=chance.choice((None, None, 0.3, 3.0, 30.0)),
        )
        for _ in range(chance.randint(1, 8))
    )
    return replace(life, asks=(*life.asks, *asks))
