"""What is decided of a world with several holders before its first step: who there is, and what goes wrong when.

All chance comes from the seed. The cloud, the fleet and the strategy are those of a `World`, kept small: what matters
here is who may send and write. After `CALM` nothing goes wrong any more, and one process is left that takes what nobody
has: every run must come to its end then.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final, Literal

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.model.quota import Quota
from ecsbatch.simulator.config import CloudConfig, Faults
from ecsbatch.simulator.fleet import server_ids
from tests.simulated.world import Life, RunSpec, World

CALM: Final = 90.0
"""Seconds after which nothing goes wrong any more."""

LONGEST_STALL: Final = 40.0

LineKind = Literal["slow", "refused", "away", "unanswered", "renewals"]


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine.

    Attributes:
        wall: seconds by which its wall clock is wrong.
        up: seconds since its boot when the world begins.
    """

    wall: float = 0.0
    up: float = 0.0


@dataclass(frozen=True, slots=True)
class Stall:
    """A process that stands still and comes back.

    Attributes:
        at: the instant; or ``write``, the transaction of the world behind which its writer stands still.
        suspends: its machine sleeps: timers and the monotonic clock stand still with it.
    """

    process: int
    seconds: float
    at: float = 0.0
    write: int = 0
    suspends: bool = False


@dataclass(frozen=True, slots=True)
class Death:
    """A process that is killed, at an instant or behind a transaction; another is started in its place after a gap."""

    process: int
    at: float = 0.0
    write: int = 0
    gap: float = 1.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with the way from a process to the database, from an instant on.

    Attributes:
        process: whose way; -1 for everybody's, since it is the database itself.
        kind: ``slow``: it takes long and no more; ``refused``: every request fails at once;
            ``away``: no request arrives before the end; ``unanswered``: requests arrive and are carried out, and no
            answer comes before the end; ``renewals``: those of leases are lost, or answered late.
        latency: seconds that each way takes more, at the most.
    """

    process: int
    kind: LineKind
    at: float
    seconds: float
    latency: float = 0.0

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at + self.seconds

    @property
    def stops(self) -> bool:
        """Whether requests stand still or fail by it."""
        return self.kind in {"refused", "away", "unanswered"}

    def covers(self, process: int, at: float) -> bool:
        """Tell whether a process meets it at an instant."""
        return self.process in {-1, process} and self.at <= at < self.until


@dataclass(frozen=True, slots=True)
class Failover:
    """The database server dies and another goes on in its place, which lags behind from ``at`` on, for so long."""

    at: float
    forgets: float


@dataclass(frozen=True)
class Scene:
    """A world with several holders.

    Attributes:
        world: cloud, engine, strategy and runs; each run is begun by its process.
        machines: one for each process.
        standbys: the processes that take what nobody has, from the beginning on.
        latency: seconds of each way to the database at the most.
        resumes: (instant, run, process) at which somebody resumes a run by hand in a new process on that machine.
    """

    world: World
    machines: tuple[Machine, ...]
    standbys: tuple[int, ...]
    latency: float = 0.0
    stalls: tuple[Stall, ...] = ()
    deaths: tuple[Death, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    resumes: tuple[tuple[float, str, int], ...] = ()
    failovers: tuple[Failover, ...] = ()

    @property
    def processes(self) -> int:
        """How many processes there are."""
        return len(self.machines)

    @property
    def has(self) -> tuple[str, ...]:
        """What is in it, for the sums."""
        kinds = {
            "stalls": self.stalls,
            "suspends": [stall for stall in self.stalls if stall.suspends],
            "deaths": self.deaths,
            "resumes": self.resumes,
            "failovers": self.failovers,
            **{kind: [one for one in self.troubles if one.kind == kind] for kind in _KINDS},
        }
        return tuple(name for name, found in kinds.items() if found)


_KINDS: Final[tuple[LineKind, ...]] = ("slow", "refused", "away", "unanswered", "renewals")


def draw(seed: int, *, failovers: bool = True) -> Scene:
    """Draw the world of a seed."""
    chance = random.Random(f"holders-{seed}")
    world = _world(chance, seed)
    owners = max(run.process for run in world.runs) + 1
    count = owners + chance.randint(1, 2)
    processes = range(count)
    machines = tuple(
        Machine(chance.choice((0.0, chance.uniform(-900, 900))), chance.uniform(0, 1e6)) for _ in processes
    )
    # Who has begun a run may take up others' as well; one that never dies does in any case.
    standbys = tuple(number for number in processes if number >= owners or chance.random() < 0.3)
    scene = Scene(
        world,
        machines,
        standbys,
        latency=chance.choice((0.0, 0.0, 0.004, 0.05)),
    )
    scene = replace(scene, stalls=tuple(_stalls(chance, count)) if chance.random() < 0.7 else ())
    scene = replace(scene, deaths=tuple(_deaths(chance, count)) if chance.random() < 0.5 else ())
    scene = replace(scene, troubles=tuple(_troubles(chance, count)) if chance.random() < 0.6 else ())
    if chance.random() < 0.25:
        by_hand = chance.uniform(1.0, 40.0), chance.choice(world.runs).run_id, chance.randrange(count)
        scene = replace(scene, resumes=(by_hand,))
    if chance.random() < 0.2:
        scene = _busy_and_cut_off(chance, scene)
    if failovers and chance.random() < 0.15:
        failover = Failover(_soon(chance), chance.choice((0.2, 1.0, 5.0)))
        scene = replace(scene, failovers=(failover,))
        if chance.random() < 0.5:  # nobody is left who remembers what was forgotten
            at = failover.at + failover.forgets * chance.uniform(0.5, 1.0)
            scene = replace(scene, deaths=(*scene.deaths, *(Death(run.process, at) for run in scene.world.runs)))
    return scene


def _soon(chance: random.Random) -> float:
    return round(40.0 ** chance.random(), 3)


def _stalls(chance: random.Random, count: int) -> list[Stall]:
    stalls: list[Stall] = []
    for _ in range(chance.randint(1, 3)):
        seconds = chance.choice(
            (chance.uniform(0.1, 8.0), chance.uniform(3.0, 6.0), chance.uniform(5.0, LONGEST_STALL))
        )
        stall = Stall(chance.randrange(count), round(seconds, 3), suspends=chance.random() < 0.3)
        behind_a_write = chance.random() < 0.5
        stalls.append(
            replace(stall, write=round(60 ** chance.random())) if behind_a_write else replace(stall, at=_soon(chance))
        )
    return stalls


def _deaths(chance: random.Random, count: int) -> list[Death]:
    deaths: list[Death] = []
    for _ in range(chance.randint(1, 2)):
        death = Death(chance.randrange(count), gap=chance.choice((0.1, 2.0, 10.0)))
        behind_a_write = chance.random() < 0.5
        deaths.append(
            replace(death, write=round(60 ** chance.random())) if behind_a_write else replace(death, at=_soon(chance))
        )
    return deaths


def _troubles(chance: random.Random, count: int) -> list[Trouble]:
    troubles: list[Trouble] = []
    for _ in range(chance.randint(1, 3)):
        kind = chance.choice(_KINDS)
        seconds = chance.choice((chance.uniform(0.5, 5.0), chance.uniform(3.0, 30.0)))
        process = chance.choice((-1, chance.randrange(count)))
        latency = {"slow": chance.uniform(0.3, 4.0), "renewals": chance.uniform(0.0, 1.5)}.get(kind, 0.0)
        troubles.append(Trouble(process, kind, _soon(chance), round(seconds, 3), round(latency, 3)))
    return troubles


def _busy_and_cut_off(chance: random.Random, scene: Scene) -> Scene:
    """Let a holder whose renewals are lost have much to write, while others take what it has."""
    world = scene.world
    quota = Quota(world.cloud.servers, world.engine.quota.window)
    engine = replace(world.engine, quota=quota, submit_workers=4, linger=0.0)
    strategy = replace(world.strategy, batch_size=1, max_unavailable="100%", waves="100%")
    trouble = Trouble(0, "renewals", chance.uniform(0.0, 3.0), chance.uniform(10.0, 40.0), chance.uniform(0.3, 1.5))
    changed = replace(world, engine=engine, strategy=strategy)
    return replace(scene, world=changed, troubles=(*scene.troubles, trouble))


# -- the cloud and what is done there ----------------------------------------------------------------------------------


def _world(chance: random.Random, seed: int) -> World:
    size = chance.randint(3, 12)
    engine = Engine(
        quota=Quota(chance.choice((1, 2, 3, max(1, size // 2), size)), 5.0),
        unknown_grace=12.0,
        blind_timeout=300.0,
        typical_restart=3.0,
        submit_workers=chance.choice((1, 2, 4)),
        look_workers=chance.choice((1, 2)),
        linger=chance.choice((0.0, 0.5)),
    )
    faulty = chance.random() < 0.5
    cloud = CloudConfig(
        seed=seed,
        servers=size,
        restart_median=chance.choice((1.0, 3.0, 8.0)),
        parent_lag=chance.choice((0.0, 1.0)),
        quota_limit=None,
        quota_window=engine.quota.window,
        check_auth=False,
        latency=chance.choice((0.02, 0.2, 1.0)),
        fail_rate=chance.choice((0.0, 0.0, 0.2)),
        fail_to_error=0.0,
        submit_faults=_faults(chance) if faulty else Faults(),
        client_patience=1.0,
    )
    return World(
        seed=seed,
        cloud=cloud,
        engine=engine,
        strategy=Strategy(
            batch_size=chance.choice((1, 1, 3)),
            max_unavailable=chance.choice((1, 3, "100%")),
            waves=chance.choice(("100%", "1,100%")),
            max_failures="100%",
            max_failures_per_wave="100%",
            server_timeout=60.0,
        ),
        runs=_runs(chance, cloud),
        lives=(Life(),),
        processes=1,
        longest=6.0,
        request_timeout=3.0,
        check_delay=None,
        api_rate=100.0,
        finish=True,
    )


def _faults(chance: random.Random) -> Faults:
    kinds = chance.sample(("lost_reply", "reset_after", "silent", "reset_before", "reject_503", "late_execution"), 2)
    return Faults(**dict.fromkeys(kinds, 0.2), late_max=2.0, slow_by=1.0)


def _runs(chance: random.Random, cloud: CloudConfig) -> tuple[RunSpec, ...]:
    ids = server_ids(cloud.seed, cloud.servers)
    fleet = tuple((server, cloud.zones[number % len(cloud.zones)]) for number, server in enumerate(ids))
    name = f"run-{cloud.seed}"
    if chance.random() < 0.6:
        return (RunSpec(f"{name}-a", fleet, 0, 0.0),)
    cut = chance.randint(1, len(fleet) - 1)
    second = chance.choice((0, 1))
    start = chance.choice((0.0, 2.0))
    return RunSpec(f"{name}-a", fleet[:cut], 0, 0.0), RunSpec(f"{name}-b", fleet[cut:], second, start)
