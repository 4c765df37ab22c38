"""The life of a job and of the servers in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from simulated_world import World

from ecsbatch.cli.commands.simulate import SimulatedFleetFlags as Simulated
from ecsbatch.cli.commands.simulate import config_of
from ecsbatch.errors import ConfigError


def _sub_jobs(job: dict[str, Any]) -> Counter[str]:
    return Counter(sub_job["status"] for sub_job in job["entities"]["sub_jobs"])


def test_a_reboot_from_init_to_success(world: Callable[..., World]) -> None:
    cloud = world(servers=20)
    ids = cloud.cloud.ids()
    status, answer = cloud.act(*ids)
    init = cloud.job(answer["job_id"])
    cloud.now = 1.0
    running = cloud.job(answer["job_id"])
    cloud.now = 1000.0
    ended = cloud.job(answer["job_id"])

    assert status == 200
    assert len(answer["job_id"]) == 32
    assert (init["status"], init["entities"], init["end_time"]) == ("INIT", {}, "")
    assert (running["status"], running["end_time"], "error_code" in running) == ("RUNNING", "", False)
    assert _sub_jobs(running) == {"RUNNING": 20}
    assert (ended["status"], ended["error_code"], ended["fail_reason"]) == ("SUCCESS", None, None)
    assert [one["entities"]["server_id"] for one in ended["entities"]["sub_jobs"]] == ids
    assert ended["entities"]["sub_jobs_total"] == 20
    assert ended["begin_time"] == "2026-01-01T00:00:00.000Z"


def test_sub_jobs_end_one_by_one_and_the_parent_after_the_last(world: Callable[..., World]) -> None:
    cloud = world(servers=50, parent_lag=8.0)
    job_id = cloud.act(*cloud.cloud.ids())[1]["job_id"]
    ended: list[int] = []
    last_sub_job = parent = 0.0
    for tenth in range(10, 1500):
        cloud.now = tenth / 10
        job = cloud.job(job_id)
        ended.append(_sub_jobs(job)["SUCCESS"])
        last_sub_job = last_sub_job or (cloud.now if ended[-1] == 50 else 0.0)
        parent = parent or (cloud.now if job["status"] == "SUCCESS" else 0.0)

    assert len(set(ended)) > 25
    assert ended == sorted(ended)
    assert parent - last_sub_job == pytest.approx(8.0, abs=0.11)


def test_a_rebooting_server_shows_status_and_task_state(world: Callable[..., World]) -> None:
    cloud = world(servers=2, task_state_lag=2.0, init_time=0.0)
    soft, hard = cloud.cloud.ids()
    before = cloud.seen(soft)
    cloud.act(soft)
    cloud.act(hard, kind="HARD")
    cloud.now = 1.9
    unseen = cloud.seen(soft)
    cloud.now = 2.0
    begun, begun_hard = cloud.seen(soft), cloud.seen(hard)
    cloud.now = 15.0
    later, later_hard = cloud.seen(soft), cloud.seen(hard)
    cloud.now = 300.0
    after = cloud.seen(soft)

    def shown(row: dict[str, Any]) -> tuple[str, str, str | None]:
        return row["status"], row["OS-EXT-STS:vm_state"], row["OS-EXT-STS:task_state"]

    assert shown(unseen) == shown(before) == shown(after) == ("ACTIVE", "active", None)
    assert shown(begun) == ("REBOOT", "active", "reboot_pending")
    assert shown(begun_hard) == ("HARD_REBOOT", "active", "reboot_pending_hard")
    assert shown(later) == ("REBOOT", "active", "rebooting")
    assert shown(later_hard) == ("HARD_REBOOT", "active", "rebooting_hard")
    assert unseen["updated"] == before["updated"] < begun["updated"] == later["updated"] < after["updated"]
    assert after["OS-SRV-USG:launched_at"] == before["OS-SRV-USG:launched_at"]


def test_stopping_and_starting_show_in_the_task_state_only(world: Callable[..., World]) -> None:
    cloud = world(servers=1)
    [server_id] = cloud.cloud.ids()
    shown: list[tuple[str, str | None]] = []
    for action in ({"os-stop": {"servers": [{"id": server_id}]}}, {"os-start": {"servers": [{"id": server_id}]}}):
        assert cloud.post(action)[0] == 200
        for seconds in (2, 200):
            cloud.now += seconds
            row = cloud.seen(server_id)
            shown.append((row["status"], row["OS-EXT-STS:task_state"]))

    assert shown == [("ACTIVE", "powering-off"), ("SHUTOFF", None), ("SHUTOFF", "powering-on"), ("ACTIVE", None)]
    assert cloud.cloud.restarts(server_id) == 0


def test_a_failed_sub_job_fails_the_parent_and_names_its_reason(world: Callable[..., World]) -> None:
    cloud = world(servers=3)
    failing, broken, fine = cloud.cloud.ids()
    cloud.cloud.doom(failing, "fail")
    cloud.cloud.doom(broken, "error")
    job_id = cloud.act(failing, broken, fine)[1]["job_id"]
    cloud.now = 500.0
    job = cloud.job(job_id)
    sub_job = job["entities"]["sub_jobs"][0]

    assert (job["status"], job["error_code"]) == ("FAIL", "Ecs.0227")
    assert [one["status"] for one in job["entities"]["sub_jobs"]] == ["FAIL", "FAIL", "SUCCESS"]
    assert (sub_job["error_code"], sub_job["fail_reason"]) == ("Ecs.0227", "Failed to reboot the ECS.")
    assert sub_job["entities"]["errorcode_message"] == "Ecs.0227: Failed to reboot the ECS."
    assert [cloud.seen(one)["status"] for one in (failing, broken, fine)] == ["ACTIVE", "ERROR", "ACTIVE"]
    assert [cloud.cloud.truth(one).last_restart_ok for one in (failing, broken, fine)] == [False, False, True]


def test_a_stuck_restart_never_ends_but_a_hard_one_gets_through(world: Callable[..., World]) -> None:
    cloud = world(servers=1)
    [server_id] = cloud.cloud.ids()
    cloud.cloud.doom(server_id, "stuck")
    job_id = cloud.act(server_id)[1]["job_id"]
    cloud.now = 1e6

    assert (cloud.job(job_id)["status"], cloud.seen(server_id)["status"]) == ("RUNNING", "REBOOT")

    hard = cloud.act(server_id, kind="HARD")[1]["job_id"]
    cloud.now += 300

    assert (cloud.job(hard)["status"], cloud.seen(server_id)["status"]) == ("SUCCESS", "ACTIVE")


@pytest.mark.parametrize(
    ("kind", "job", "healthy"), [("fail", "FAIL", True), ("stuck", "RUNNING", False), ("unhealthy", "SUCCESS", False)]
)
def test_a_zone_fails_alone(world: Callable[..., World], kind: str, job: str, *, healthy: bool) -> None:
    """A zone's own rate stands in place of the general one, as the command line's fail@az2=100% says it."""
    rates = config_of(Simulated(faults=f"{kind}@az2=100%"))
    zones = getattr(rates, f"{kind}_zones")
    cloud = world(servers=2, zones=("az1", "az2"), fail_to_error=0.0, **{f"{kind}_zones": zones})
    ids = cloud.cloud.ids()
    jobs = [cloud.act(one)[1]["job_id"] for one in ids]
    cloud.now = 1000.0

    assert [cloud.job(one)["status"] for one in jobs] == ["SUCCESS", job]
    assert [cloud.cloud.healthy(one) for one in ids] == [True, healthy]

    cloud.cloud.zone_mended("az2")

    assert cloud.cloud.healthy(ids[1])

    again = cloud.act(ids[1])[1]["job_id"]
    cloud.now = 2000.0

    assert cloud.job(again)["status"] == "SUCCESS"
    assert cloud.cloud.healthy(ids[1])


def test_a_zone_that_fails_is_one_that_there_is() -> None:
    with pytest.raises(ConfigError, match="there is no zone az9; there are az1, az2"):
        config_of(Simulated(zones="az1,az2", faults="stuck@az9=5%"))
    with pytest.raises(ConfigError, match="no misfortune throttle@az1"):
        config_of(Simulated(faults="throttle@az1=5%"))
    assert config_of(Simulated(faults="fail=1%,fail@az2=60%,fail@az1=0%")).fail_zones == {"az2": 0.6, "az1": 0.0}


def test_an_unhealthy_guest_never_answers_although_its_job_succeeds(world: Callable[..., World]) -> None:
    cloud = world(servers=2, zones=("az1", "az2"), unhealthy_zones={"az2": 1.0}, boot_time=30.0)
    ids = cloud.cloud.ids()
    job_id = cloud.act(*ids)[1]["job_id"]
    cloud.now = 1000.0

    assert cloud.job(job_id)["status"] == "SUCCESS"
    assert [cloud.cloud.healthy(one) for one in ids] == [True, False]

    cloud.cloud.heal(ids[1])

    assert cloud.cloud.healthy(ids[1])


def test_a_job_is_invisible_at_first_and_forgotten_in_the_end(world: Callable[..., World]) -> None:
    cloud = world(servers=1, job_visible_after=2.0, job_retention=3600.0)
    job_id = cloud.act(*cloud.cloud.ids())[1]["job_id"]
    codes: list[Any] = []
    for now in (0.0, 1.9, 2.0, 3000.0, 4000.0):
        cloud.now = now
        status, document = cloud.get(f"/jobs/{job_id}")
        codes.append(document.get("status") or (status, document["error"]["code"]))

    assert codes == [(400, "Common.0011"), (400, "Common.0011"), "RUNNING", "SUCCESS", (400, "Common.0011")]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("missing", 404, "Ecs.0114"),
        ("locked", 400, "Ecs.0605"),
        ("shutoff", 400, "Ecs.0100"),
        ("rebooting", 400, "Ecs.0100"),
    ],
)
@pytest.mark.parametrize("bad_ids", ["request", "sub_job"])
def test_one_bad_server(world: Callable[..., World], bad_ids: str, kind: str, status: int, code: str) -> None:
    """The reference does not say which of the two the real cloud does."""
    cloud = world(servers=3, bad_ids=bad_ids)
    fine, bad, _ = cloud.cloud.ids()
    if kind == "missing":
        [bad] = cloud.cloud.missing_ids(1)
    elif kind == "locked":
        cloud.cloud.lock(bad)
    elif kind == "shutoff":
        cloud.cloud.set_status(bad, "SHUTOFF")
    else:
        cloud.act(bad)
    cloud.now = 1.0
    answer_status, answer = cloud.act(fine, bad)
    cloud.now = 500.0
    if bad_ids == "request":
        assert (answer_status, answer["error"]["code"], cloud.cloud.restarts(fine)) == (status, code, 0)
    else:
        sub_jobs = cloud.job(answer["job_id"])["entities"]["sub_jobs"]

        assert [(one["status"], one["error_code"]) for one in sub_jobs] == [("SUCCESS", None), ("FAIL", code)]
        assert cloud.cloud.restarts(fine) == 1


def test_a_server_named_twice_restarts_once_and_has_two_sub_jobs(world: Callable[..., World]) -> None:
    cloud = world(servers=1)
    [server_id] = cloud.cloud.ids()
    job_id = cloud.act(server_id, server_id)[1]["job_id"]
    cloud.now = 500.0

    assert _sub_jobs(cloud.job(job_id)) == {"SUCCESS": 2}
    assert cloud.cloud.restarts(server_id) == 1


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"reboot": {}},
        {"reboot": {"servers": [{"id": "0" * 36}]}},
        {"reboot": {"type": "soft", "servers": [{"id": "0" * 36}]}},
        {"reboot": {"type": "SOFT", "servers": []}},
        {"reboot": {"type": "SOFT", "servers": [{"id": "short"}]}},
        {"reboot": {"type": "SOFT", "servers": ["0" * 36]}},
        {"os-start": {"servers": [{"id": "0" * 36}]}, "os-stop": {"servers": [{"id": "0" * 36}]}},
        {"os-pause": {"servers": [{"id": "0" * 36}]}},
    ],
)
def test_a_body_that_is_not_right_is_refused(world: Callable[..., World], document: Any) -> None:
    status, answer = world().post(document)

    assert (status, answer["error"]["code"]) == (400, "Ecs.0005")


def test_too_many_servers_and_no_body_have_their_own_codes(world: Callable[..., World]) -> None:
    cloud = world(servers=1)
    status, answer = cloud.act(*cloud.cloud.missing_ids(1001))
    empty = cloud.ask("POST", f"{cloud.root}/cloudservers/action")
    assert empty is not None

    assert (status, answer["error"]["code"]) == (400, "Ecs.0118")
    assert b"Common.0002" in empty.body
    assert cloud.cloud.audit()["counted_servers"] == 0


def test_an_accepted_action_may_also_be_a_202(world: Callable[..., World]) -> None:
    cloud = world(servers=1, accepted_status=202)

    assert cloud.act(*cloud.cloud.ids())[0] == 202


def test_a_zone_that_is_down_fails_its_restarts_and_its_guests(world: Callable[..., World]) -> None:
    cloud = world(servers=4, zones=("az1", "az2"), fail_to_error=0.0)
    cloud.cloud.zone_down("az2")
    healthy = [cloud.cloud.healthy(one) for one in cloud.cloud.ids()]
    job_id = cloud.act(*cloud.cloud.ids())[1]["job_id"]
    cloud.now = 500.0

    assert healthy == [True, False, True, False]
    assert _sub_jobs(cloud.job(job_id)) == {"SUCCESS": 2, "FAIL": 2}


def test_rates_can_change_while_the_cloud_runs_and_unknown_ones_are_refused(world: Callable[..., World]) -> None:
    cloud = world(servers=2)
    host = cloud.seen(cloud.cloud.ids()[0])["hostId"]
    cloud.cloud.set_rates(fail_rate=0.0, fail_hosts={host: 1.0})
    job_id = cloud.act(*cloud.cloud.ids())[1]["job_id"]
    cloud.now = 500.0

    assert [one["status"] for one in cloud.job(job_id)["entities"]["sub_jobs"]] == ["FAIL", "SUCCESS"]

    with pytest.raises(ValueError, match="no rate named failrate"):
        cloud.cloud.set_rates(failrate=1.0)


def test_a_status_that_no_server_can_be_set_to_is_named(world: Callable[..., World]) -> None:
    cloud = world(servers=1)
    with pytest.raises(ValueError, match="cannot be set to REBOOT"):
        cloud.cloud.set_status(cloud.cloud.ids()[0], "REBOOT")
