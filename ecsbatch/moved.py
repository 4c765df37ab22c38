"""Import paths of version 0.1.0: what was public there is imported from where it stood, and is what it is now.

`ecsbatch` itself has all public names; write that. These paths end with version 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

HOMES: Final[Mapping[str, tuple[str, ...]]] = {
    "ecsbatch.conflicts": ("ecsbatch.model.conflicts",),
    "ecsbatch.config": ("ecsbatch.config.settings", "ecsbatch.config.types"),
    "ecsbatch.ecs.auth": ("ecsbatch.ecs.auth.schemes",),
    "ecsbatch.ecs.credentials": ("ecsbatch.ecs.auth.credentials",),
    "ecsbatch.events": ("ecsbatch.model.events", "ecsbatch.model.recorded"),
    "ecsbatch.hosting": ("ecsbatch.model.run",),
    "ecsbatch.models": ("ecsbatch.model.outcome", "ecsbatch.model.quota", "ecsbatch.model.servers"),
    "ecsbatch.plan": ("ecsbatch.model.plan",),
    "ecsbatch.rollout": ("ecsbatch.rollout.rollout",),
    "ecsbatch.state": ("ecsbatch.model.state",),
}
"""Where the names of a module of 0.1.0 are now."""


def from_homes(module: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module of 0.1.0: it finds a name where that is now."""

    def find(name: str) -> Any:
        if not name.startswith("_"):
            for home in HOMES[module]:
                found = import_module(home)
                if name in vars(found):
                    return vars(found)[name]
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find


class MovedModules:
    """Finds the modules of 0.1.0 that are gone; those that are packages now have a ``__getattr__`` of their own."""

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        """Return what makes such a module; None for all others."""
        return ModuleSpec(name, self) if name in HOMES else None  # type: ignore[arg-type]  # a loader by what it does

    def create_module(self, _spec: ModuleSpec) -> None:
        """Have the usual module made."""

    def exec_module(self, module: ModuleType) -> None:
        """Let it find its names where they are now."""
        module.__doc__ = f"As in 0.1.0; now {' and '.join(HOMES[module.__name__])}."
        vars(module)["__getattr__"] = from_homes(module.__name__)


def install() -> None:
    """Have the modules that are gone found, after all others."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
