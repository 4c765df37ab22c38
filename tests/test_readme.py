"""What the README says is run: its Python against the simulator, its commands against the command line's own parser."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import fork_server
import pytest

from ecsbatch.cli.exit_codes import Exit
from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.server import Running, serve

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(mark: str) -> list[str]:
    """Return the blocks that stand behind ``<!-- mark -->``."""
    return re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", README, re.DOTALL)


TYPED = [line for mark in ("tonight", "shell", "demo") for block in blocks(mark) for line in block.splitlines()]
COMMANDS = [line for line in TYPED if "ecsbatch " in line]


def key(running: Running) -> dict[str, str]:
    """Return an environment with the simulated cloud's key and nothing else of ours."""
    config = running.cloud.config
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HUAWEICLOUD", "ECSBATCH"))},
        "HUAWEICLOUD_SDK_AK": config.access_key,
        "HUAWEICLOUD_SDK_SK": config.secret_key,
        "HUAWEICLOUD_SDK_PROJECT_ID": config.project_id,
    }


async def python(program: str, folder: Path, running: Running) -> tuple[str, str, int | None]:
    """Run a program in a process of its own; return what it wrote and its code."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        env=key(running),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    return out.decode(), err.decode(), process.returncode


async def test_the_five_lines_of_the_first_screen_run_as_they_stand(tmp_path: Path) -> None:
    """They stand in a coroutine that has an id and a list of ids."""
    [block] = blocks("async")
    async with serve(CloudConfig(servers=5, latency=0.0), speed=40) as running:
        ids = running.cloud.ids()
        assert block.count('region="eu-west-101"') == 1
        body = block.replace('region="eu-west-101"', f"endpoint={running.url!r}, api_rate=200")
        assert body.count("Restarter(ecs)") == 1
        quick = body.replace("Restarter(ecs)", "Restarter(ecs, engine=Engine(typical_restart=1.0))")
        body = textwrap.indent(quick, "    ")
        names = "EcsClient, Engine, Restarter, Strategy, credentials"
        program = (
            f"import asyncio\nfrom ecsbatch import {names}\n"
            f"async def main(server_id, ids):\n{body}\n"
            f"asyncio.run(main({ids[0]!r}, {ids[1:]!r}))"
        )
        out, err, code = await python(program, tmp_path, running)
        audit = running.audit()

    assert (out, err, code) == ("restarted succeeded\n", "", 0)
    assert (audit["restarted_servers"], audit["restarted_more_than_once"]) == (5, 0)


async def test_tonights_commands_are_all_that_it_takes(tmp_path: Path) -> None:
    """Typed as they stand, with a key and an endpoint in the environment, and with nobody to be asked."""
    [block] = blocks("tonight")
    typed = [shlex.split(line) for line in block.splitlines() if line.startswith("ecsbatch ")]
    assert [words[1] for words in typed] == ["check", "servers", "restart"]
    async with serve(CloudConfig(servers=15, latency=0.0), speed=60) as running:
        home = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
        environment = {**key(running), **home, "ECSBATCH_ENDPOINT": running.url, "ECSBATCH_TYPICAL_RESTART": "1s"}
        told = []
        for words in [*typed[:2], [*typed[2], "--yes"]]:
            process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", *words],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            out, _ = await process.communicate()
            assert process.returncode == 0, out.decode()
            told.append(out.decode())
        audit = running.audit()

    assert "9 servers" in told[2]
    assert (audit["restarted_servers"], audit["restarted_more_than_once"]) == (9, 0)


async def test_the_python_block_runs_as_it_stands(tmp_path: Path) -> None:
    """Only the cloud is another one, and faster: the simulator's endpoint in the place of a region."""
    [block] = blocks("run")
    assert 'region="eu-west-101"' in block
    assert "Restarter(ecs, store)" in block
    async with serve(CloudConfig(servers=5, latency=0.0), speed=40) as running:
        ids = running.cloud.ids()
        program = block.replace('region="eu-west-101"', f"endpoint={running.url!r}, api_rate=200")
        program = program.replace("Restarter(ecs, store)", "Restarter(ecs, store, engine=Engine(typical_restart=1.0))")
        program = f"from ecsbatch import Engine\nSERVER_ID, IDS = {ids[0]!r}, {ids[1:]!r}\n{program}"
        out, err, code = await python(program, tmp_path, running)
        audit = running.audit()

    assert (code, err) == (0, "")
    assert out.splitlines()[0].split()[:2] == [ids[0], "restarted"]
    assert "succeeded" in out.splitlines()[1]
    assert (audit["restarted_servers"], audit["restarted_more_than_once"]) == (5, 0)


def test_what_it_shows_of_the_service_is_what_the_service_is() -> None:
    [block] = blocks("service")
    service = (ROOT / "tests" / "acceptance" / "service" / "app.py").read_text(encoding="utf-8")

    parts = block.strip().split("\n\n\n")
    assert len(parts) == 3
    assert [part for part in parts if part not in service] == []


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 20


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one_that_the_command_line_knows(line: str) -> None:
    """Each is parsed with an option added that only asks for help, and so for nothing to be done."""
    words = shlex.split(line.rpartition("&& ")[2])
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    told = ecsbatch(words[1], "--help")

    assert Path(words[0]).name == "ecsbatch"
    assert told.returncode == Exit.OK, told.stderr
    assert [option for option in options if option not in told.stdout] == []


def test_every_command_that_the_text_names_exists() -> None:
    named = set(re.findall(r"`ecsbatch (\w+)", README))
    told = ecsbatch("--help").stdout

    assert named
    assert [name for name in named if not re.search(rf"^  {name} ", told, re.MULTILINE)] == []


def test_every_option_that_the_text_names_exists() -> None:
    named = set(re.findall(r"`(--[a-z-]+)`", README))
    commands = ("restart", "report", "simulate", "audit", "resume", "apply", "work", "store", "freeze", "wait")
    told = "".join(ecsbatch(command, "--help").stdout for command in commands)

    assert named
    assert [option for option in named if option not in told] == []


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    named = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE) for code in row.split(",")}

    assert named == {int(code) for code in Exit}


def test_every_file_that_it_links_exists() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README)

    assert linked
    assert [name for name in linked if not (ROOT / name).exists()] == []


@functools.cache
def ecsbatch(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line; a page of help is the same each time."""
    with fork_server.begin(words, folder=ROOT, environment={**os.environ, "COLUMNS": "100"}) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(words, process.wait(), out, err)
