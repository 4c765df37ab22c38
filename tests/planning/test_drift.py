"""What has changed since a plan was made, told by two looks."""

from __future__ import annotations

import pytest

from ecsbatch.config.settings import Strategy
from ecsbatch.model.servers import Server, ServerView
from ecsbatch.planning.drift import DriftKind, compare, find_drift
from ecsbatch.planning.strategy import make_plan
from ecsbatch.views.plan import drift_lines

T1, T2 = "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"
ACTIVE = ServerView("s", status="ACTIVE", updated=T1, az="az1")
SHUTOFF = ACTIVE._replace(status="SHUTOFF")
ERROR = ACTIVE._replace(status="ERROR")
LOCKED = ACTIVE._replace(locked=True)
REBOOT = ACTIVE._replace(status="REBOOT", task_state="rebooting")
GONE = ServerView("s", found=False)

CASES: list[tuple[ServerView, ServerView, DriftKind | None]] = [
    (ACTIVE, ACTIVE, None),
    (ACTIVE, ACTIVE._replace(name="renamed", host_id="h2"), None),
    (ACTIVE, GONE, DriftKind.DELETED),
    (ACTIVE, SHUTOFF._replace(updated=T2), DriftKind.STOPPED),
    (ACTIVE, ACTIVE._replace(task_state="powering-off"), DriftKind.CHANGING),
    (ACTIVE, ERROR, DriftKind.CHANGING),
    (ACTIVE, REBOOT, DriftKind.RESTARTING),
    (ACTIVE, LOCKED, DriftKind.LOCKED),
    (ACTIVE, ACTIVE._replace(az="az2", updated=T2), DriftKind.MOVED),
    (ACTIVE, ACTIVE._replace(updated=T2), DriftKind.TOUCHED),
    (GONE, ACTIVE, DriftKind.APPEARED),
    (SHUTOFF, ACTIVE._replace(updated=T2), DriftKind.STARTED),
    (ERROR, ACTIVE, DriftKind.STARTED),
    (REBOOT, ACTIVE._replace(updated=T2), DriftKind.STARTED),
    (LOCKED, ACTIVE, DriftKind.UNLOCKED),
    (SHUTOFF, ERROR, DriftKind.CHANGING),
    (LOCKED, GONE, DriftKind.DELETED),
    (GONE, GONE, None),
]


@pytest.mark.parametrize(("then", "now", "kind"), CASES)
def test_a_server_has_the_worst_of_what_became_of_it(then: ServerView, now: ServerView, kind: DriftKind | None) -> None:
    drifted = compare(then, now)

    assert (drifted.kind if drifted else None) is kind


def test_a_plan_is_compared_server_by_server() -> None:
    """Whoever was left alone by request may do what they like; of others that are skipped only the reason counts."""
    ids = ["active", "touched", "gone", "excluded", "off", "started"]
    then = {id_: (SHUTOFF if id_ in {"off", "started"} else ACTIVE)._replace(id=id_) for id_ in ids}
    plan = make_plan([Server(id_, "az1") for id_ in ids], Strategy(), views=then, excluded={"excluded"})
    now = {
        **then,
        "touched": then["touched"]._replace(updated=T2),
        "off": then["off"]._replace(updated=T2),
        "started": ACTIVE._replace(id="started"),
        "excluded": SHUTOFF._replace(id="excluded"),
    }
    del now["gone"]
    drifted = find_drift(plan, then, now)

    assert sorted((each.server, each.kind.value) for each in drifted) == [
        ("gone", "deleted"),
        ("started", "started"),
        ("touched", "touched"),
    ]


def test_the_first_few_of_each_kind_are_shown_and_all_are_counted() -> None:
    ids = [f"s{n}" for n in range(6)]
    then = {id_: ACTIVE._replace(id=id_) for id_ in ids}
    now = {id_: ACTIVE._replace(id=id_, updated="\x1b[2J") for id_ in ids[1:]}
    plan = make_plan([Server(id_) for id_ in ids], Strategy(), views=then)
    lines = drift_lines(find_drift(plan, then, now))

    assert lines[0] == "  no longer there: 1 server"
    assert lines[2] == "  restarted or changed: 5 servers"
    assert lines[-1] == "    and 2 more"
    assert all(line.isprintable() for line in lines)
