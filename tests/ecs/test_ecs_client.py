"""The client, with a sender that plays a script."""

import asyncio
import selectors
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from ecsbatch.ecs.auth.iam import User, password_auth
from ecsbatch.ecs.auth.schemes import JSON_TYPE, Auth, KeyAuth, TokenAuth, UnsignedRequest
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.listing import MOST_ROWS, most_rows
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.ecs.wire import ListingPage
from ecsbatch.errors import (
    AuthError,
    CloudError,
    ConfigError,
    Invalid,
    JobNotFound,
    NotAccepted,
    NotSent,
    Refused,
    StoreError,
    Throttled,
    TokenExpired,
    UnknownAnswer,
)
from ecsbatch.model.servers import Job, Look, ServerView

ACCEPTED = Answer(200, {}, b'{"job_id":"j1"}')
EXPIRED = Answer(401, {"x-request-id": "r"}, b'{"error_code":"APIGW.0301","error_msg":"token expires"}')
Step = Answer | BaseException | float


class Script:
    """A sender: each step is an answer, an error, or seconds of silence; ``unsent`` fails before a byte leaves."""

    def __init__(self, *steps: Step, unsent: bool = False) -> None:
        self.steps = list(steps)
        self.unsent = unsent
        self.requests: list[Request] = []

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Play the next step."""
        self.requests.append(request)
        step = self.steps.pop(0)
        if not self.unsent:
            on_sent()
            on_sent()
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, float):
            await asyncio.sleep(step)
        assert isinstance(step, Answer)
        return step


class Renewable:
    """A token that can be renewed, slowly."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.tokens = 1
        self.error = error

    def headers(self, request: UnsignedRequest, now: float) -> Mapping[str, str]:
        """Name the token by its number."""
        return {"Host": request.host, "X-Auth-Token": f"T{self.tokens}", "X-Now": str(now)}

    async def renew(self) -> bool:
        """Take the next number, or fail."""
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        self.tokens += 1
        return True

    def redact(self, text: str) -> str:
        """Hide a secret."""
        return text.replace("CANARY", "***")


def client(script: Script, auth: Auth | None = None, **settings: Any) -> EcsClient:
    auth = auth or KeyAuth("AKIAEXAMPLE", "CANARY-SECRET")
    return EcsClient(auth=auth, project_id="p1", region="eu-west-101", sender=script, api_rate=1e6, **settings)


def page(ids: Iterable[str], count: int | None = None) -> Answer:
    rows = [{"id": i, "status": "ACTIVE"} for i in ids]
    return Answer(200, {}, orjson.dumps({"count": count, "servers": rows}))


async def test_a_submit_is_one_signed_post() -> None:
    script, sent = Script(ACCEPTED), []
    job = await client(script).submit("SOFT", ["a", "b"], lambda: sent.append(len(script.requests)))
    (request,) = script.requests

    assert job == "j1"
    assert sent == [1]
    assert (request.method, request.url) == (
        "POST",
        "https://ecs.eu-west-101.myhuaweicloud.eu/v1/p1/cloudservers/action",
    )
    assert request.body == b'{"reboot":{"type":"SOFT","servers":[{"id":"a"},{"id":"b"}]}}'
    assert request.headers["Host"] == "ecs.eu-west-101.myhuaweicloud.eu"
    assert request.headers["Content-Type"] == JSON_TYPE
    assert request.headers["Authorization"].startswith(
        "SDK-HMAC-SHA256 Access=AKIAEXAMPLE, SignedHeaders=content-type;"
    )


async def test_a_job_id_in_a_202_or_a_cut_answer_counts() -> None:
    """A job id in hand is proof, whatever else is missing."""
    assert await client(Script(Answer(202, {}, b'{"job_id":"j2"}'))).submit("SOFT", ["a"]) == "j2"
    assert await client(Script(Answer(200, {}, b'{"job_id":"j2"}', complete=False))).submit("SOFT", ["a"]) == "j2"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(200, {"x-request-id": "r"}, b"{}"), UnknownAnswer),
        (Answer(204, {"x-request-id": "r"}, b""), UnknownAnswer),
        (Answer(200, {"x-request-id": "r"}, b'{"job_id":"j', complete=False), UnknownAnswer),
        (Answer(500, {"x-request-id": "r"}, b""), UnknownAnswer),
        (Answer(429, {"x-request-id": "r"}, b""), Throttled),
        (Answer(501, {"x-request-id": "r"}, b'{"error":{"code":"Ecs.0603","message":"busy"}}'), NotAccepted),
        (Answer(404, {"x-request-id": "r"}, b'{"error":{"code":"Ecs.0114","message":"gone"}}'), Refused),
        (Answer(403, {"x-request-id": "r"}, b""), AuthError),
    ],
)
async def test_an_answered_submit_says_so(answer: Answer, kind: type[CloudError]) -> None:
    with pytest.raises(CloudError) as caught:
        await client(Script(answer)).submit("SOFT", ["a"])

    error = caught.value
    assert (type(error), error.answered, error.status, error.request_id) == (kind, True, answer.status, "r")


async def test_an_error_before_the_first_byte_is_not_sent() -> None:
    with pytest.raises(NotSent, match="connection refused by x:1") as caught:
        await client(Script(ConnectionError("connection refused by x:1"), unsent=True)).submit("SOFT", ["a"])

    assert not caught.value.answered


async def test_an_error_after_the_first_byte_is_unknown() -> None:
    with pytest.raises(UnknownAnswer, match="reset") as caught:
        await client(Script(ConnectionError("reset"))).submit("SOFT", ["a"])

    assert not caught.value.answered


@pytest.mark.real
async def test_silence_before_the_first_byte_is_not_sent_and_after_it_unknown() -> None:
    with pytest.raises(NotSent, match=r"no answer within 0\.01 s"):
        await client(Script(60.0, unsent=True), request_timeout=0.01).submit("SOFT", ["a"])
    with pytest.raises(UnknownAnswer, match=r"no answer within 0\.01 s"):
        await client(Script(60.0), request_timeout=0.01).submit("SOFT", ["a"])


@pytest.mark.real
async def test_a_caller_s_own_timeout_is_not_taken_for_ours() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await client(Script(60.0)).submit("SOFT", ["a"])


async def test_a_timeout_that_the_sender_raises_is_named_by_its_text() -> None:
    with pytest.raises(UnknownAnswer, match="TimeoutError"):
        await client(Script(TimeoutError())).submit("SOFT", ["a"])


async def test_cancelling_passes_through() -> None:
    task = asyncio.create_task(client(Script(60.0)).submit("SOFT", ["a"]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_on_sent_may_veto_the_request() -> None:
    """A sender that is later than its grant allows drops it unsent."""

    def veto() -> None:
        raise RuntimeError("the grant is stale")

    with pytest.raises(NotSent, match="the grant is stale"):
        await client(Script(ACCEPTED)).submit("SOFT", ["a"], veto)


@pytest.mark.real
async def test_an_expired_token_is_renewed_but_a_submit_is_not_repeated() -> None:
    """One grant, one attempt."""
    script, auth = Script(EXPIRED), Renewable()
    with pytest.raises(NotAccepted) as caught:
        await client(script, auth).submit("SOFT", ["a"])

    assert type(caught.value) is NotAccepted
    assert (caught.value.retry_after, caught.value.status, caught.value.answered) == (0.0, 401, True)
    assert (auth.tokens, len(script.requests)) == (2, 1)


@pytest.mark.real
async def test_a_look_is_repeated_once_with_the_renewed_token() -> None:
    script, auth = Script(EXPIRED, page(["a"])), Renewable()
    look = await client(script, auth).look(["a"])

    assert list(look.servers) == ["a"]
    assert [r.headers["X-Auth-Token"] for r in script.requests] == ["T1", "T2"]


@pytest.mark.real
async def test_a_renewed_token_that_is_not_accepted_either_ends_it() -> None:
    script = Script(EXPIRED, EXPIRED)
    with pytest.raises(TokenExpired):
        await client(script, Renewable()).look(["a"])

    assert len(script.requests) == 2


@pytest.mark.real
async def test_many_callers_renew_a_token_once() -> None:
    script, auth = Script(*[EXPIRED] * 9, *[page(["a"])] * 9), Renewable()
    ecs = client(script, auth)
    await asyncio.gather(*[ecs.look(["a"]) for _ in range(9)])

    assert auth.tokens == 2


@pytest.mark.real
async def test_a_token_that_cannot_be_renewed_is_an_auth_error() -> None:
    for auth in (KeyAuth("AKIAEXAMPLE", "S", "STS"), TokenAuth("T")):
        with pytest.raises(TokenExpired):
            await client(Script(EXPIRED), auth).look(["a"])
        with pytest.raises(TokenExpired):
            await client(Script(EXPIRED), auth).submit("SOFT", ["a"])
    with pytest.raises(AuthError, match=r"could not be renewed: disk is full of \*\*\*"):
        await client(Script(EXPIRED), Renewable(error=OSError("disk is full of CANARY"))).look(["a"])
    with pytest.raises(AuthError, match="could not be renewed: x"):
        await client(Script(EXPIRED), Renewable(error=StoreError("x"))).look(["a"])


async def test_a_job_is_looked_at() -> None:
    script = Script(Answer(200, {}, b'{"status":"INIT","job_id":"j 1"}'))

    assert await client(script).show_job("j 1", {"a"}) == Job("j 1", "INIT")
    assert script.requests[0].url.endswith("/v1/p1/jobs/j%201")


async def test_a_job_that_the_cloud_does_not_know_is_not_found() -> None:
    body = b'{"error":{"code":"Common.0011","message":"no such job"}}'
    with pytest.raises(JobNotFound):
        await client(Script(Answer(400, {}, body))).show_job("j1", ())


async def test_servers_are_looked_at_in_one_request() -> None:
    answer = Answer(200, {"date": "Thu, 01 Jan 2026 12:00:00 GMT"}, page(["a", "other"]).body)
    script = Script(answer)
    look = await client(script).look(["a", "b"])

    assert look == Look({"a": ServerView("a", status="ACTIVE")}, 1_767_268_800.0, unasked=1)
    assert script.requests[0].url.endswith("/cloudservers/detail?limit=100&server_id=a%2Cb")


async def test_a_look_at_any_server_asks_for_the_first_of_the_list() -> None:
    script = Script(Answer(200, {"date": "Thu, 01 Jan 2026 12:00:00 GMT"}, page(["z"], 40).body))

    assert await client(script).look_at_any() == Look({"z": ServerView("z", status="ACTIVE")}, 1_767_268_800.0)
    assert script.requests[0].url.endswith("/cloudservers/detail?limit=1")


async def test_looking_at_nothing_asks_nothing() -> None:
    assert await client(Script()).look([]) == Look({})


async def test_a_look_at_more_than_100_servers_is_refused() -> None:
    with pytest.raises(ValueError, match="100"):
        await client(Script()).look([str(i) for i in range(101)])


async def test_a_look_without_an_answer_saw_nothing() -> None:
    with pytest.raises(UnknownAnswer, match="Nothing could be seen: reset"):
        await client(Script(ConnectionError("reset"))).look(["a"])


async def test_a_look_cut_off_says_so() -> None:
    with pytest.raises(UnknownAnswer, match=r"broke off\. \(HTTP 200\)"):
        await client(Script(Answer(200, {}, b'{"servers":[', complete=False))).look(["a"])


async def test_a_listing_pages_by_marker_to_a_short_page() -> None:
    script = Script(page(["a", "b"], 3), page(["c"], 3))
    pages = [p async for p in client(script).list_servers(limit=2, name="web 1", not_tags="x", status="")]

    assert [[s.id for s in p.servers] for p in pages] == [["a", "b"], ["c"]]
    assert [r.url.partition("?")[2] for r in script.requests] == [
        "limit=2&name=web%201&not-tags=x",
        "limit=2&marker=b&name=web%201&not-tags=x",
    ]


@pytest.mark.parametrize(
    ("pages", "total"),
    [
        ([[]], 0),
        ([["a", "b"], []], 2),
        ([["a", "b"], ["c"], ["d"]], 4),
    ],
)
async def test_a_listing_is_complete_also_where_the_cloud_caps_its_pages(pages: list[list[str]], total: int) -> None:
    script = Script(*[page(ids, total) for ids in pages])
    seen = [s.id async for p in client(script).list_servers(limit=2) for s in p.servers]

    assert len(seen) == total


async def test_a_listing_in_circles_raises() -> None:
    for pages in ([["a", "b"], ["a", "b"]], [["a", "b"], ["c", "d"], ["a", "b"], ["c", "d"]]):
        with pytest.raises(UnknownAnswer, match="circles"):
            [p async for p in client(Script(*[page(p) for p in pages])).list_servers(limit=2)]


async def test_a_listing_that_fails_part_way_raises() -> None:
    pages = client(Script(page(["a", "b"]), Answer(403, {}, b""))).list_servers(limit=2)

    assert len((await anext(pages)).servers) == 2
    with pytest.raises(AuthError):
        await anext(pages)


@pytest.mark.parametrize(("count", "most"), [(None, MOST_ROWS), (3, MOST_ROWS), (5, 12), (10**12, MOST_ROWS)])
def test_a_listing_counts_as_endless_whatever_the_cloud_says_how_long_it_is(count: int | None, most: int) -> None:
    assert most_rows(ListingPage([ServerView(id_) for id_ in "abc"], count), 2) == most


async def test_an_unknown_filter_is_refused() -> None:
    """The API would ignore it and list the whole fleet."""
    with pytest.raises(ConfigError, match="tag, zone"):
        [p async for p in client(Script()).list_servers(tag="x", zone="y")]  # type: ignore[call-arg]  # on purpose
    with pytest.raises(ConfigError, match="no text"):
        [p async for p in client(Script()).list_servers(name="\udcff")]
    with pytest.raises(ConfigError, match="1 to 1000"):
        [p async for p in client(Script()).list_servers(limit=0)]


class Jumping(selectors.DefaultSelector):
    """Waits for nothing: it remembers how long it should have."""

    slept = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Skip the wait."""
        self.slept += max(0.0, timeout or 0.0)
        return super().select(0)


class Virtual(asyncio.SelectorEventLoop):
    """A loop whose time passes only by waits that are skipped."""

    def __init__(self) -> None:
        self.skipped = Jumping()
        super().__init__(self.skipped)

    def time(self) -> float:
        """Return the seconds skipped so far."""
        return self.skipped.slept


def test_a_page_is_asked_for_four_times() -> None:
    slow = Answer(429, {"retry-after": "9"}, b"")
    good = Script(Answer(502, {}, b""), slow, ConnectionError("reset"), page([]))
    bad = Script(*[Answer(502, {}, b"")] * 4)

    async def listed(script: Script) -> int:
        return len([p async for p in client(script).list_servers()])

    with asyncio.Runner(loop_factory=Virtual) as runner:
        assert runner.run(listed(good)) == 1
        with pytest.raises(UnknownAnswer):
            runner.run(listed(bad))
        waited = runner.get_loop().time()

    assert (len(good.requests), len(bad.requests)) == (4, 4)
    assert waited == pytest.approx((1 + 9 + 4) + (1 + 2 + 4))


def test_looks_are_paced_and_submits_wait_by_turn_only() -> None:
    async def seconds(ask: str) -> float:
        script = Script(*[ACCEPTED if ask == "submit" else page(["a"])] * 11)
        ecs = EcsClient(auth=TokenAuth("T"), project_id="p", region="eu", sender=script, api_rate=2.0)
        start = asyncio.get_running_loop().time()
        for _ in range(11):
            if ask == "turn":
                await ecs.turn()
            else:
                await (ecs.submit("SOFT", ["a"]) if ask == "submit" else ecs.look(["a"]))
        return asyncio.get_running_loop().time() - start

    with asyncio.Runner(loop_factory=Virtual) as runner:
        waited = {ask: runner.run(seconds(ask)) for ask in ("submit", "look", "turn")}

    assert waited == pytest.approx({"submit": 0.0, "look": 4.5, "turn": 4.5})


async def test_the_fallback_store_is_closed_with_the_client() -> None:
    closed = []

    class Store:
        async def aclose(self) -> None:
            closed.append(self)

    async with client(Script()) as ecs:
        ecs.fallback_store = Store()
    await ecs.aclose()

    assert len(closed) == 1


@pytest.mark.parametrize("name", ["request_timeout", "connect_timeout", "api_rate"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "5", None])
def test_a_senseless_setting_is_refused_by_name(name: str, value: object) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(Invalid) as caught:
        EcsClient(auth=TokenAuth("T"), project_id="p", region="eu", sender=Script(), **settings)

    assert caught.value.field == name


def test_timeouts_are_given_in_seconds_or_as_text() -> None:
    ecs = EcsClient(
        auth=TokenAuth("T"),
        project_id="p",
        region="eu",
        sender=Script(),
        request_timeout="1m",
        connect_timeout=5,
    )

    assert (ecs.request_timeout, ecs.connect_timeout) == (60.0, 5.0)


def test_certificates_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    for name in ("missing", "junk"):
        with pytest.raises(ConfigError, match="ca_file"):
            EcsClient(auth=TokenAuth("T"), project_id="p", region="eu", ca_file=tmp_path / name)


async def test_nothing_shows_a_secret() -> None:
    body = orjson.dumps({"error": {"code": "CANARY-SECRET", "message": "echo CANARY-SECRET"}})
    for step in (Answer(403, {"x-request-id": "CANARY-SECRET"}, body), ConnectionError("CANARY-SECRET")):
        script = Script(step)
        ecs = client(script)
        with pytest.raises(CloudError) as caught:
            await ecs.submit("SOFT", ["a"])
        error = caught.value

        assert "CANARY" not in repr(ecs) + str(error) + repr(error) + repr(script.requests) + error.request_id
        assert "CANARY" not in "".join(traceback.format_exception(error)).replace('"CANARY', "")
    assert repr(client(Script())) == (
        "<EcsClient https://ecs.eu-west-101.myhuaweicloud.eu project p1 <KeyAuth AKIA***>>"
    )


@pytest.mark.parametrize(
    ("auth", "project_id"),
    [(password_auth(User("ops", "secret", "acme")), "p"), (TokenAuth("T" * 20), ""), (KeyAuth("A" * 20, "S" * 40), "")],
    ids=["password", "token", "key"],
)
async def test_no_secret_goes_to_an_iam_that_nobody_named(auth: Auth, project_id: str) -> None:
    script = Script(ACCEPTED)
    settings: dict[str, Any] = {"endpoint": "https://ecs.private.example", "region": "cn-north-4", "sender": script}

    with pytest.raises(ConfigError, match=r"export HUAWEICLOUD_SDK_IAM_ENDPOINT="):
        async with EcsClient(auth=auth, project_id=project_id, **settings):
            pass
    assert script.requests == []
