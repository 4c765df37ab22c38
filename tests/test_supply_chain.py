"""What a deployment installs and may do: bounds, pins with hashes, and the least that a key's user is granted."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = (ROOT / "config" / "requirements.txt").read_text(encoding="utf-8")
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


EXTRAS = ("postgres", "metrics", "otel")
BUILT_ON = [*PROJECT["dependencies"], *(each for name in EXTRAS for each in PROJECT["optional-dependencies"][name])]
"""What the program runs on, whatever its store and whoever watches it."""


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~ \[]", requirement, maxsplit=1)[0].lower()


@pytest.mark.parametrize("requirement", BUILT_ON)
def test_what_we_build_on_has_a_lower_and_an_upper_bound(requirement: str) -> None:
    assert re.fullmatch(r"[a-z-]+(\[binary\])?>=[\d.]+,<\d+", requirement)


def test_every_dependency_is_pinned_within_its_bounds_with_the_hash_of_each_file() -> None:
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\d+)\S* \\$", PINS, re.MULTILINE))
    blocks = re.split(r"^(?=\S)", PINS.partition("\n\n")[2], flags=re.MULTILINE)[1:]

    for requirement in BUILT_ON:
        lower, upper = re.findall(r"[>=<](\d+)", requirement)[0], re.findall(r"<(\d+)", requirement)[0]
        assert int(lower) <= int(pinned[name_of(requirement)]) < int(upper), requirement
    assert all("--hash=sha256:" in block for block in blocks)
    assert len(blocks) == len(pinned)


def test_the_pins_name_no_package_index() -> None:
    assert not re.search(r"://|--index|--find-links|--trusted", PINS)


@pytest.mark.parametrize(
    ("file", "actions"),
    [("read.json", {"list", "get"}), ("restart.json", {"list", "get", "reboot"})],
)
def test_the_policies_grant_no_more_than_what_is_asked_of_the_cloud(file: str, actions: set[str]) -> None:
    policy = json.loads((ROOT / "config" / "iam" / file).read_text(encoding="utf-8"))
    [statement] = policy["Statement"]

    assert (policy["Version"], statement["Effect"]) == ("1.1", "Allow")
    assert {action.removeprefix("ecs:cloudServers:") for action in statement["Action"]} == actions
    assert f"config/iam/{file}" in SECURITY
