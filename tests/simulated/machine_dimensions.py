"""Dimensions of the machine and of those who use it: its processes, disk and clock, commands and callers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any, Final

from ecsbatch.model.quota import Quota

from .changes import KINDS, at_most_one, each_life, ending, fleet_of, some, soon
from .troubles import Freeze
from .world import Ask, Asking, Doom, DoomKind, Life, World

DAY: Final = 86_400.0


# -- the process and its disk ------------------------------------------------------------------------------------------


def late_store(world: World, chance: Random) -> World:
    """Let the store tell late; now and then a run is ended early, while some of its words are on their way."""
    latest = tuple(chance.choice((0.05, 0.2, 0.5, 0.5)) for _ in range(2))
    world = replace(world, troubles=replace(world.troubles, latest=latest))
    kinds: tuple[DoomKind, ...] = ("none", "none", "none", "stop", "cancel", "cancel", "close")
    if chance.random() < 0.1:
        return world
    kind = chance.choice(kinds)
    if chance.random() < 0.6:
        world = busy(world)
    at = round(8.0 ** chance.uniform(-0.5, 1.0), 3)
    if kind == "none":
        word = Asking(at, chance.choice(world.runs).run_id, {"command": "abort"})
        return each_life(world, lambda life: replace(life, commands=(*life.commands, word)))
    return ending(world, Doom(kind, at=at, process=chance.randrange(world.processes), gap=5.0), chance)


def busy(world: World) -> World:
    """Let one request after another be sent from the start on."""
    strategy = replace(world.strategy, batch_size=1, waves="100%", max_unavailable="100%")
    return replace(world, strategy=strategy, engine=replace(world.engine, linger=0.0))


def failing_store(world: World, chance: Random) -> World:
    def change(life: Life) -> Life:
        if chance.random() < 0.5:
            return replace(life, unreadable=chance.randint(4, 60))
        return replace(life, failing_write=round(80 ** chance.uniform(0.3, 1.0)))

    return each_life(world, change)


def frozen(world: World, chance: Random) -> World:
    """Freeze processes; most damage is done where two share a short quota and one stands still behind its grant."""
    if world.processes == 1 and chance.random() < 0.5:
        world = shared(world, chance)
    if world.processes == 2 and world.cloud.quota_limit is None and chance.random() < 0.5:
        limit = max(1, world.cloud.servers // chance.choice((4, 10)))
        engine = replace(world.engine, quota=Quota(limit, 10.0), burst=None)
        strategy = replace(world.strategy, waves="100%", max_unavailable="100%")
        world = replace(world, engine=engine, cloud=replace(world.cloud, quota_window=10.0), strategy=strategy)
    return each_life(world, lambda life: replace(life, freezes=(*life.freezes, *freezes(world, chance))))


def freezes(world: World, chance: Random) -> Iterator[Freeze]:
    engine = world.engine
    held = engine.quota.window + engine.unknown_grace + world.request_timeout + 5.0
    for _ in range(chance.randint(1, 4)):
        seconds = chance.choice((chance.uniform(1.0, 200.0), held + chance.uniform(0.0, 15.0)))
        process = chance.randrange(world.processes)
        if chance.random() < 0.5:
            yield Freeze(process, seconds, write=round(50 ** chance.random()))
        else:
            yield Freeze(process, seconds, step=1 + round(chance.choice((60, 400, 2500)) ** chance.random()))


def shared(world: World, chance: Random) -> World:
    """Let the second of two runs be driven by a second process; one run alone is split in two."""
    runs = world.runs
    if len(runs) == 1 and len(runs[0].servers) > 1:
        whole = runs[0]
        cut = chance.randint(1, len(whole.servers) - 1)
        second = replace(
            whole, run_id=f"{whole.run_id[:-1]}b", servers=whole.servers[cut:], start=chance.choice((0.0, 2.0))
        )
        runs = (replace(whole, servers=whole.servers[:cut]), second)
    if len(runs) > 1:
        runs = (runs[0], replace(runs[1], process=1))
    return replace(world, runs=runs, processes=2)


def wall_clock(world: World, chance: Random) -> World:
    """Set the wall clock forth and back; where signatures are looked at, by little."""
    farthest = 60.0 if world.cloud.check_auth else chance.choice((2.0, 150.0, 5000.0))

    def change(life: Life) -> Life:
        jumps: list[tuple[float, float]] = []
        for _ in range(chance.randint(1, 3)):
            at, by = soon(chance, 120.0), chance.uniform(-farthest, farthest)
            jumps += [
                (at, by),
                (at + chance.choice((0.5, 10.0, 100.0)) * chance.random(), -by * chance.uniform(0.9, 1.1)),
            ]
        return replace(life, jumps=(*life.jumps, *jumps))

    return each_life(world, change)


# -- commands --------------------------------------------------------------------------------------------------------


def left_out(world: World, chance: Random) -> World:
    """Leave zones out, at resumes and in mid-run, while requests for their servers may not have been carried out."""
    if chance.random() < 0.6:
        faults = replace(world.cloud.submit_faults, silent=0.15, reset_before=0.15, reject_503=0.1)
        world = replace(world, cloud=replace(world.cloud, submit_faults=at_most_one(faults)))
    zones = sorted({zone for run in world.runs for _, zone in run.servers})

    def change(life: Life) -> Life:
        left = (chance.choice(zones),) if chance.random() < 0.6 else ()
        retry = tuple(chance.sample(KINDS, chance.randint(1, 3))) if chance.random() < 0.4 else life.retry
        commands: tuple[Asking, ...] = ()
        if chance.random() < 0.5:
            run, at = chance.choice(world.runs), soon(chance)
            run_id, here = run.run_id, sorted({zone for _, zone in run.servers})
            word: dict[str, Any] = {"command": "resume", "skip_domains": [chance.choice(here)]}
            if chance.random() < 0.4:
                word["retry"] = chance.sample(KINDS, chance.randint(1, 3))
            commands = (Asking(at, run_id, {"command": "pause"}), Asking(at + chance.choice((0.6, 5.0)), run_id, word))
        return replace(life, skip_domains=left, retry=retry, commands=(*life.commands, *commands))

    return each_life(world, change)


def quick_words(world: World, chance: Random) -> World:
    """Say two things within half a second, the first perhaps on its way to the disk, and something else later."""
    if chance.random() < 0.7 and not world.troubles.latest:
        latest = (chance.choice((0.2, 0.5)), chance.choice((0.2, 0.5)))
        world = replace(world, troubles=replace(world.troubles, latest=latest))
    return each_life(world, lambda life: replace(life, commands=(*life.commands, *words(world, chance))))


def words(world: World, chance: Random) -> Iterator[Asking]:
    run_id, at = chance.choice(world.runs).run_id, soon(chance)
    if chance.random() < 0.5:
        yield Asking(at, run_id, {"command": "pause"})
        at += chance.uniform(1.2, 4.0)
    for word in chance.choice((("pause", "resume"), ("resume", "pause"), ("pause", "resume", "pause"))):
        yield Asking(round(at, 3), run_id, {"command": word})
        at += chance.choice((0.1, 0.5)) * chance.random()
    if chance.random() < 0.3:
        limits = {"max_unavailable": chance.choice((1, 3, "50%"))}
        yield Asking(at, run_id, {"command": "adjust", "limits": limits})
    yield Asking(at + chance.choice((5.0, 30.0, 90.0)), run_id, {"command": "resume"})


def abort_and_die(world: World, chance: Random) -> World:
    """Abort in the half second before the holder ends, by a kill or by a stop."""
    at = 0.5 + soon(chance)
    word = Asking(at - chance.uniform(0.0, 0.5), chance.choice(world.runs).run_id, {"command": "abort"})
    doom = Doom(chance.choice(("instant", "instant", "stop")), at=at, gap=chance.choice((0.1, 5.0, 70.0)))
    return ending(world, doom, chance, commands=(word,))


# -- asks --------------------------------------------------------------------------------------------------------------


def as_service(world: World, chance: Random) -> World:
    """Let processes be services: what one has begun and left goes on with the next, paused or not."""
    if chance.random() < 0.5:
        word = Asking(soon(chance), chance.choice(world.runs).run_id, {"command": "pause"})
        world = each_life(world, lambda life: replace(life, commands=(*life.commands, word)))
    if chance.random() < 0.7:
        doom = Doom(
            chance.choice(("instant", "close", "cancel")), at=0.1 + soon(chance), gap=chance.choice((0.1, 70.0))
        )
        world = ending(world, doom, chance)
    return replace(world, as_service=True)


def named(world: World, _: Random) -> World:
    """Let services give servers by their names."""
    return replace(world, as_service=True, named=True)


def overlap(world: World, chance: Random) -> World:
    """Let callers of a second process ask for servers that a run of the first has or will have."""
    world = replace(world, processes=2)
    ids = [server for run in world.runs for server, _ in run.servers]

    def change(life: Life) -> Life:
        asks = tuple(
            Ask(soon(chance, 30.0), chance.choice((0, 1, 1, 1)), chance.choice(ids), chance.choice((None, 1.0, 20.0)))
            for _ in range(chance.randint(2, 10))
        )
        return replace(life, asks=(*life.asks, *asks))

    return each_life(world, change)


def gives_up(world: World, chance: Random) -> World:
    """Let callers give up within seconds, many before anything was sent."""
    limit = world.engine.quota.limit
    quota = Quota(max(1, limit // 4), world.engine.quota.window) if world.cloud.quota_limit is None else None
    if quota is not None:
        world = replace(world, engine=replace(world.engine, quota=quota, burst=None))

    def change(life: Life) -> Life:
        asks = tuple(
            Ask(soon(chance), chance.randrange(world.processes), server, chance.choice((0.0, 0.1, 0.6, 3.0, 3.0, None)))
            for server in some(chance, fleet_of(world), 10)
        )
        return replace(life, asks=(*life.asks, *asks))

    return each_life(world, change)


def days(world: World, chance: Random) -> World:
    """Let callers come back on other days; the machine sleeps in between."""
    *before, last = world.lives
    ids = fleet_of(world)
    asks: list[Ask] = []
    freezes: list[Freeze] = []
    for day in range(chance.randint(2, 4)):
        begin = day * DAY
        for _ in range(chance.randint(1, 4)):
            process = chance.randrange(world.processes)
            patience = chance.choice((None, 0.2, 3.0, 60.0))
            asks.append(Ask(begin + soon(chance, 200.0), process, chance.choice(ids), patience))
        freezes += [Freeze(process, DAY - 1300.0, at=begin + 1200.0) for process in range(world.processes)]
    faults = replace(world.cloud.submit_faults, silent=0.2, reset_before=0.2, reject_503=0.1)
    world = replace(world, cloud=replace(world.cloud, submit_faults=at_most_one(faults)))
    return replace(world, lives=(*before, replace(last, asks=(*last.asks, *asks), freezes=(*last.freezes, *freezes))))


# -- more of what there was --------------------------------------------------------------------------------------------


def soak(world: World, chance: Random) -> World:
    waves = chance.choice(("1,100%", "1,10%,30%", "25%", "2,domain"))
    return replace(world, strategy=replace(world.strategy, soak=chance.choice((3.0, 20.0, 90.0)), waves=waves))


def long_blackhole(world: World, chance: Random) -> World:
    """Let nothing be seen for longer than a server may take."""
    begin = soon(chance)
    span = (begin, begin + world.strategy.server_timeout * chance.uniform(1.1, 1.8))
    cloud = replace(world.cloud, blackholes=(*world.cloud.blackholes, span))
    return replace(world, cloud=cloud, engine=replace(world.engine, blind_timeout=300.0))


def slow_tokens(world: World, chance: Random) -> World:
    """Let tokens take a minute, so that looks from before the wait are old."""
    if world.cloud.quota_limit is not None:
        return world
    quota = Quota(max(1, world.cloud.servers // chance.choice((2, 4, 6))), 60.0)
    engine = replace(world.engine, quota=quota, burst=None)
    cloud = replace(world.cloud, quota_window=60.0)
    strategy = replace(world.strategy, precheck=True, waves="100%", max_unavailable="100%")
    return replace(world, engine=engine, cloud=cloud, strategy=strategy)


def lost_requests(world: World, chance: Random) -> World:
    """Lose most requests over at least three lives."""
    faults = replace(world.cloud.submit_faults, silent=0.3, reset_before=0.3, lost_reply=0.05)
    lives = list(world.lives)
    while len(lives) < 3:
        doom = Doom("instant", at=chance.uniform(1.0, 3.0) * world.engine.unknown_grace, gap=chance.choice((0.1, 5.0)))
        lives.insert(0, replace(lives[-1], doom=doom))
    strategy = replace(world.strategy, on_unknown="verify")
    cloud = replace(world.cloud, submit_faults=at_most_one(faults))
    return replace(world, cloud=cloud, lives=tuple(lives), strategy=strategy)
