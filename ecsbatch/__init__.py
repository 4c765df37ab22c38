"""Restart fleets of Huawei Cloud ECS servers through the batch-restart API: the library.

A service makes one `Restarter` and keeps it. An `EcsClient` speaks to the cloud for it, and `open_store` names what
outlives the process::

    async with (
        EcsClient(region="eu-west-101", auth=credentials()) as ecs,
        open_store("sqlite:///restarts.db") as store,
        Restarter(ecs, store) as restarter,
    ):
        await restarter.resume_orphans()  # what earlier processes have left
        outcome = await restarter.restart("web-1")  # by its id, or by a name that only one server has
        print(outcome.kind, outcome.reason)

Many coroutines may ask for restarts at once: they go out in common batches, within the quota.

A **rollout** takes a fleet through waves, as a `Strategy` says. `Rollout.start` returns once the run is stored and
held, or raises at once what is wrong with it; it goes on by itself then, and outlives the process::

    strategy = Strategy(max_unavailable="10%", waves=["1", "10%"])
    rollout = await restarter.rollout(ids, strategy, run_id="kernel-7").start()
    print(rollout.progress.as_dict())  # counts, pace, time left, what it waits for and why
    async for recorded in rollout.events():  # each fact of it, from the first on
        print(recorded.as_dict())
    result = await rollout  # for any number of callers
    print(result.status, dict(result.counts))

**Any process** that has the store can ask about every run by its id, and steer it: a `Restarter`, or a `History`, which
needs no cloud::

    history = History(store)
    for record in await history.runs(status="running"):
        if record.kind == "rollout":
            explanation = await history.explain(record.run_id)
            print(record.run_id, explanation.text)
    await history.steer("kernel-7").pause(by="alice")

**Errors** are `EcsbatchError` by class, and each gives its fields to a JSON answer; how a server ends is never an
error, but an `Outcome`. See `ecsbatch.errors`::

    try:
        await restarter.rollout(ids, run_id="kernel-7").start()
    except RunConflict as e:  # another run has some of the servers: HTTP 409
        print(e.run_id, e.as_dict())
    except EcsbatchError as e:
        print(e.as_dict())

**Tests** of a service run in a simulated cloud and in virtual time: `ecsbatch.testing.World`.

Names are imported when they are first used: ``import ecsbatch`` is quick, and brings no HTTP and no database along.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ecsbatch.moved import install

if TYPE_CHECKING:
    from ecsbatch.config.settings import Engine, Strategy
    from ecsbatch.ecs.auth.credentials import credentials
    from ecsbatch.ecs.auth.schemes import Auth, KeyAuth, TokenAuth
    from ecsbatch.ecs.client import EcsClient
    from ecsbatch.ecs.sender import Sender
    from ecsbatch.errors import EcsbatchError, Invalid, NotHolder, RunConflict, RunNotFound
    from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
    from ecsbatch.model.plan import Plan
    from ecsbatch.model.quota import Quota
    from ecsbatch.model.recorded import Recorded
    from ecsbatch.model.run import Changes, Result, RunRecord
    from ecsbatch.model.servers import Server
    from ecsbatch.policy.explanation import Explanation
    from ecsbatch.policy.progress import Progress
    from ecsbatch.restarter import Restarter
    from ecsbatch.rollout.history import History
    from ecsbatch.rollout.hooks import WITHOUT
    from ecsbatch.rollout.rollout import Rollout
    from ecsbatch.store import open_store

__all__ = [
    "WITHOUT",
    "Auth",
    "Changes",
    "EcsClient",
    "EcsbatchError",
    "Engine",
    "Explanation",
    "History",
    "Invalid",
    "KeyAuth",
    "NotHolder",
    "Outcome",
    "OutcomeKind",
    "Plan",
    "Progress",
    "Quota",
    "Recorded",
    "Restarter",
    "Result",
    "Rollout",
    "RunConflict",
    "RunNotFound",
    "RunRecord",
    "RunStatus",
    "Sender",
    "Server",
    "Strategy",
    "TokenAuth",
    "credentials",
    "open_store",
]

_HOMES = {
    "config.settings": ("Engine", "Strategy"),
    "ecs.auth.credentials": ("credentials",),
    "ecs.auth.schemes": ("Auth", "KeyAuth", "TokenAuth"),
    "ecs.client": ("EcsClient",),
    "ecs.sender": ("Sender",),
    "errors": ("EcsbatchError", "Invalid", "NotHolder", "RunConflict", "RunNotFound"),
    "model.outcome": ("Outcome", "OutcomeKind", "RunStatus"),
    "model.plan": ("Plan",),
    "model.quota": ("Quota",),
    "model.recorded": ("Recorded",),
    "model.run": ("Changes", "Result", "RunRecord"),
    "model.servers": ("Server",),
    "policy.explanation": ("Explanation",),
    "policy.progress": ("Progress",),
    "restarter": ("Restarter",),
    "rollout.history": ("History",),
    "rollout.hooks": ("WITHOUT",),
    "rollout.rollout": ("Rollout",),
    "store": ("open_store",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

install()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    """Name what is public, imported or not."""
    return sorted({*globals(), *__all__})
