"""What watchers of a client hear of its requests: the route, and how each ended; never an id, a header or a body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.observed_sender import Ended, ObservedSender, outgoing
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import CloudError
from ecsbatch.model.requests import OutgoingRequest

JOB = b"""{"job_id": "j", "status": "RUNNING", "entities": {"sub_jobs": [
    {"status": "SUCCESS", "entities": {"server_id": "a"},
     "begin_time": "2026-01-01T00:00:00.000Z", "end_time": "2026-01-01T00:00:40.500Z"},
    {"status": "SUCCESS", "entities": {"server_id": "b"},
     "begin_time": "2026-01-01T00:00:00.000Z", "end_time": "2026-01-01T00:00:48.250Z"},
    {"status": "SUCCESS", "entities": {"server_id": "c"}, "begin_time": "", "end_time": ""},
    {"status": "FAIL", "entities": {"server_id": "before"},
     "begin_time": "2026-01-01T00:00:00.000Z", "end_time": "2026-01-01T00:00:01.000Z"}]}}"""


class Hearer:
    """Writes down what it hears."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.begun: list[OutgoingRequest] = []
        self.ended: list[tuple[int, str]] = []
        self.delays: list[float] = []

    def sending(self, request: OutgoingRequest) -> Ended:
        """Note a request."""
        if self.broken:
            raise RuntimeError("watcher")
        self.begun.append(request)
        return lambda status, error: self.ended.append((status, error))

    def saw_ends(self, delays: Sequence[float]) -> None:
        """Note how late ends were seen."""
        if self.broken:
            raise RuntimeError("watcher")
        self.delays += delays


def answering(answer: Answer | BaseException) -> Callable[..., object]:
    async def sender(_: Request, on_sent: Callable[[], None]) -> Answer:
        on_sent()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return sender


def client(answer: Answer | BaseException, *watchers: Hearer) -> EcsClient:
    return EcsClient(
        auth=KeyAuth("key", "canary-secret"),
        project_id="p1",
        endpoint="https://ecs.example.com",
        sender=answering(answer),  # type: ignore[arg-type]
        watchers=watchers,
    )


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("https://e/v1/p1/cloudservers/action", "/v1/{project_id}/cloudservers/action"),
        ("https://e/v1/p1/cloudservers/detail?server_id=a,b&limit=100", "/v1/{project_id}/cloudservers/detail"),
        ("https://e/v1/p1/cloudservers/9a1c", "/v1/{project_id}/cloudservers/{server_id}"),
        ("https://e/v1/p1/jobs/ff80", "/v1/{project_id}/jobs/{job_id}"),
        ("https://iam/v3/auth/tokens", "/v3/auth/tokens"),
        ("https://iam/v3/projects?name=eu", "/v3/projects"),
        ("http://169.254.169.254/openstack/latest/securitykey", "/openstack/latest/securitykey"),
        ("https://e/v1/p1/jobs/ff80/more", "other"),
        ("https://e/anything/9a1c", "other"),
    ],
)
def test_a_route_has_no_ids(url: str, route: str) -> None:
    assert outgoing(Request("GET", url, {})).route == route


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://e.x/v3/projects", "e.x", 443),
        ("http://127.0.0.1/v3", "127.0.0.1", 80),
        ("http://[::1]:81/", "::1", 81),
    ],
)
def test_where_a_request_goes_is_told(url: str, host: str, port: int) -> None:
    told = outgoing(Request("POST", url, {}))

    assert (told.method, told.host, told.port) == ("POST", host, port)


@pytest.mark.parametrize(
    ("answer", "ended"),
    [
        (Answer(200, {}, b'{"job_id":"j"}'), (200, "")),
        (Answer(503, {}, b""), (503, "")),
        (Answer(200, {}, b'{"job_id"', complete=False), (200, "incomplete")),
        (ConnectionResetError("gone"), (0, "ConnectionResetError")),
    ],
)
async def test_a_request_s_end_is_told_once(answer: Answer | BaseException, ended: tuple[int, str]) -> None:
    hearer = Hearer()
    with suppress(CloudError):
        await client(answer, hearer).submit("SOFT", ["a"])

    assert [each.route for each in hearer.begun] == ["/v1/{project_id}/cloudservers/action"]
    assert hearer.ended == [ended]
    assert "canary" not in repr(hearer.begun)


async def test_restarts_are_as_late_as_the_cloud_s_own_clock_says() -> None:
    """Of those that were waited for, and whose end it tells: by the date of its answer, whatever our clock shows."""
    hearer = Hearer()
    dated = Answer(200, {"date": "Thu, 01 Jan 2026 00:00:48 GMT"}, JOB)
    job = await client(dated, hearer).show_job("j", {"a", "b", "c"})

    assert len(job.ended) == 3
    assert hearer.delays == [7.5, 0.0], "a date has whole seconds, so that it may be before the end"


async def test_a_watcher_that_fails_changes_nothing() -> None:
    hearer = Hearer()
    ecs = client(Answer(200, {"date": "Thu, 01 Jan 2026 00:00:48 GMT"}, JOB), Hearer(broken=True), hearer)

    assert len((await ecs.show_job("j", {"a"})).ended) == 1
    assert (hearer.ended, hearer.delays) == ([(200, "")], [7.5])


def test_without_watchers_nothing_stands_between_client_and_sender() -> None:
    quiet, watched = client(Answer(200, {}, b"")), client(Answer(200, {}, b""), Hearer())

    assert not isinstance(quiet._transport._sender, ObservedSender)
    assert isinstance(watched._transport._sender, ObservedSender)
