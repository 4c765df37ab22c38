"""Plan, change the fleet, apply: exactly what was agreed on, or a refusal that says what has drifted."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typed_commands import Simulator, Terminal, simulate

FAST = ("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s")
AT_ONCE = ("--waves", "100%", "--max-unavailable", "100%")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Simulator]:
    """Return a cloud of 150 servers, 12% of which are shut off."""
    folder = tmp_path / "cloud"
    folder.mkdir()
    yield from simulate(folder, ["--servers", "150", "--speed", "60", "--shutoff", "12%"])


@pytest.fixture
def typist(tmp_path: Path, fresh: Simulator) -> Iterator[Terminal]:
    typed = Terminal(tmp_path, dict(fresh.environment))
    yield typed
    typed.end()


def change(cloud: Simulator, **what: Any) -> None:
    """Change the simulated fleet behind everybody's back."""
    request = urllib.request.Request(f"{cloud.url}/_simulator/set", json.dumps(what).encode())  # noqa: S310 - our own server
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own server
        assert answer.status == 200


def plan_of(typed: Terminal, *arguments: str) -> dict[str, Any]:
    done = typed.type("plan", *arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    plan: dict[str, Any] = json.loads(done.stdout)["plan"]
    return plan


def test_a_fleet_of_which_an_eighth_is_off_and_a_tenth_may_be_down_is_planned_and_restarted(
    typist: Terminal, fresh: Simulator
) -> None:
    """What somebody shut off takes no place of the budget and is no failure: 132 are left, 13 may be down."""
    planned = typist.type("plan", "--all", "--max-unavailable", "10%", "--out", "night.plan")
    applied = typist.type("apply", "night.plan", *FAST, "--yes", "-q", "-o", "json")
    summary, audit = json.loads(applied.stdout), fresh.audit()

    assert (planned.returncode, applied.returncode) == (0, 0), applied.stderr
    assert "132 servers" in planned.stdout
    assert "not active 18" in planned.stdout
    assert "at most 13 down" in planned.stdout
    assert all(len(line) <= 80 for line in planned.stdout.splitlines() if not line.startswith("Store "))
    assert (typist.folder / "night.plan").stat().st_mode & 0o777 == 0o600
    assert (summary["restarted"], summary["skipped"], summary["failed"]) == (132, 18, 0)
    assert (audit["restarted_servers"], audit["restarted_more_than_once"]) == (132, 0)
    assert audit["most_down"] <= 13


def test_what_servers_prints_is_a_fleet_file_that_gives_the_same_plan(typist: Terminal) -> None:
    wanted = ["--tag", "app=web", "--tag", "stage=prod", "--name", "server-0000*"]
    chosen = plan_of(typist, *wanted)
    for form in ("csv", "jsonl"):
        listed = typist.type("servers", *wanted, "-o", form, "--out", f"web.{form}")
        assert (listed.returncode, listed.stdout) == (0, ""), listed.stderr
        assert f"{chosen['total']} servers written to web.{form}" in listed.stderr
        assert plan_of(typist, f"web.{form}") == chosen
    names = json.loads(typist.type("servers", *wanted, "-o", "json").stdout)["servers"]
    assert len(names) == chosen["total"] > 10
    assert all(each["name"].startswith("server-0000") and "app=web" in each["tags"] for each in names)


def test_a_plan_is_refused_when_the_fleet_has_drifted_and_says_how(typist: Terminal, fresh: Simulator) -> None:
    typist.type("plan", "--status", "ACTIVE", *AT_ONCE, "--out", "a.plan")
    ids = [
        each["id"] for each in json.loads(typist.type("servers", "--status", "ACTIVE", "-o", "json").stdout)["servers"]
    ]
    change(fresh, delete=ids[:1], lock=ids[1:5])
    (typist.folder / "one.txt").write_text(ids[5] + "\n", encoding="utf-8")
    typist.type("restart", "one.txt", *FAST, *AT_ONCE, "--yes", "-q")
    before = fresh.audit()["restarts"]
    stale = typist.type("apply", "a.plan", *FAST, "--yes")
    old = typist.type("apply", "a.plan", *FAST, "--yes", "--max-age", "0.1s")
    text = (typist.folder / "a.plan").read_text(encoding="utf-8")
    (typist.folder / "b.plan").write_text(text.replace('"batch_size":100', '"batch_size":1000'), encoding="utf-8")
    tampered = typist.type("apply", "b.plan", *FAST, "--yes")
    elsewhere = typist.type("apply", "a.plan", *FAST, "--yes", HUAWEICLOUD_SDK_PROJECT_ID="another")

    assert [each.returncode for each in (stale, old, tampered)] == [7, 7, 7]
    assert elsewhere.returncode in {1, 2}
    for words in ("no longer there: 1 server", "locked: 4 servers", "restarted or changed: 1 server", "and 1 more"):
        assert words in stale.stderr
    assert "6 servers of 132 drifted" in stale.stderr
    assert "--max-age is 0.1s" in old.stderr
    assert "changed after it was made" in tampered.stderr
    assert fresh.audit()["restarts"] == before
    accepted = typist.type("apply", "a.plan", *FAST, "--yes", "--accept-drift", "-q", "-o", "json", "--run-id", "late")
    again = typist.type("apply", "a.plan", *FAST, "--yes", "-q", "-o", "json", "--run-id", "late")
    twice = typist.type("apply", "a.plan", *FAST, "--yes", "-q")
    summary = json.loads(accepted.stdout)
    assert (summary["restarted"], summary["skipped"]) == (127, 5)
    assert again.stdout == accepted.stdout
    assert twice.returncode == 7
    assert "applied already, as run late" in twice.stderr


def test_servers_are_left_out_by_file_by_history_by_the_cloud_and_by_claims(typist: Terminal, fresh: Simulator) -> None:
    (typist.folder / "some.txt").write_text("\n".join(fresh.ids[:20]) + "\n", encoding="utf-8")
    restarted = json.loads(typist.type("restart", "some.txt", *FAST, *AT_ONCE, "--yes", "-q", "-o", "json").stdout)[
        "restarted"
    ]
    (typist.folder / "rest.txt").write_text("\n".join(fresh.ids[20:50]) + "\n", encoding="utf-8")
    held = typist.begin(
        "restart", "rest.txt", *FAST, "--waves", "2,100%", "--hold-after", "1", "--yes", "--run-id", "held"
    )
    assert held.stderr is not None
    for line in held.stderr:
        if "gate.checked" in line:
            break
    by_file = plan_of(typist, "--all", "--exclude", "some.txt")
    by_history = plan_of(typist, "--all", "--skip-restarted-since", "1h")
    by_cloud = plan_of(typist, "--all", "--skip-updated-since", "1h")
    by_claims = typist.type("plan", "--all", "--exclude-claimed")
    all_claimed = typist.type("plan", "rest.txt", "--exclude-claimed")
    going = typist.type("restart", "--all", "--exclude-claimed", "--max-servers", "50%", "--yes")
    aborted = typist.type("abort", "held", "--yes")
    held.communicate(timeout=30)

    assert sum(each["end"] - each["start"] for each in by_file["skips"] if each["reason"] == "excluded") == 20
    for plan, known in ((by_history, restarted), (by_cloud, restarted)):
        counts = {each["reason"]: each["end"] - each["start"] for each in plan["skips"]}
        assert counts["restarted_recently"] >= known
    assert "Left out    30 that other runs have (run held: 30)" in by_claims.stdout
    assert (all_claimed.returncode, going.returncode, aborted.returncode) == (7, 7, 0)
    assert "belong to other runs (held)" in all_claimed.stderr
    assert "of the project's 150" in going.stderr


def test_a_kept_plan_is_rehearsed_without_a_cloud(typist: Terminal, fresh: Simulator) -> None:
    typist.type("plan", "--all", "--waves", "1,domain", "--out", "a.plan")
    nowhere = {"HUAWEICLOUD_SDK_AK": "", "HUAWEICLOUD_SDK_SK": "", "ECSBATCH_ENDPOINT": ""}
    before = fresh.audit()["requests"]
    rehearsed = typist.type("rehearse", "a.plan", "-o", "json", **nowhere)
    table = typist.type("rehearse", "a.plan", "--faults", "fail=50%", **nowhere)
    settled = typist.type("rehearse", "a.plan", "--max-unavailable", "50%", **nowhere)
    told = json.loads(rehearsed.stdout)

    assert (settled.returncode, "leave --max-unavailable out" in settled.stderr) == (2, True)
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert (told["restarted"], told["skipped"]) == (132, 18)
    assert told["most_down"] <= 13
    assert told["elapsed_s"] > 60
    assert (table.returncode, "stopped" in table.stdout) == (4, True), table.stdout
    assert fresh.audit()["requests"] == before


def test_apply_with_a_hash_carries_out_only_the_plan_that_has_it(typist: Terminal, fresh: Simulator) -> None:
    """Whoever may write the file can seal another plan in it; the hash was told in another way."""
    ids = "\n".join(fresh.ids[:4])
    (typist.folder / "fleet.txt").write_text(ids)
    planned = typist.type("plan", "fleet.txt", *AT_ONCE, "--out", "night.plan")
    command = next(line for line in planned.stderr.splitlines() if "ecsbatch apply" in line).split()
    hash_ = command[command.index("--hash") + 1]
    typist.type("plan", "fleet.txt", "--waves", "1", "--max-unavailable", "1", "--out", "other.plan")
    given = [
        typist.type("apply", file, "--hash", told, *FAST, "--yes", "-q")
        for file, told in (("other.plan", hash_), ("night.plan", "abc"), ("night.plan", hash_.upper()))
    ]

    assert hash_ in planned.stdout
    assert [done.returncode for done in given] == [7, 2, 0], [done.stderr for done in given]
    assert "is not the one with the hash that was given" in given[0].stderr
    assert "give all 64 of its digits" in given[1].stderr
    assert 0 < fresh.audit()["restarted_servers"] <= 4
