"""Which tests are quick, and what a quick test may not do. ``pytest -m quick`` runs these."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from memory_disk import write_to_memory
from nothing_real import nothing_real
from postgres.fixtures import (  # noqa: F401 - pytest finds them by their names here
    bridge,
    database_url,
    databases,
    own_server,
    pair,
    pgbouncer,
    postgres_server,
    tls_server,
)

# Its deadlines are of real time: on a busy machine they fail what is right.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

# Hundreds of processes begin in the tests, the workers among them, and each would compile the package for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

write_to_memory()

HERE = Path(__file__).parent

REAL = {
    # Folders: commands, nights, clouds, mutants and database servers are processes.
    *("acceptance", "cli", "hostile", "mutations", "page", "postgres", "prometheus"),
    # Files that are about processes or about what goes over a socket.
    *("test_exports.py", "test_pytest_plugin.py", "test_readme.py", "test_secrets.py"),
    *("ecs/test_ecs_network.py", "ecs/test_ecs_renewal.py", "ecs/test_shared_session.py"),
    *("rollout/test_checks.py", "rollout/test_gates.py"),
    *("simulator/test_foreign_client.py", "simulator/test_simulator_server.py"),
    *("store/test_store_busy.py", "store/test_store_disk.py"),
    # In virtual time, but long.
    *("simulated/test_simulated.py", "simulated/test_killed.py"),
    *("simulated/test_dimensions.py", "simulated/test_gates.py"),
    *("rollout/test_rollout_lives.py", "store/test_store_sizes.py"),
}
"""What is not quick as a whole; single tests elsewhere are marked `real`."""

WAITING = ("acceptance", "cli", "hostile", "test_secrets.py", "test_readme.py", "page", "prometheus", "postgres")
"""What waits for processes more than it works."""

LONG = (
    *("cli/test_steering.py", "cli/test_command_line.py", "page/test_page.py", "acceptance/test_nights.py"),
    *("cli/test_waiting.py", "page/test_real_page.py", "acceptance/test_service.py", "test_secrets.py"),
    *("acceptance/test_strategies.py", "hostile/test_hostile.py", "cli/test_work.py", "cli/test_kills.py"),
    *("postgres/test_taking_over.py", "test_readme.py", "cli/test_going_on.py", "cli/test_plan_apply.py"),
    *("cli/test_on_end.py", "cli/test_not_found.py", "postgres/test_outages.py", "postgres/test_takeovers.py"),
)
"""Those of them that wait a quarter of a minute and more, the longest first: what begins last is to be short."""

WORKING = ("mutations", "simulated")
"""What works longest without a pause."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from what is imported here, which stays: it would walk through it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is quick, and have those that wait stand between those that work, with what takes long first."""
    for item in items:
        if not _is_real(item):
            item.add_marker("quick")
    turns = _turns(list(dict.fromkeys(item.path for item in items)))
    items.sort(key=lambda item: turns[item.path])


def _turns(files: Sequence[Path]) -> dict[Path, float]:
    """Return when each file's turn is, from 0 to 1."""
    places = {HERE / name: place for place, name in enumerate(LONG)}
    waiting = [file for file in files if _first(file) in WAITING]
    waiting.sort(key=lambda file: places.get(file, len(places) + WAITING.index(_first(file))))
    rest = [file for file in files if _first(file) not in WAITING]
    working = [file for name in WORKING for file in rest if _first(file) == name]
    working += [file for file in rest if _first(file) not in WORKING]
    return {file: at / len(kind) for kind in (waiting, working) for at, file in enumerate(kind)}


def _first(file: Path) -> str:
    return file.relative_to(HERE).parts[0]


def _is_real(item: pytest.Item) -> bool:
    place = item.path.relative_to(HERE)
    return item.get_closest_marker("real") is not None or bool(
        {place.as_posix(), *(folder.as_posix() for folder in place.parents)} & REAL
    )


@pytest.fixture(autouse=True)
def _held_to_be_quick(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("quick") is None:
        yield
        return
    with pytest.MonkeyPatch.context() as patch, nothing_real(patch):
        yield
