"""A client on the host's session: it shares what the session connects with, and nothing of what it says."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from raw_server import headers_of, is_silent, ok, says, server_tls, serving

from ecsbatch.ecs.aiohttp_sender import AiohttpSender
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Request
from ecsbatch.errors import AuthError, Invalid, NotSent, UnknownAnswer
from ecsbatch.simulator.cloud import CloudConfig
from ecsbatch.simulator.server import serve

HERE = Path(__file__).parent
JOB = ok(b'{"job_id":"j1"}')


def client(session: Any, endpoint: str, **settings: Any) -> EcsClient:
    return EcsClient(
        auth=KeyAuth("AKIAEXAMPLE", "SECRETEXAMPLE"),
        project_id="p",
        endpoint=endpoint,
        session=session,
        **{"api_rate": 1e6, **settings},
    )


async def submit(ecs: EcsClient) -> str:
    """Submit, and check that ``on_sent`` is called if and only if bytes may have left."""
    sent: list[bool] = []
    async with ecs:
        try:
            job = await ecs.submit("SOFT", ["a"], lambda: sent.append(True))
        except NotSent:
            assert sent == []
            raise
        except BaseException:
            assert sent == [True]
            raise
    assert sent == [True]
    return job


async def test_a_fleet_is_restarted_over_the_hosts_session_which_stays_open() -> None:
    config = CloudConfig(servers=30, restart_median=5.0)
    key = KeyAuth(config.access_key, config.secret_key)
    async with serve(config, speed=1000.0) as cloud, aiohttp.ClientSession() as session:
        project = config.project_id
        async with EcsClient(auth=key, project_id=project, endpoint=cloud.url, session=session) as ecs:
            servers = [server.id async for server in ecs.select(all=True)]
            job = await ecs.submit("SOFT", servers)
            async with asyncio.timeout(10):
                shown = await ecs.show_job(job, servers)
                while not shown.over:
                    shown = await ecs.show_job(job, servers)

        assert [cloud.cloud.restarts(each) for each in servers] == [1] * 30
        async with session.get(f"{cloud.url}/_simulator/audit") as answer:
            assert answer.status == 200


async def test_connections_are_shared_with_the_host() -> None:
    async with serving(says(JOB)) as server, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server.port}"
        async with session.get(url) as answer:
            await answer.read()
        assert await submit(client(session, url)) == "j1"
        async with session.get(url) as answer:
            await answer.read()

        assert (server.connections, len(server.heads)) == (1, 3)


async def test_nothing_that_the_session_says_is_sent_and_nothing_is_kept() -> None:
    """Its cookies, headers, authentication, base, traces and middlewares are the host's; compression stays off."""
    traced: list[object] = []

    async def trace(*seen: object) -> None:
        traced.append(seen)

    async def middleware(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        traced.append(request)
        return await handler(request)

    traces = aiohttp.TraceConfig()
    traces.on_request_start.append(trace)
    async with (
        serving(says(ok(b'{"job_id":"j1"}', "Set-Cookie: kept=1; Path=/"))) as server,
        aiohttp.ClientSession(
            f"http://127.0.0.1:{server.port}/base/",
            headers={"X-Of-Host": "1", "Authorization": "Bearer host", "Accept-Encoding": "gzip"},
            cookies={"of": "host"},
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            raise_for_status=True,
            trace_configs=[traces],
            middlewares=[middleware],
        ) as session,
    ):
        # A jar of cookies takes none from an address without a name.
        async with client(session, f"http://localhost:{server.port}") as ecs:
            for _ in range(2):
                assert await ecs.submit("SOFT", ["a"]) == "j1"
        _, head = server.heads

        assert head.startswith(b"POST /v1/p/cloudservers/action HTTP/1.1")
        assert sorted(name for name, _ in headers_of(head)) == [
            "accept-encoding",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "x-project-id",
            "x-sdk-date",
        ]
        assert dict(headers_of(head))["accept-encoding"] == "identity"
        assert dict(headers_of(head))["authorization"].startswith("SDK-HMAC-SHA256")
        assert [cookie.key for cookie in session.cookie_jar] == ["of"]
        assert traced == []


async def test_a_redirect_is_not_followed_and_no_status_is_raised() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with serving(says(moved)) as server, aiohttp.ClientSession(raise_for_status=True) as session:
        with pytest.raises(AuthError):
            await submit(client(session, f"http://127.0.0.1:{server.port}"))

        assert len(server.heads) == 1


async def test_a_connection_that_takes_too_long_was_not_sent() -> None:
    """The client's own time-outs hold, whatever the session's are; also for a place in a pool that is full."""
    async with serving(is_silent) as server:
        forever = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=forever) as session:
            url = f"https://127.0.0.1:{server.port}"
            with pytest.raises(NotSent, match=r"no connection to .* in time"):
                await submit(client(session, url, connect_timeout=0.05))
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector, timeout=forever) as session:
            url = f"http://127.0.0.1:{server.port}"
            host = asyncio.create_task(session.get(url).__aenter__())
            await asyncio.sleep(0)
            with pytest.raises(NotSent, match=r"no connection to .* in time"):
                await submit(client(session, url, connect_timeout=0.05))
            host.cancel()
            await asyncio.wait([host])
            with pytest.raises(UnknownAnswer, match=r"no answer within 0\.1 s"):
                await submit(client(session, url, request_timeout=0.1))


async def test_the_sessions_own_trust_decides() -> None:
    async with serving(says(JOB), server_tls()) as server:
        url = f"https://localhost:{server.port}"
        async with aiohttp.ClientSession() as session:
            with pytest.raises(NotSent, match="the session that the client was given is to trust its CA"):
                await submit(client(session, url))
            assert server.heads == []
        trusting = ssl.create_default_context(cafile=HERE / "untrusted.pem")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            assert await submit(client(session, url)) == "j1"


@pytest.mark.parametrize("of", ["session", "environment"])
async def test_the_sessions_proxy_is_used(monkeypatch: pytest.MonkeyPatch, of: str) -> None:
    monkeypatch.setenv("no_proxy", "")
    async with serving(says(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")) as proxy:
        address = f"http://ops:CANARY@127.0.0.1:{proxy.port}"
        if of == "environment":
            monkeypatch.setenv("https_proxy", address)
        own = {"proxy": address} if of == "session" else {"trust_env": True}
        async with aiohttp.ClientSession(**own) as session:
            with pytest.raises(NotSent, match=r"said no: check the session's proxy") as caught:
                await submit(client(session, "https://name.invalid"))

        assert proxy.heads[0].startswith(b"CONNECT name.invalid:443 ")
        assert dict(headers_of(proxy.heads[0]))["proxy-authorization"].startswith("Basic ")
        assert "CANARY" not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.filterwarnings("ignore:.* be removed in:DeprecationWarning:")
async def test_the_password_of_the_sessions_proxy_is_used() -> None:
    async with serving(says(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")) as proxy:
        auth = aiohttp.BasicAuth("ops", "CANARY")
        address = f"http://127.0.0.1:{proxy.port}"
        async with aiohttp.ClientSession(proxy=address, proxy_auth=auth) as session:
            with pytest.raises(NotSent):
                await submit(client(session, "https://name.invalid"))

        assert dict(headers_of(proxy.heads[0]))["proxy-authorization"] == auth.encode()


async def test_a_session_without_a_proxy_goes_directly_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(NotSent, match="cannot be resolved"):
            await submit(client(session, "https://name.invalid"))


async def test_this_machine_is_asked_without_the_sessions_proxy() -> None:
    async with serving(says(JOB)) as server, aiohttp.ClientSession(proxy="http://127.0.0.1:1") as session:
        assert await submit(client(session, f"http://127.0.0.1:{server.port}")) == "j1"


async def test_a_closed_session_sends_nothing_and_is_told() -> None:
    async with serving(says(JOB)) as server:
        session = aiohttp.ClientSession()
        async with client(session, f"http://127.0.0.1:{server.port}") as ecs:
            await ecs.submit("SOFT", ["a"])
            await session.close()
            for _ in range(2):
                with pytest.raises(NotSent, match="the session that the client was given is closed"):
                    await ecs.submit("SOFT", ["a"], lambda: pytest.fail("nothing leaves"))

        assert len(server.heads) == 1


async def test_a_closed_client_leaves_the_session_open_and_sends_nothing() -> None:
    async with serving(says(JOB)) as server, aiohttp.ClientSession() as session:
        ecs = client(session, f"http://127.0.0.1:{server.port}")
        await ecs.submit("SOFT", ["a"])
        await ecs.aclose()
        with pytest.raises(NotSent, match="the client is closed"):
            await ecs.submit("SOFT", ["a"])

        assert not session.closed
        assert session.connector is not None
        assert not session.connector.closed


def test_a_session_of_another_event_loop_sends_nothing() -> None:
    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    with asyncio.Runner() as elsewhere:
        session = elsewhere.run(make())
        with pytest.raises(NotSent, match="belongs to another event loop"):
            asyncio.run(submit(client(session, "http://127.0.0.1:1")))
        elsewhere.run(session.close())


async def test_a_veto_leaves_nothing_on_the_wire() -> None:
    def veto() -> None:
        raise RuntimeError("stale")

    async with serving(says(JOB)) as server, aiohttp.ClientSession() as session:
        async with client(session, f"http://127.0.0.1:{server.port}") as ecs:
            for _ in range(2):
                with pytest.raises(NotSent, match="stale"):
                    await ecs.submit("SOFT", ["a"], veto)
                await ecs.submit("SOFT", ["b"])

        assert len(server.heads) == 2


async def test_what_contradicts_a_session_is_refused() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Invalid, match="ca_file beside session"):
            client(session, "http://127.0.0.1:1", ca_file=HERE / "untrusted.pem")
        with pytest.raises(Invalid, match="session beside sender"):
            client(session, "http://127.0.0.1:1", sender=AiohttpSender())
    with pytest.raises(Invalid, match=r"session = object: give an aiohttp\.ClientSession") as refused:
        client(object(), "http://127.0.0.1:1")
    assert refused.value.field == "session"


async def test_an_answer_that_the_host_would_not_take_whole_is_read() -> None:
    async with serving(says(ok(b"x" * 300_000))) as server, aiohttp.ClientSession(read_bufsize=1024) as session:
        sender = AiohttpSender(session=session, max_answer_bytes=400_000)
        answer = await sender(Request("GET", f"http://127.0.0.1:{server.port}/", {}), lambda: None)
        await sender.aclose()

    assert (len(answer.body), answer.complete) == (300_000, True)
