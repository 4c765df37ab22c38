"""Keys and tokens that run out, over real HTTP against the simulated IAM and metadata service."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from ecsbatch.clock import SystemClock
from ecsbatch.ecs.auth.credentials import find
from ecsbatch.ecs.auth.refresh import IssueContext, IssuedAuth, RefreshableAuth, issued
from ecsbatch.ecs.auth.schemes import Auth, TokenAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import AuthError, ConfigError, EcsbatchError, NotAccepted, NotSent
from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.server import Running, serve

PLAIN = CloudConfig()
REGION = PLAIN.region
PASSWORD = PLAIN.iam_password
USER = {
    "ECSBATCH_IAM_USER": PLAIN.iam_user,
    "ECSBATCH_IAM_PASSWORD": PASSWORD,
    "ECSBATCH_IAM_DOMAIN": PLAIN.iam_domain,
}
STS = "CANARY-security-token"


class Later(SystemClock):
    """A wall clock that can be set forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def wall(self) -> float:
        """Return the time that it is said to be."""
        return time.time() + self.ahead


@asynccontextmanager
async def client_of(
    auth: Auth, running: Running, clock: Later | None = None, **settings: Any
) -> AsyncIterator[EcsClient]:
    where = {"region": REGION, "endpoint": running.url, "project_id": PLAIN.project_id, **settings}
    async with EcsClient(auth=auth, clock=clock, api_rate=1e6, **where) as ecs:
        yield ecs


def asked(running: Running, what: str) -> int:
    """Return how often IAM or the metadata service was asked."""
    looks: dict[str, int] = running.audit()["looks"]
    return looks.get(what, 0)


def cloud(**config: Any) -> CloudConfig:
    return CloudConfig(servers=5, latency=0.001, **config)


def metadata(running: Running) -> Auth:
    return find({"ECSBATCH_CREDENTIALS": "metadata", "ECSBATCH_METADATA_ENDPOINT": running.url}).auth


async def page(ecs: EcsClient) -> int:
    """List one page and return how many servers it has."""
    async for each in ecs.list_servers():
        return len(each.servers)
    raise AssertionError


async def test_a_password_gets_one_token_for_many_callers() -> None:
    async with serve(cloud()) as running, client_of(find(USER).auth, running) as ecs:
        sizes = await asyncio.gather(*(page(ecs) for _ in range(30)))
        job = await ecs.submit("SOFT", running.cloud.ids()[:1])

        assert set(sizes) == {5}
        assert job
        assert asked(running, "iam") == 1
        assert PASSWORD not in repr(ecs)
        assert "MIIsimulated" not in repr(ecs)


async def test_a_token_that_ran_out_is_renewed_once_for_all_callers() -> None:
    """The cloud says so first: its clock is the one that counts."""
    async with serve(cloud(token_ttl=20), speed=100) as running, client_of(find(USER).auth, running) as ecs:
        await page(ecs)
        await asyncio.sleep(0.25)
        sizes = await asyncio.gather(*(page(ecs) for _ in range(20)))

        assert set(sizes) == {5}
        assert asked(running, "iam") == 2


async def test_a_submit_whose_token_ran_out_is_not_sent_twice_under_one_grant() -> None:
    async with serve(cloud(token_ttl=20), speed=100) as running, client_of(find(USER).auth, running) as ecs:
        await page(ecs)
        await asyncio.sleep(0.25)
        with pytest.raises(NotAccepted, match="renewed") as caught:
            await ecs.submit("SOFT", running.cloud.ids()[:1])

        assert caught.value.answered
        assert caught.value.retry_after == 0.0
        assert running.audit()["restarts"] == 0
        assert await ecs.submit("SOFT", running.cloud.ids()[:1])


async def test_a_token_is_renewed_before_its_end_and_nobody_notices() -> None:
    clock = Later()
    async with serve(cloud()) as running, client_of(find(USER).auth, running, clock) as ecs:
        await page(ecs)
        clock.ahead = 86_400 - 2400 - 60
        await page(ecs)
        assert asked(running, "iam") == 1
        clock.ahead = 86_400 - 2400 + 60
        await asyncio.gather(*(page(ecs) for _ in range(20)))

        assert asked(running, "iam") == 2
        assert running.audit()["statuses"].get("401", 0) == 0


async def test_a_given_token_is_used_until_it_runs_out_and_the_password_renews_it() -> None:
    async with serve(cloud(token_ttl=30), speed=100) as running:
        given = {}
        async with client_of(find(USER).auth, running) as ecs:
            await page(ecs)
        given["ECSBATCH_AUTH_TOKEN"] = next(iter(running.cloud._service._authenticator.tokens))
        async with client_of(find({**USER, **given}).auth, running) as ecs:
            await page(ecs)
            assert asked(running, "iam") == 1
            await asyncio.sleep(0.35)
            await page(ecs)
            assert asked(running, "iam") == 2
        async with client_of(find(given).auth, running) as ecs:
            with pytest.raises(AuthError, match="ran out"):
                await page(ecs)


async def test_a_servers_agency_gives_temporary_keys_that_are_renewed_in_time() -> None:
    clock = Later()
    async with (
        serve(cloud(security_token=STS, token_ttl=1500)) as running,
        client_of(metadata(running), running, clock) as ecs,
    ):
        await page(ecs)
        assert asked(running, "metadata") == 2
        clock.ahead = 700
        await page(ecs)
        assert asked(running, "metadata") == 2
        clock.ahead = 800
        await asyncio.gather(*(page(ecs) for _ in range(20)))

        assert asked(running, "metadata") == 4
        assert await ecs.submit("SOFT", running.cloud.ids()[:1])
        assert STS not in repr(ecs)


@pytest.mark.parametrize("source", ["key", "password", "metadata"])
async def test_the_project_is_looked_up_by_its_region(source: str) -> None:
    sts = STS if source == "metadata" else ""
    async with serve(cloud(security_token=sts)) as running:
        key = {"HUAWEICLOUD_SDK_AK": PLAIN.access_key, "HUAWEICLOUD_SDK_SK": PLAIN.secret_key}
        auth = {"key": find(key).auth, "password": find(USER).auth, "metadata": metadata(running)}[source]
        async with client_of(auth, running, project_id="") as ecs:
            assert ecs.site.project_id == PLAIN.project_id
            assert await page(ecs) == 5
        with pytest.raises(ConfigError, match="No project is named mars-1"):
            async with client_of(auth, running, project_id="", region="mars-1"):
                pass


async def test_a_client_that_was_not_entered_says_so() -> None:
    ecs = EcsClient(auth=find(USER).auth, region=REGION)
    with pytest.raises(ConfigError, match="async with"):
        await ecs.look(["a"])
    await ecs.aclose()


async def test_one_auth_serves_two_clients_each_with_a_token_of_its_own() -> None:
    async with serve(cloud()) as running:
        auth = find(USER).auth
        async with client_of(auth, running) as one, client_of(auth, running) as two:
            await asyncio.gather(page(one), page(two))

            assert asked(running, "iam") == 2


# What IAM and the metadata service may answer: a sender that plays them


class Played:
    """Answers by path; what is not there is refused before a byte leaves."""

    def __init__(self, **answers: Answer | Callable[[Request], Answer]) -> None:
        self.answers = answers
        self.paths: list[str] = []

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Answer by the last word of the path."""
        name = request.url.partition("?")[0].rpartition("/")[2]
        self.paths.append(name)
        if name not in self.answers:
            raise ConnectionError(f"connection refused by {request.url}")
        on_sent()
        answer = self.answers[name]
        return answer if isinstance(answer, Answer) else answer(request)


def projects(*rows: dict[str, str]) -> Answer:
    return Answer(200, {}, orjson.dumps({"projects": rows}))


async def refused(played: Played, env: dict[str, str]) -> EcsbatchError:
    """Enter a client that cannot be entered; no secret is in what is raised, nor behind it."""
    with pytest.raises(EcsbatchError) as caught:
        async with EcsClient(auth=find(env).auth, region=REGION, sender=played):
            pass
    shown = "".join(traceback.format_exception(caught.value))
    assert "CANARY" not in shown
    assert PASSWORD not in shown
    return caught.value


KEY = {"HUAWEICLOUD_SDK_AK": "AKCANARY00", "HUAWEICLOUD_SDK_SK": "CANARY-secret-key"}


async def test_several_projects_are_named() -> None:
    rows = [{"id": f"p{i}", "name": f"{REGION}_{i}"} for i in range(10)]
    error = await refused(Played(projects=projects(*rows)), KEY)

    assert "p0 (eu-west-101_0), p1 " in str(error)
    assert "and 2 more" in str(error)
    assert isinstance(error, ConfigError)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"projects": [1]}', b'{"projects": 3}', b"\xff<html>"])
async def test_a_list_of_projects_that_is_none_is_no_project(body: bytes) -> None:
    assert isinstance(await refused(Played(projects=Answer(200, {}, body)), KEY), NotSent)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_iam_refuses_is_one_request(status: int) -> None:
    def echo(request: Request) -> Answer:
        return Answer(status, {}, orjson.dumps({"error_msg": str(dict(request.headers)), "error_code": "APIGW.0301"}))

    played = Played(projects=echo)

    assert isinstance(await refused(played, KEY), AuthError)
    assert played.paths == ["projects"]


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_wrong_password_is_one_request_and_names_the_variables(status: int) -> None:
    def echo(request: Request) -> Answer:
        return Answer(status, {}, orjson.dumps({"error": {"code": status, "message": request.body.decode()}}))

    played = Played(tokens=echo)
    error = await refused(played, USER)

    assert "ECSBATCH_IAM_PASSWORD" in str(error)
    assert played.paths == ["tokens"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(201, {}, b"{}"),
        Answer(201, {"x-subject-token": "two words"}, b"{}"),
        Answer(500, {}, b"<html>"),
        Answer(429, {}, b'{"error_code":"APIGW.0308","error_msg":"policy ip over ratelimit,limit:5,time:1 second"}'),
        Answer(404, {}, b""),
    ],
)
async def test_no_token_means_that_nothing_was_sent(answer: Answer) -> None:
    """A restart that waits for a token is certainly not carried out, and no quota of its own is spent."""
    error = await refused(Played(tokens=answer), USER)

    assert isinstance(error, NotSent | AuthError)
    assert not isinstance(error, NotSent) or not error.answered


async def test_an_unreachable_iam_says_which() -> None:
    assert "connection refused by https://iam.myhuaweicloud.eu/v3/auth/tokens" in str(await refused(Played(), USER))


AGENCY = {"ECSBATCH_CREDENTIALS": "metadata"}
GOOD_KEY = {"access": "CANARYACCESS", "secret": "CANARY-secret", "securitytoken": "CANARY-sts"}


@pytest.mark.parametrize("status", [404, 405, 503])
async def test_an_old_metadata_service_is_asked_without_a_token(status: int) -> None:
    headers: list[dict[str, str]] = []

    def key(request: Request) -> Answer:
        headers.append(dict(request.headers))
        return Answer(200, {}, orjson.dumps({"credential": GOOD_KEY}))

    played = Played(token=Answer(status, {}, b""), securitykey=key, projects=projects({"id": "p1", "name": REGION}))
    async with EcsClient(auth=find(AGENCY).auth, region=REGION, sender=played) as ecs:
        assert ecs.site.project_id == "p1"
    assert headers == [{}]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (Answer(404, {}, b""), "no agency"),
        (Answer(200, {}, b"{}"), "not the documented one"),
        (Answer(200, {}, orjson.dumps({"credential": {**GOOD_KEY, "secret": "CANARY two"}})), "not the documented one"),
        (Answer(200, {}, orjson.dumps({"credential": {**GOOD_KEY, "expires_at": "soon"}})), "not the documented one"),
        (Answer(500, {}, b"CANARY"), "HTTP 500"),
    ],
)
async def test_a_metadata_service_without_a_key_is_told(key: Answer, says: str) -> None:
    assert says in str(await refused(Played(token=Answer(200, {}, b"t"), securitykey=key), AGENCY))


async def test_a_silent_metadata_service_is_given_up_after_three_seconds() -> None:
    async def silence(_request: Request, on_sent: Callable[[], None]) -> Answer:
        on_sent()
        await asyncio.sleep(60)
        raise AssertionError

    began = time.monotonic()
    with pytest.raises(NotSent, match="within 3 s"):
        async with EcsClient(auth=find(AGENCY).auth, region=REGION, sender=silence):
            pass

    assert 2.9 < time.monotonic() - began < 5


# When: decisions on plain values


def test_the_time_of_a_lease_is_reckoned_from_the_clouds_own_clock() -> None:
    """A machine whose clock is ten minutes off would renew too late, or all the time."""
    date = {"date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    midnight = 1_767_225_600.0
    here = midnight + 600

    assert issued(TokenAuth("T"), Answer(200, date, b""), midnight + 86_400, here, 1.0).ends == here + 86_400
    assert issued(TokenAuth("T"), Answer(200, date, b""), midnight + 86_400, here, 1.0).due == here + 84_000
    assert issued(TokenAuth("T"), Answer(200, date, b""), 0.0, here, 3600.0).due == here + 1800
    assert issued(TokenAuth("T"), Answer(200, date, b""), midnight - 5, here, 3600.0).ends == here + 60


class Issuer:
    """Issues tokens by number, or fails."""

    def __init__(self) -> None:
        self.issued = 0
        self.error: EcsbatchError | None = None

    async def __call__(self, desk: IssueContext) -> IssuedAuth:
        """Issue the next one: 100 s long, due after 50."""
        if self.error:
            raise self.error
        self.issued += 1
        now = desk.wall()
        return IssuedAuth(TokenAuth(f"CANARY-{self.issued}"), now + 100, now + 50)


async def test_a_renewal_that_fails_is_tried_again_a_minute_later_while_the_old_one_holds() -> None:
    now = 1000.0

    async def nobody(_request: Request) -> Answer:
        raise AssertionError

    issuer = Issuer()
    auth = RefreshableAuth("test", issuer).at(IssueContext(nobody, "", "", "p", lambda: now))
    assert auth.due(now)
    await auth.refresh(now)
    issuer.error = NotSent("No way.")
    await auth.refresh(now + 51)
    assert (auth.due(now + 51), auth.usable(now + 51), auth.due(now + 100)) == (False, True, True)
    with pytest.raises(NotSent):
        await auth.refresh(now + 101)
    issuer.error = None
    await auth.renew()

    assert auth.redact("CANARY-1 and CANARY-2") == "*** and ***"
    assert repr(auth) == "<RefreshableAuth test>"


async def test_an_auth_without_a_client_cannot_ask() -> None:
    with pytest.raises(AuthError, match="EcsClient"):
        await RefreshableAuth("test", Issuer()).renew()
