"""A rollout of six servers in three batches: small enough to be killed everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.model.quota import Quota
from ecsbatch.simulator.config import CloudConfig, Faults
from ecsbatch.simulator.fleet import server_ids

from .world import Doom, DoomKind, Life, RunSpec, World

SIZE = 6


def world(*dooms: Doom, lost_replies: float = 0.0) -> World:
    """Return the world in which each doom ends one life."""
    cloud = CloudConfig(
        seed=3,
        servers=SIZE,
        restart_median=2.0,
        parent_lag=0.5,
        quota_limit=None,
        quota_window=5.0,
        check_auth=False,
        latency=0.2,
        fail_rate=0.2,
        submit_faults=Faults(lost_reply=lost_replies),
        client_patience=1.0,
    )
    servers = tuple((server, cloud.zones[i % 3]) for i, server in enumerate(server_ids(cloud.seed, SIZE)))
    return World(
        seed=cloud.seed,
        cloud=cloud,
        engine=Engine(
            quota=Quota(4, 5.0),
            unknown_grace=8.0,
            typical_restart=2.0,
            submit_workers=2,
            look_workers=1,
            linger=0.1,
        ),
        strategy=Strategy(
            batch_size=2,
            max_unavailable=4,
            waves="2,100%",
            max_failures="100%",
            max_failures_per_wave="100%",
            server_timeout=30.0,
        ),
        runs=(RunSpec("run-3", servers, 0, 0.0),),
        lives=(*(Life(doom) for doom in dooms), Life()),
        processes=1,
        longest=3.0,
        request_timeout=2.0,
        check_delay=None,
        api_rate=100.0,
        finish=True,
    )


def kills(kind: DoomKind, counts: Sequence[int]) -> list[Doom]:
    """Return a death at each of these steps or writes."""
    return [Doom(kind, count=count, gap=0.5) for count in counts]
