"""A world drawn from one seed: the fleet, the strategy, the cloud's moods, and everything that will go wrong when.

Nothing here runs. All chance of a world comes from its seed, so that a failing seed is a whole report.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.model.quota import Quota
from ecsbatch.simulator.config import CloudConfig, Faults
from ecsbatch.simulator.faults import KINDS
from ecsbatch.simulator.fleet import server_ids

from .troubles import Freeze, Troubles

SLACK: Final = 3.0
"""Seconds by which `unknown_grace` exceeds the latest start of a given-up request."""

SUBMIT_ONLY: Final = frozenset({"late_execution", "ecs_0603_501", "no_job_id"})
BIG: Final = 33_600_000
"""Bytes of a ``huge`` answer: just more than a client reads."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One rollout: which servers (with their zones), driven by which process, from when on."""

    run_id: str
    servers: tuple[tuple[str, str], ...]
    process: int
    start: float


@dataclass(frozen=True, slots=True)
class Ask:
    """A caller that wants one server restarted, and how long it waits; None: to the end."""

    at: float
    process: int
    server: str
    patience: float | None


@dataclass(frozen=True, slots=True)
class Asking:
    """Something asked of a run through the store."""

    at: float
    run_id: str
    body: Mapping[str, Any]


DoomKind = Literal[
    "none", "step", "instant", "before_write", "after_write", "process", "full_disk", "stop", "cancel", "close"
]


@dataclass(frozen=True, slots=True)
class Doom:
    """How a life ends before its work is done.

    Attributes:
        kind: ``step`` kills the machine between two steps of the loop, ``instant`` at an instant, ``before_write`` and
            ``after_write`` at a transaction, ``process`` only the process whose transaction it is; ``full_disk``
            refuses transactions; ``stop``, ``cancel`` and ``close`` are what a living process does to its own runs.
        count: steps or transactions from the life's begin.
        at: seconds from the life's begin, for an instant and for what a living process does.
        process: whose.
        reboot: the machine comes back with another boot id.
        gap: seconds until the next life.
    """

    kind: DoomKind = "none"
    count: int = 0
    at: float = 0.0
    process: int = 0
    reboot: bool = False
    gap: float = 0.0


@dataclass(frozen=True, slots=True)
class Life:
    """One life of the machine, with what its resumes ask for.

    Attributes:
        orders: by somebody in the process that has the run; ``commands``: by somebody at another terminal.
        freezes: of its processes.
        failing_write: the number of the one transaction that is refused; 0 for none.
        unreadable: the number of the one reading of commands that fails, in each process; 0 for none.
    """

    doom: Doom = field(default_factory=Doom)
    asks: tuple[Ask, ...] = ()
    orders: tuple[Asking, ...] = ()
    retry: tuple[str, ...] = ()
    forgive: bool = False
    limits: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    by_same_id: bool = False
    jumps: tuple[tuple[float, float], ...] = ()
    skip_domains: tuple[str, ...] = ()
    commands: tuple[Asking, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    failing_write: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class World:
    """Everything that is decided before the first step.

    Attributes:
        longest: seconds from a send to its execution, at most.
        request_timeout: seconds after which the engines' clients give a request up.
        check_delay: seconds that a health check takes; None: there is no check.
        finish: after the scripted lives failures are forgiven until the run is over.
        dimensions: by which dimensions it was drawn, and ``has``: those of them that it has.
        elsewhere: the second site's cloud; None: there is one site only.
        as_service: rollouts are begun and then waited for, and a later life begins with those that nobody has.
        named: servers are given by their names.
    """

    seed: int
    cloud: CloudConfig
    engine: Engine
    strategy: Strategy
    runs: tuple[RunSpec, ...]
    lives: tuple[Life, ...]
    processes: int
    longest: float
    request_timeout: float
    check_delay: float | None
    api_rate: float
    finish: bool
    dimensions: str = "old"
    has: tuple[str, ...] = ()
    troubles: Troubles = field(default_factory=Troubles)
    elsewhere: CloudConfig | None = None
    as_service: bool = False
    named: bool = False


def draw(seed: int) -> World:
    """Draw the world of a seed."""
    chance = random.Random(f"world-{seed}")
    mood = chance.choices(("calm", "faulty", "stormy"), (2, 5, 2))[0]
    engine, request_timeout, longest, faults_room = _timing(chance)
    size = _size(chance)
    engine = _with_quota(chance, engine, size)
    check_delay = chance.choice((0.0, 0.2, 3.0)) if chance.random() < 0.35 else None
    cloud = _cloud(chance, seed, size, engine, mood, checked=check_delay is not None)
    cloud = replace(
        cloud,
        submit_faults=_faults(chance, mood, faults_room, submit=True),
        look_faults=_faults(chance, mood, faults_room, submit=False),
        latency=chance.choice((0.0, 0.05, 0.2, 1.0, 5.0, longest / 2)),
        latency_sigma=chance.choice((0.0, 0.3, 1.0)),
        client_patience=faults_room["patience"],
        task_state_lag=faults_room["lag"],
        init_time=faults_room["init"],
    )
    processes = 2 if chance.random() < 0.3 else 1
    runs = _runs(chance, cloud, processes)
    return World(
        seed=seed,
        cloud=cloud,
        engine=engine,
        strategy=_strategy(chance, checked=check_delay is not None),
        runs=runs,
        lives=_lives(chance, cloud, runs, processes, mood),
        processes=processes,
        longest=longest,
        request_timeout=request_timeout,
        check_delay=check_delay,
        api_rate=chance.choice((5.0, 20.0, 100.0)),
        finish=chance.random() < 0.7,
    )


def _size(chance: random.Random) -> int:
    kind = chance.random()
    if kind < 0.004:
        return chance.randint(300, 1000)
    if kind < 0.06:
        return chance.randint(60, 300)
    return chance.randint(1, 4) if kind < 0.12 else chance.randint(5, 40)


def _timing(chance: random.Random) -> tuple[Engine, float, float, dict[str, float]]:
    """Draw timeouts, and what delays the cloud may have so that the one assumption about late starts is true."""
    grace = chance.choice((12.0, 25.0, 60.0, 120.0))
    timeout = chance.choice((3.0, 10.0, 30.0))
    room = grace - SLACK
    late = chance.uniform(0.0, 0.4) * room
    slow = chance.uniform(0.0, 0.2) * room
    patience = min(timeout, chance.uniform(0.0, 0.15) * room)
    lag = chance.choice((0.0, 0.0, 0.05 * room))
    init = chance.choice((0.0, 0.3, 0.05 * room))
    longest = room - late - slow - patience - lag - init
    engine = Engine(
        unknown_grace=grace,
        blind_timeout=chance.choice((20.0, 60.0, 300.0)),
        typical_restart=chance.choice((3.0, 10.0, 40.0)),
        submit_workers=chance.choice((1, 2, 4)),
        look_workers=chance.choice((1, 2, 4)),
        linger=chance.choice((0.0, 0.5, 2.0)),
    )
    return engine, timeout, longest, {"late": late, "slow": slow, "patience": patience, "lag": lag, "init": init}


def _with_quota(chance: random.Random, engine: Engine, size: int) -> Engine:
    window = chance.choice((5.0, 10.0, 60.0))
    limit = chance.choice((max(1, size // 4), max(1, size // 2), size, 50, 1000))
    burst = chance.randint(1, limit) if chance.random() < 0.25 else None
    return replace(engine, quota=Quota(limit, window), burst=burst)


def _cloud(chance: random.Random, seed: int, size: int, engine: Engine, mood: str, *, checked: bool) -> CloudConfig:
    foreign = chance.random() < 0.1
    rough = 0.0 if mood == "calm" else 1.0
    few = chance.choice((0, 0, 1, 2, 3))
    return CloudConfig(
        seed=seed,
        servers=size,
        zones=("az1", "az2", "az3")[: chance.randint(1, 3)],
        servers_per_host=chance.choice((1, 3, 20)),
        locked=min(size, chance.choice((0, 0, few))),
        shutoff=min(size, chance.choice((0, 0, few))),
        error=min(size, chance.choice((0, 0, 0, few))),
        restart_median=chance.choice((1.0, 3.0, 8.0, 20.0)),
        restart_sigma=chance.choice((0.0, 0.25, 0.8)),
        parent_lag=chance.choice((0.0, 1.0, 8.0)),
        boot_time=chance.choice((0.0, 2.0, 20.0)) if checked else 0.0,
        job_retention=chance.choice((86_400.0, 86_400.0, 86_400.0, 5.0, 60.0)),
        job_visible_after=chance.choice((0.0, 0.0, 2.0, 20.0)),
        parent_fails=chance.random() < 0.8,
        bad_ids=chance.choice(("request", "sub_job")),
        accepted_status=chance.choice((200, 202)),
        fail_rate=rough * chance.choice((0.0, 0.0, 0.02, 0.1, 0.4)),
        fail_to_error=chance.choice((0.0, 0.5, 1.0)),
        stuck_rate=rough * chance.choice((0.0, 0.0, 0.0, 0.01, 0.05)),
        unhealthy_rate=rough * chance.choice((0.0, 0.02, 0.1)) if checked else 0.0,
        fail_zones={"az1": 1.0} if rough and chance.random() < 0.03 else {},
        check_auth=chance.random() < 0.2,
        clock_skew=chance.choice((0.0, 0.0, 3.0, -3.0, 200.0, -200.0)),
        quota_limit=engine.quota.limit if foreign else None,
        quota_window=engine.quota.window,
        foreign_load=engine.quota.limit * chance.uniform(0.1, 0.5) * 60.0 / engine.quota.window if foreign else 0.0,
        outages=_spans(chance, 0.15 * rough),
        blackholes=_spans(chance, 0.1 * rough),
    )


def _spans(chance: random.Random, likely: float) -> tuple[tuple[float, float], ...]:
    if chance.random() >= likely:
        return ()
    begin = chance.uniform(0.0, 120.0)
    return ((begin, begin + chance.choice((5.0, 40.0, 120.0, 900.0))),)


def _faults(chance: random.Random, mood: str, room: Mapping[str, float], *, submit: bool) -> Faults:
    """Draw a profile: a few kinds of misfortune at a few per cent each, or many at a lot."""
    possible = [kind for kind in KINDS if kind != "huge" and (submit or kind not in SUBMIT_ONLY)]
    rates = dict.fromkeys(KINDS, 0.0)
    if mood != "calm":
        count = chance.randint(1, 4) if mood == "faulty" else len(possible)
        for kind in chance.sample(possible, count):
            rates[kind] = chance.choice((0.02, 0.05, 0.1)) if mood == "faulty" else chance.uniform(0.0, 0.06)
        if chance.random() < 0.003:
            rates["huge"] = 0.05
    return Faults(**rates, late_max=room["late"], slow_by=room["slow"], huge_bytes=BIG)


def _strategy(chance: random.Random, *, checked: bool) -> Strategy:
    waves = chance.choice(("auto", "100%", "1,100%", "1,10%,30%", "25%", "domain", "2,domain"))
    per_domain = chance.random() < 0.2
    return Strategy(
        type=chance.choice(("soft", "soft", "hard")),
        batch_size=chance.choice((1, 3, 10, 30, 100)),
        max_unavailable=chance.choice((2, 3, "10%", "30%", "50%", "100%")),
        max_unavailable_per_domain=chance.choice((1, "20%", "50%")) if per_domain else None,
        waves=waves,
        soak=chance.choice((0.0, 0.0, 0.0, 5.0)),
        max_failures=chance.choice((0, 1, "5%", "30%", "100%", "100%")),
        max_failures_per_wave=chance.choice(("100%", "100%", "10%", 0)),
        max_failures_per_domain=chance.choice((0, "50%")) if chance.random() < 0.1 else None,
        on_failure=chance.choice(("stop", "stop", "pause")),
        order=chance.choice(("spread", "domain", "input")),
        check_interval=chance.choice((0.5, 5.0)),
        min_ready=chance.choice((None, 0.0, 2.0, 10.0)) if checked else chance.choice((None, None, 3.0)),
        server_timeout=chance.choice((20.0, 60.0, 150.0)),
        on_unknown=chance.choice(("verify", "verify", "leave")),
        precheck=chance.random() < 0.75,
    )


def _runs(chance: random.Random, cloud: CloudConfig, processes: int) -> tuple[RunSpec, ...]:
    """Draw one rollout of all, or two that share the fleet: apart, or with an overlap (the second is to be refused)."""
    ids = server_ids(cloud.seed, cloud.servers)
    fleet = [(server, cloud.zones[number % len(cloud.zones)]) for number, server in enumerate(ids)]
    missing = server_ids(-1 - cloud.seed, chance.choice((0, 0, 0, 1, 3)))
    fleet += [(server, chance.choice(cloud.zones)) for server in missing]
    chance.shuffle(fleet)
    name = f"run-{cloud.seed}"
    kind = chance.random()
    if kind < 0.7 or len(fleet) < 2:
        share = fleet if chance.random() < 0.7 else fleet[: chance.randint(1, len(fleet))]
        return (RunSpec(f"{name}-a", tuple(share), 0, 0.0),)
    cut = chance.randint(1, len(fleet) - 1)
    overlap = 1 if kind > 0.9 else 0
    second = tuple(fleet[cut - overlap :])
    late = chance.choice((0.0, 1.0, 20.0))
    first = RunSpec(f"{name}-a", tuple(fleet[:cut]), 0, 0.0)
    return first, RunSpec(f"{name}-b", second, processes - 1, late)


def _lives(
    chance: random.Random, cloud: CloudConfig, runs: tuple[RunSpec, ...], processes: int, mood: str
) -> tuple[Life, ...]:
    count = chance.choices((1, 2, 3, 4, 6), (30, 40, 20, 10, 3))[0]
    if mood == "calm" and chance.random() < 0.3:
        count = 1
    return tuple(_life(chance, cloud, runs, processes, last=number == count - 1) for number in range(count))


def _life(chance: random.Random, cloud: CloudConfig, runs: tuple[RunSpec, ...], processes: int, *, last: bool) -> Life:
    asking = chance.random() < 0.25
    jumping = chance.random() < 0.15
    farthest = 400.0 if cloud.check_auth else 5000.0
    return Life(
        doom=Doom() if last else _doom(chance, processes),
        asks=_asks(chance, cloud, processes) if asking else (),
        orders=_orders(chance, runs) if chance.random() < 0.2 else (),
        retry=tuple(chance.sample(("failed", "timed_out", "unknown"), chance.randint(1, 3)))
        if chance.random() < 0.3
        else (),
        forgive=chance.random() < 0.2,
        limits=_limits(chance) if chance.random() < 0.25 else {},
        by_same_id=chance.random() < 0.2,
        jumps=((chance.uniform(0.0, 60.0), chance.uniform(-farthest, farthest)),) if jumping else (),
    )


def _doom(chance: random.Random, processes: int) -> Doom:
    kinds: tuple[DoomKind, ...] = (
        "step",
        "before_write",
        "after_write",
        "process",
        "full_disk",
        "stop",
        "cancel",
        "close",
    )
    kind = chance.choices(kinds, (8, 4, 4, 3 if processes > 1 else 0, 1, 2, 2, 1))[0]
    most = 2500 if kind == "step" else 60
    return Doom(
        kind=kind,
        count=round(most ** chance.random()),
        at=round(chance.choice((0.5, 5.0, 60.0)) * chance.random(), 3),
        process=chance.randrange(processes),
        reboot=chance.random() < 0.25,
        gap=chance.choice((0.0, 0.1, 5.0, 70.0, 4000.0)),
    )


def _asks(chance: random.Random, cloud: CloudConfig, processes: int) -> tuple[Ask, ...]:
    ids = server_ids(cloud.seed, cloud.servers) + server_ids(-1 - cloud.seed, 1)
    return tuple(
        Ask(
            at=round(chance.uniform(0.0, 60.0), 2),
            process=chance.randrange(processes),
            server=chance.choice(ids),
            patience=chance.choice((None, None, 0.0, 0.2, 10.0)),
        )
        for _ in range(chance.randint(1, 12))
    )


def _orders(chance: random.Random, runs: tuple[RunSpec, ...]) -> tuple[Asking, ...]:
    run = chance.choice(runs)
    run_id = run.run_id
    at = round(chance.uniform(0.0, 60.0), 2)
    kind = chance.random()
    if kind < 0.5:
        back: dict[str, Any] = {"command": "resume", "forgive": chance.random() < 0.3}
        if chance.random() < 0.5:
            back["retry"] = chance.sample(("failed", "timed_out", "unknown"), chance.randint(1, 3))
        if chance.random() < 0.2:
            back["skip_domains"] = [chance.choice(run.servers)[1]]
        return Asking(at, run_id, {"command": "pause"}), Asking(at + chance.choice((0.1, 5.0, 90.0)), run_id, back)
    if kind < 0.85:
        return (Asking(at, run_id, {"command": "adjust", "limits": _limits(chance)}),)
    return (Asking(at, run_id, {"command": "abort"}),)


def _limits(chance: random.Random) -> dict[str, int | str]:
    limits: dict[str, int | str] = {}
    if chance.random() < 0.7:
        limits["max_unavailable"] = chance.choice((1, 2, "20%", "60%"))
    if not limits or chance.random() < 0.5:
        limits["max_failures"] = chance.choice((0, 2, "20%", "100%"))
    return limits
