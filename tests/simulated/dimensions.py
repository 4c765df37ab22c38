"""What the worlds had not in them: each dimension is drawn from a chance of its own and laid on top of the old world.

So `old` plays a seed exactly as ever, whatever is added here, and a dimension's name alone plays it with nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final

from ecsbatch.models import Quota
from ecsbatch.simulator.cloud_config import CloudConfig, Faults
from ecsbatch.simulator.fleet import server_ids

from .troubles import CloudTroubles, Freeze, Outsider
from .world import Ask, Doom, DoomKind, Life, Order, World
from .world import draw as draw_old

OTHER_PROJECT: Final = "0a0b0c0d0e0f40008000000000000002"
DAY: Final = 86_400.0
KINDS: Final = ("failed", "timed_out", "unknown")


def draw(seed: int, dimensions: str = "new") -> World:
    """Draw the world of a seed.

    Args:
        seed: names the world.
        dimensions: ``old``, ``new`` (each of the new ones where the seed has it), or names with commas between: these
            alone, in every seed.
    """
    world = draw_old(seed)
    if dimensions == "old":
        return world
    wanted = DIMENSIONS if dimensions == "new" else dimensions.split(",")
    has: list[str] = []
    for name in wanted:
        likely, add = DIMENSIONS[name]
        chance = Random(f"{name}-{seed}")
        if chance.random() < likely or dimensions != "new":
            world = add(world, chance)
            has.append(name)
    return replace(world, dimensions=dimensions, has=tuple(has))


# -- small steps -------------------------------------------------------------------------------------------------------


def _each_life(world: World, change: Callable[[Life], Life]) -> World:
    return replace(world, lives=tuple(change(life) for life in world.lives))


def _ending(world: World, doom: Doom, chance: Random, **more: Any) -> World:
    """Let one of the lives end by this, and another follow it."""
    lives = list(world.lives)
    number = chance.randrange(len(lives))
    if number == len(lives) - 1:
        lives.append(lives[-1])
    lives[number] = replace(lives[number], doom=doom, **more)
    return replace(world, lives=tuple(lives))


def _troubled(world: World, **changes: Any) -> World:
    """Add to the troubles of the first site's cloud."""
    return replace(world, troubles=replace(world.troubles, cloud=replace(world.troubles.cloud, **changes)))


def _soon(chance: Random, longest: float = 60.0) -> float:
    """Draw an instant; the first seconds of a life are where most is begun."""
    return round(chance.choice((3.0, 15.0, longest)) * chance.random(), 3)


def _fleet(world: World) -> list[str]:
    return server_ids(world.cloud.seed, world.cloud.servers)


def _some(chance: Random, of: Sequence[str], most: int) -> list[str]:
    return chance.sample(of, min(len(of), chance.randint(1, most)))


# -- the process and its disk ------------------------------------------------------------------------------------------


def _late_store(world: World, chance: Random) -> World:
    """Let the store tell late; now and then a run is ended early, while some of its words are on their way."""
    latest = tuple(chance.choice((0.05, 0.2, 0.5, 0.5)) for _ in range(2))
    world = replace(world, troubles=replace(world.troubles, latest=latest))
    kinds: tuple[DoomKind, ...] = ("none", "none", "none", "stop", "cancel", "cancel", "close")
    if chance.random() < 0.1:
        return world
    kind = chance.choice(kinds)
    if chance.random() < 0.6:
        world = _busy(world)
    at = round(8.0 ** chance.uniform(-0.5, 1.0), 3)
    if kind == "none":
        word = Order(at, chance.choice(world.runs).run_id, {"command": "abort"})
        return _each_life(world, lambda life: replace(life, commands=(*life.commands, word)))
    return _ending(world, Doom(kind, at=at, process=chance.randrange(world.processes), gap=5.0), chance)


def _busy(world: World) -> World:
    """Let one request after another be sent from the start on."""
    strategy = replace(world.strategy, batch_size=1, waves="100%", max_unavailable="100%")
    return replace(world, strategy=strategy, engine=replace(world.engine, linger=0.0))


def _failing_store(world: World, chance: Random) -> World:
    def change(life: Life) -> Life:
        if chance.random() < 0.5:
            return replace(life, unreadable=chance.randint(4, 60))
        return replace(life, failing_write=round(80 ** chance.uniform(0.3, 1.0)))

    return _each_life(world, change)


def _frozen(world: World, chance: Random) -> World:
    """Freeze processes; most damage is done where two share a short quota and one stands still behind its grant."""
    if world.processes == 1 and chance.random() < 0.5:
        world = _shared(world, chance)
    if world.processes == 2 and world.cloud.quota_limit is None and chance.random() < 0.5:
        limit = max(1, world.cloud.servers // chance.choice((4, 10)))
        engine = replace(world.engine, quota=Quota(limit, 10.0), burst=None)
        strategy = replace(world.strategy, waves="100%", max_unavailable="100%")
        world = replace(world, engine=engine, cloud=replace(world.cloud, quota_window=10.0), strategy=strategy)
    return _each_life(world, lambda life: replace(life, freezes=(*life.freezes, *_freezes(world, chance))))


def _freezes(world: World, chance: Random) -> Iterator[Freeze]:
    engine = world.engine
    held = engine.quota.window + engine.unknown_grace + engine.request_timeout + 5.0
    for _ in range(chance.randint(1, 4)):
        seconds = chance.choice((chance.uniform(1.0, 200.0), held + chance.uniform(0.0, 15.0)))
        process = chance.randrange(world.processes)
        if chance.random() < 0.5:
            yield Freeze(process, seconds, write=round(50 ** chance.random()))
        else:
            yield Freeze(process, seconds, step=1 + round(chance.choice((60, 400, 2500)) ** chance.random()))


def _shared(world: World, chance: Random) -> World:
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


def _wall_clock(world: World, chance: Random) -> World:
    """Set the wall clock forth and back; where signatures are looked at, by little."""
    farthest = 60.0 if world.cloud.check_auth else chance.choice((2.0, 150.0, 5000.0))

    def change(life: Life) -> Life:
        jumps: list[tuple[float, float]] = []
        for _ in range(chance.randint(1, 3)):
            at, by = _soon(chance, 120.0), chance.uniform(-farthest, farthest)
            jumps += [
                (at, by),
                (at + chance.choice((0.5, 10.0, 100.0)) * chance.random(), -by * chance.uniform(0.9, 1.1)),
            ]
        return replace(life, jumps=(*life.jumps, *jumps))

    return _each_life(world, change)


# -- what the cloud shows ----------------------------------------------------------------------------------------------


def _slow_looks(world: World, chance: Random) -> World:
    """Answer looks late, while requests that were given up begin as late as the one assumption allows."""
    if chance.random() < 0.7:
        faults, spare = world.cloud.submit_faults, 0.9 * world.longest
        faults = replace(faults, late_execution=chance.choice((0.2, 0.4)), late_max=faults.late_max + spare)
        world = replace(world, engine=replace(world.engine, request_timeout=30.0))
        cloud = replace(world.cloud, submit_faults=_at_most_one(faults), latency=min(world.cloud.latency, 0.2))
        world = replace(world, cloud=cloud, longest=world.longest - spare)
    rate = chance.choice((0.1, 0.3, 0.6))
    return _troubled(world, slow_looks=rate, slowest=world.engine.request_timeout * chance.choice((0.3, 0.95)))


def _hidden(world: World, chance: Random) -> World:
    status = chance.choice((500, 400))
    if chance.random() < 0.5:
        return _troubled(world, hidden=frozenset((chance.choice(_fleet(world)),)), hidden_status=status)
    return _troubled(world, hidden_job=chance.randint(1, 3), hidden_status=status)


def _holes(world: World, chance: Random) -> World:
    if chance.random() < 0.4:
        return _troubled(world, left_out=frozenset((chance.choice(_fleet(world)),)))
    return _troubled(world, holes=chance.choice((0.02, 0.1, 0.3)))


def _no_updated(world: World, chance: Random) -> World:
    fleet = _fleet(world)
    rows = fleet if chance.random() < 0.5 else _some(chance, fleet, len(fleet))
    return _troubled(world, no_updated=frozenset(rows))


# -- other people ------------------------------------------------------------------------------------------------------


def _others_restarts(world: World, chance: Random) -> World:
    fleet = _fleet(world)
    visits = [
        Outsider(_soon(chance, 150.0), server, round(chance.uniform(5.0, 60.0), 2), hard=chance.random() < 0.3)
        for server in _some(chance, fleet, max(2, len(fleet) // 4))
    ]
    return _troubled(world, outsiders=(*world.troubles.cloud.outsiders, *visits))


def _healing(world: World, chance: Random) -> World:
    """Let restarts break servers, and others repair them while the run goes on or is down."""
    cloud = replace(
        world.cloud,
        fail_rate=max(world.cloud.fail_rate, chance.choice((0.1, 0.3))),
        fail_to_error=chance.choice((0.7, 1.0)),
        stuck_rate=max(world.cloud.stuck_rate, chance.choice((0.0, 0.05))),
        unhealthy_rate=0.0 if world.check_delay is None else max(world.cloud.unhealthy_rate, 0.15),
    )
    repairs = [Outsider(_soon(chance, 200.0), server, repairs=True) for server in _fleet(world)]
    world = replace(world, cloud=cloud, strategy=replace(world.strategy, max_failures="100%"))
    heals = chance.choice((10.0, 60.0, 300.0))
    return _troubled(world, heals=heals, outsiders=(*world.troubles.cloud.outsiders, *repairs))


def _left_out(world: World, chance: Random) -> World:
    """Leave zones out, at resumes and in mid-run, while requests for their servers may not have been carried out."""
    if chance.random() < 0.6:
        faults = replace(world.cloud.submit_faults, silent=0.15, reset_before=0.15, reject_503=0.1)
        world = replace(world, cloud=replace(world.cloud, submit_faults=_at_most_one(faults)))
    zones = sorted({zone for run in world.runs for _, zone in run.servers})

    def change(life: Life) -> Life:
        left = (chance.choice(zones),) if chance.random() < 0.6 else ()
        retry = tuple(chance.sample(KINDS, chance.randint(1, 3))) if chance.random() < 0.4 else life.retry
        commands: tuple[Order, ...] = ()
        if chance.random() < 0.5:
            run, at = chance.choice(world.runs), _soon(chance)
            run_id, here = run.run_id, sorted({zone for _, zone in run.servers})
            word: dict[str, Any] = {"command": "resume", "skip_domains": [chance.choice(here)]}
            if chance.random() < 0.4:
                word["retry"] = chance.sample(KINDS, chance.randint(1, 3))
            commands = (Order(at, run_id, {"command": "pause"}), Order(at + chance.choice((0.6, 5.0)), run_id, word))
        return replace(life, skip_domains=left, retry=retry, commands=(*life.commands, *commands))

    return _each_life(world, change)


def _quick_words(world: World, chance: Random) -> World:
    """Say two things within half a second, the first perhaps on its way to the disk, and something else later."""
    if chance.random() < 0.7 and not world.troubles.latest:
        latest = (chance.choice((0.2, 0.5)), chance.choice((0.2, 0.5)))
        world = replace(world, troubles=replace(world.troubles, latest=latest))
    return _each_life(world, lambda life: replace(life, commands=(*life.commands, *_words(world, chance))))


def _words(world: World, chance: Random) -> Iterator[Order]:
    run_id, at = chance.choice(world.runs).run_id, _soon(chance)
    if chance.random() < 0.5:
        yield Order(at, run_id, {"command": "pause"})
        at += chance.uniform(1.2, 4.0)
    for word in chance.choice((("pause", "resume"), ("resume", "pause"), ("pause", "resume", "pause"))):
        yield Order(round(at, 3), run_id, {"command": word})
        at += chance.choice((0.1, 0.5)) * chance.random()
    if chance.random() < 0.3:
        limits = {"max_unavailable": chance.choice((1, 3, "50%"))}
        yield Order(at, run_id, {"command": "adjust", "limits": limits})
    yield Order(at + chance.choice((5.0, 30.0, 90.0)), run_id, {"command": "resume"})


def _abort_and_die(world: World, chance: Random) -> World:
    """Abort in the half second before the holder ends, by a kill or by a stop."""
    at = 0.5 + _soon(chance)
    word = Order(at - chance.uniform(0.0, 0.5), chance.choice(world.runs).run_id, {"command": "abort"})
    doom = Doom(chance.choice(("instant", "instant", "stop")), at=at, gap=chance.choice((0.1, 5.0, 70.0)))
    return _ending(world, doom, chance, commands=(word,))


def _foreign_code(world: World, chance: Random) -> World:
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


def _two_sites(world: World, chance: Random) -> World:
    """Add a second site with servers of its own to every run, and let it fail for a while."""
    size = chance.randint(1, max(2, world.cloud.servers))
    begin = chance.choice((0.0, _soon(chance)))
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
    servers = [(server, elsewhere.zones[number % len(elsewhere.zones)]) for number, server in _numbered(elsewhere)]
    runs = list(world.runs)
    for number, run in enumerate(runs):
        mixed = [*run.servers, *servers[number :: len(runs)]]
        chance.shuffle(mixed)
        runs[number] = replace(run, servers=tuple(mixed))
    troubles = replace(world.troubles, elsewhere=CloudTroubles(denials=(span,) if kind == "auth" else ()))
    world = replace(world, runs=tuple(runs), elsewhere=elsewhere, troubles=troubles)
    ids = [server for server, _ in servers]
    return _each_life(world, lambda life: _asking(world, chance, life, ids + _fleet(world)))


def _numbered(cloud: CloudConfig) -> Sequence[tuple[int, str]]:
    return list(enumerate(server_ids(cloud.seed, cloud.servers)))


def _asking(world: World, chance: Random, life: Life, servers: Sequence[str]) -> Life:
    asks = tuple(
        Ask(
            at=_soon(chance),
            process=chance.randrange(world.processes),
            server=chance.choice(servers),
            patience=chance.choice((None, None, 0.3, 3.0, 30.0)),
        )
        for _ in range(chance.randint(1, 8))
    )
    return replace(life, asks=(*life.asks, *asks))


# -- asks --------------------------------------------------------------------------------------------------------------


def _overlap(world: World, chance: Random) -> World:
    """Let callers of a second process ask for servers that a run of the first has or will have."""
    world = replace(world, processes=2)
    ids = [server for run in world.runs for server, _ in run.servers]

    def change(life: Life) -> Life:
        asks = tuple(
            Ask(_soon(chance, 30.0), chance.choice((0, 1, 1, 1)), chance.choice(ids), chance.choice((None, 1.0, 20.0)))
            for _ in range(chance.randint(2, 10))
        )
        return replace(life, asks=(*life.asks, *asks))

    return _each_life(world, change)


def _gives_up(world: World, chance: Random) -> World:
    """Let callers give up within seconds, many before anything was sent."""
    limit = world.engine.quota.limit
    quota = Quota(max(1, limit // 4), world.engine.quota.window) if world.cloud.quota_limit is None else None
    if quota is not None:
        world = replace(world, engine=replace(world.engine, quota=quota, burst=None))

    def change(life: Life) -> Life:
        asks = tuple(
            Ask(
                _soon(chance), chance.randrange(world.processes), server, chance.choice((0.0, 0.1, 0.6, 3.0, 3.0, None))
            )
            for server in _some(chance, _fleet(world), 10)
        )
        return replace(life, asks=(*life.asks, *asks))

    return _each_life(world, change)


def _days(world: World, chance: Random) -> World:
    """Let callers come back on other days; the machine sleeps in between."""
    *before, last = world.lives
    ids = _fleet(world)
    asks: list[Ask] = []
    freezes: list[Freeze] = []
    for day in range(chance.randint(2, 4)):
        begin = day * DAY
        for _ in range(chance.randint(1, 4)):
            process = chance.randrange(world.processes)
            patience = chance.choice((None, 0.2, 3.0, 60.0))
            asks.append(Ask(begin + _soon(chance, 200.0), process, chance.choice(ids), patience))
        freezes += [Freeze(process, DAY - 1300.0, at=begin + 1200.0) for process in range(world.processes)]
    faults = replace(world.cloud.submit_faults, silent=0.2, reset_before=0.2, reject_503=0.1)
    world = replace(world, cloud=replace(world.cloud, submit_faults=_at_most_one(faults)))
    return replace(world, lives=(*before, replace(last, asks=(*last.asks, *asks), freezes=(*last.freezes, *freezes))))


# -- more of what there was --------------------------------------------------------------------------------------------


def _soak(world: World, chance: Random) -> World:
    waves = chance.choice(("1,100%", "1,10%,30%", "25%", "2,domain"))
    return replace(world, strategy=replace(world.strategy, soak=chance.choice((3.0, 20.0, 90.0)), waves=waves))


def _long_blackhole(world: World, chance: Random) -> World:
    """Let nothing be seen for longer than a server may take."""
    begin = _soon(chance)
    span = (begin, begin + world.strategy.server_timeout * chance.uniform(1.1, 1.8))
    cloud = replace(world.cloud, blackholes=(*world.cloud.blackholes, span))
    return replace(world, cloud=cloud, engine=replace(world.engine, blind_timeout=300.0))


def _slow_tokens(world: World, chance: Random) -> World:
    """Let tokens take a minute, so that looks from before the wait are old."""
    if world.cloud.quota_limit is not None:
        return world
    quota = Quota(max(1, world.cloud.servers // chance.choice((2, 4, 6))), 60.0)
    engine = replace(world.engine, quota=quota, burst=None)
    cloud = replace(world.cloud, quota_window=60.0)
    strategy = replace(world.strategy, precheck=True, waves="100%", max_unavailable="100%")
    return replace(world, engine=engine, cloud=cloud, strategy=strategy)


def _lost_requests(world: World, chance: Random) -> World:
    """Lose most requests over at least three lives."""
    faults = replace(world.cloud.submit_faults, silent=0.3, reset_before=0.3, lost_reply=0.05)
    lives = list(world.lives)
    while len(lives) < 3:
        doom = Doom("instant", at=chance.uniform(1.0, 3.0) * world.engine.unknown_grace, gap=chance.choice((0.1, 5.0)))
        lives.insert(0, replace(lives[-1], doom=doom))
    strategy = replace(world.strategy, on_unknown="verify")
    cloud = replace(world.cloud, submit_faults=_at_most_one(faults))
    return replace(world, cloud=cloud, lives=tuple(lives), strategy=strategy)


def _at_most_one(faults: Faults) -> Faults:
    """Scale the rates down where they are more than one in sum."""
    rates = {
        name: getattr(faults, name) for name in faults.__slots__ if name not in {"late_max", "slow_by", "huge_bytes"}
    }
    whole = sum(rates.values())
    return faults if whole <= 0.95 else replace(faults, **{name: rate * 0.95 / whole for name, rate in rates.items()})


DIMENSIONS: Final[Mapping[str, tuple[float, Callable[[World, Random], World]]]] = {
    "two_sites": (0.08, _two_sites),
    "late_store": (0.25, _late_store),
    "failing_store": (0.08, _failing_store),
    "frozen": (0.2, _frozen),
    "wall_clock": (0.15, _wall_clock),
    "slow_looks": (0.2, _slow_looks),
    "hidden": (0.06, _hidden),
    "holes": (0.1, _holes),
    "no_updated": (0.08, _no_updated),
    "others_restarts": (0.15, _others_restarts),
    "healing": (0.12, _healing),
    "left_out": (0.15, _left_out),
    "quick_words": (0.15, _quick_words),
    "abort_and_die": (0.08, _abort_and_die),
    "foreign_code": (0.12, _foreign_code),
    "overlap": (0.1, _overlap),
    "gives_up": (0.1, _gives_up),
    "days": (0.03, _days),
    "soak": (0.1, _soak),
    "long_blackhole": (0.05, _long_blackhole),
    "slow_tokens": (0.06, _slow_tokens),
    "lost_requests": (0.08, _lost_requests),
}
"""Each dimension by its name: in what share of the seeds it is, and what it adds to a world."""
