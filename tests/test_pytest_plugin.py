"""The pytest plugin, in a project of somebody else's: the README's own test, and what else such a project may write."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
[README_TEST] = re.findall(
    r"<!-- pytest -->\n```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
)
OTHERS = """
import asyncio

import pytest


async def test_a_world_alone_makes_engines_of_its_own(ecs_world):
    async with ecs_world.restarter() as restarter:
        assert (await restarter.restart(ecs_world.ids[0])).kind == "restarted"


class TestInAClass:
    async def test_an_hour_is_soon_over(self, ecs_restarter):
        await asyncio.sleep(3600)


def test_an_engine_without_a_loop_says_what_to_do(ecs_restarter):
    with pytest.raises(RuntimeError, match="async def"):
        ecs_restarter.submit("x")


@pytest.mark.parametrize("servers", [1, 2])
async def test_other_parameters_arrive(servers, ecs_world):
    assert len(ecs_world.ids) == 100
    assert servers in {1, 2}


@pytest.mark.xfail(strict=True, raises=AssertionError)
async def test_a_failure_is_one(ecs_world):
    assert not ecs_world.ids


async def test_another_plugins_coroutine_is_left_to_it():
    await asyncio.sleep(0)


@pytest.fixture
def fleet(ecs_world):
    return ecs_world.ids


@pytest.fixture
def service(ecs_restarter):
    return {"engine": ecs_restarter}


async def test_a_fixture_may_be_built_on_the_world(fleet):
    assert len(fleet) == 100


@pytest.mark.usefixtures("ecs_world")
async def test_the_world_need_not_be_named():
    await asyncio.sleep(3600)


async def test_a_fixture_may_be_built_on_the_engine(service, fleet):
    assert (await service["engine"].restart(fleet[0])).kind == "restarted"


@pytest.mark.ecs_world(servers=50)
class TestMarkers:
    @pytest.mark.ecs_world(seed=7)
    async def test_what_each_marker_says_counts(self, ecs_world):
        assert (len(ecs_world.ids), ecs_world.config.seed) == (50, 7)


@pytest.mark.ecs_world(5)
async def test_parameters_without_a_name_are_an_error(ecs_world):
    pass
"""


def outcomes(folder: Path, *options: str) -> dict[str, int]:
    """Run a folder's tests in a process of their own; return how many ended how."""
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)  # noqa: S603 - our own tests
    counts = {how: int(number) for number, how in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])}
    return {how: number for how, number in counts.items() if how in {"passed", "failed", "error", "xfailed"}}


def test_a_services_own_tests_run_in_virtual_time(tmp_path: Path) -> None:
    (tmp_path / "test_readme.py").write_text(README_TEST)
    (tmp_path / "test_others.py").write_text(OTHERS)
    asynchronous = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")

    assert outcomes(tmp_path, *asynchronous) == {"passed": 11, "xfailed": 1, "error": 1}


def test_a_failing_test_shows_its_own_lines_and_none_of_ours(tmp_path: Path) -> None:
    failing = "async def test_it(ecs_world, ecs_restarter):\n    await helper(ecs_world)\n"
    failing += "async def helper(world):\n    assert not world.ids[:1]\n"
    (tmp_path / "test_it.py").write_text(failing)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "."]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout  # noqa: S603 - our own test

    assert re.findall(r"^\S*?(\w+\.py:\d+):", told, re.MULTILINE) == ["test_it.py:2", "test_it.py:4"]


@pytest.mark.parametrize("name", ["ecsbatch.testing", "ecsbatch.simulator", "ecsbatch.engine", "aiohttp"])
def test_the_plugin_imports_nothing_before_a_test_asks_for_it(name: str) -> None:
    program = f"import sys, ecsbatch.pytest_plugin; print([m for m in sys.modules if m.startswith({name!r})])"

    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"  # noqa: S603 - our own program
