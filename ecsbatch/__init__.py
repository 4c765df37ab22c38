"""Restart fleets of Huawei Cloud ECS servers through the batch-restart API.

`Restarter` is the engine; `Rollout` is one pass over a frozen list of servers on it, as a `Strategy` says. An
`EcsClient` speaks to one site, and `open_store` names what outlives the process; a `History` asks a store about its
runs, and steers them, without a cloud. Whatever goes wrong is an `EcsbatchError`; the module `ecsbatch.errors` draws
the tree.

Names are imported when they are first used: `import ecsbatch` is quick, and brings no HTTP and no database along.
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
    from ecsbatch.model.events import Recorded
    from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
    from ecsbatch.model.plan import Plan
    from ecsbatch.model.quota import Quota
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
    "model.events": ("Recorded",),
    "model.outcome": ("Outcome", "OutcomeKind", "RunStatus"),
    "model.plan": ("Plan",),
    "model.quota": ("Quota",),
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
