"""The file of a plan: it comes back as it was written, or not at all."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecsbatch.cli.output import write_file
from ecsbatch.config.settings import Strategy
from ecsbatch.errors import ConfigError, EcsbatchError, PlanStale
from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import Fleet, Server, ServerView, Site
from ecsbatch.planning.drift import find_drift
from ecsbatch.planning.plan_file import is_plan, plan_pieces, read_plan
from ecsbatch.planning.strategy import make_plan

SITE = Site("https://ecs.eu-west-101.example", "p1", "eu-west-101")
MADE_AT = 1_772_359_200.25
VIEWS = {
    "a": ServerView("a", status="ACTIVE", az="az1", updated="2026-03-01T09:00:00Z", name="web-1", host_id="h"),
    "b": ServerView("b", status="SHUTOFF", az="az2", updated="2026-03-01T09:00:01Z"),
    "c": ServerView("c", found=False),
    "d": ServerView("d", status="ACTIVE", az="az1", locked=True, tags=("app=web", "canary")),
    "e": ServerView("e", status="ERROR", task_state="rebuilding", az="az1"),
}


def planned() -> Plan:
    servers = [Server(id_, view.az, view.name) for id_, view in VIEWS.items()]
    strategy = Strategy(
        max_unavailable=3, max_failures_per_domain="50%", check="tcp:22", gate="./go", waves=["1", "domain"]
    )
    return make_plan(servers, strategy, views=VIEWS)


def kept_in(path: Path) -> Path:
    write_file(path, plan_pieces(planned(), VIEWS, SITE, MADE_AT))
    return path


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = kept_in(tmp_path / "a.plan")
    kept = read_plan(str(path))

    assert kept.plan.hash == planned().hash
    assert kept.plan.to_json() == planned().to_json()
    assert list(kept.plan.fleet) == list(planned().fleet)
    assert kept.plan.fleet.hosts == planned().fleet.hosts == ("h", "", "", "", "")
    assert list(kept.plan.fleet.tags.items()) == list(planned().fleet.tags.items()) != []
    assert (kept.site, kept.made_at) == (SITE, MADE_AT)
    assert find_drift(kept.plan, kept.views, VIEWS) == []
    assert is_plan(str(path))
    assert json.loads(path.read_bytes())["ecsbatch_plan"] == 1


def test_what_could_not_be_written_whole_leaves_nothing_behind(tmp_path: Path) -> None:
    path = kept_in(tmp_path / "a.plan")
    before = path.read_bytes()

    def pieces() -> Iterator[bytes]:
        yield b"begun"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ConfigError, match="No space left on device"):
        write_file(path, pieces())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


_COLUMN = st.lists(st.sampled_from(["", "a", "<img src=x>", "\x1b[2J", "é"]), min_size=4, max_size=4)


@given(_COLUMN, st.dictionaries(st.text(max_size=3), _COLUMN, max_size=3))
def test_hosts_and_tags_come_back_and_no_hash_knows_of_them(hosts: list[str], tags: dict[str, list[str]]) -> None:
    bare = make_plan([Server(id_) for id_ in "abcd"], Strategy(waves="1"))
    plan = replace(bare, fleet=Fleet("abcd", hosts=hosts, tags=tags))
    with TemporaryDirectory() as folder:
        write_file(Path(folder, "a.plan"), plan_pieces(plan, {}, SITE, MADE_AT))
        kept = read_plan(f"{folder}/a.plan").plan

    assert (kept.fleet.hosts, kept.fleet.tags) == (plan.fleet.hosts, plan.fleet.tags)
    assert kept.hash == plan.hash == bare.hash


def test_a_plan_without_them_is_written_as_by_versions_of_before() -> None:
    [row] = json.loads(b"".join(plan_pieces(make_plan([Server("a")], Strategy()), {}, SITE, MADE_AT)))["servers"]

    assert row == {"id": "a", "found": False}


CHANGES: list[Callable[[dict[str, Any]], Any]] = [
    lambda raw: raw["plan"].update(max_unavailable=100),
    lambda raw: raw["servers"].pop(),
    lambda raw: raw["servers"][0].update(id="other"),
    lambda raw: raw["servers"][0].update(status="SHUTOFF"),
    lambda raw: raw["site"].update(project_id="p2"),
    lambda raw: raw.update(made_at="2030-01-01T00:00:00Z"),
    lambda raw: raw.pop("sha256"),
    lambda raw: raw.update(servers=None),
]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_was_changed_breaks_the_seal(tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = kept_in(tmp_path / "a.plan")
    raw = json.loads(path.read_bytes())
    change(raw)
    path.write_text(json.dumps(raw), encoding="utf-8")

    with pytest.raises(PlanStale, match="changed after it was made"):
        read_plan(str(path))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"\0\1", b'{"ecsbatch_plan":2}', b'{"ecsbatch_plan":1' + b"[" * 5000, b'{"ecsbatch_plan":'],
)
def test_what_is_no_plan_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.plan"
    path.write_bytes(data)

    with pytest.raises(EcsbatchError) as refused:
        read_plan(str(path))
    assert isinstance(refused.value, ConfigError | PlanStale)
    assert "plan" in str(refused.value)


def test_an_old_plan_stays_where_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    path = kept_in(tmp_path / "a.plan")
    before = path.read_bytes()

    with pytest.raises(ConfigError, match="cannot be written"):
        write_file(Path(), [b""])
    with pytest.raises(ConfigError, match="cannot be written"):
        write_file(tmp_path / "missing" / "a.plan", [b""])
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.plan"]
