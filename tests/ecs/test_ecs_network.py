"""The aiohttp sender and the client on top of it, over real sockets."""

import asyncio
import base64
import gzip
import traceback
from pathlib import Path
from typing import Any

import pytest
from raw_server import headers_of, is_silent, ok, says, says_and_leaves, server_tls, serving

from ecsbatch.ecs.aiohttp_sender import AiohttpSender
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import MAX_ANSWER_BYTES, Answer, Request
from ecsbatch.errors import AuthError, NotSent, UnknownAnswer

HERE = Path(__file__).parent


def client(port: int, **settings: Any) -> EcsClient:
    endpoint = settings.pop("endpoint", f"http://127.0.0.1:{port}")
    return EcsClient(
        auth=KeyAuth("AKIAEXAMPLE", "SECRETEXAMPLE"), project_id="p", endpoint=endpoint, api_rate=1e6, **settings
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


async def free_port() -> int:
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    return port


async def test_a_submit_is_answered_with_a_job() -> None:
    async with serving(says(ok(b'{"job_id":"j1"}'))) as server:
        assert await submit(client(server.port)) == "j1"


async def test_what_is_on_the_wire_is_what_was_signed() -> None:
    odd = "web a/b~1+%2F&=?é,漢"
    async with serving(says(ok(b'{"count":0,"servers":[]}'))) as server, client(server.port) as ecs:
        assert [p async for p in ecs.list_servers(name=odd)]
        (head,) = server.heads

    assert head.split(b"\r\n")[0] == (
        b"GET /v1/p/cloudservers/detail?limit=1000&name=web%20a%2Fb~1%2B%252F%26%3D%3F%C3%A9%2C%E6%BC%A2 HTTP/1.1"
    )
    headers = headers_of(head)
    assert sorted(name for name, _ in headers) == [
        "accept-encoding",
        "authorization",
        "host",
        "x-project-id",
        "x-sdk-date",
    ]
    assert dict(headers)["host"] == f"127.0.0.1:{server.port}"


async def test_connections_are_kept_and_cookies_are_not() -> None:
    async with serving(says(ok(b'{"servers":[]}', "Set-Cookie: a=b; Path=/"))) as server, client(server.port) as ecs:
        for _ in range(3):
            await ecs.look(["a"])

        assert server.connections == 1
        assert not any(name == "cookie" for head in server.heads for name, _ in headers_of(head))


async def test_a_kept_connection_that_the_server_closed_is_not_used_for_a_submit() -> None:
    """It would be an unknown answer for nothing."""
    async with serving(says_and_leaves(ok(b'{"job_id":"j1"}'))) as server, client(server.port) as ecs:
        for _ in range(2):
            assert await ecs.submit("SOFT", ["a"]) == "j1"
            await asyncio.sleep(0.05)

        assert server.connections == 2


async def test_a_refused_connection_was_not_sent() -> None:
    port = await free_port()
    with pytest.raises(NotSent, match=f"connection refused by 127.0.0.1:{port}"):
        await submit(client(port))


async def test_an_error_that_says_nothing_is_told_by_its_name() -> None:
    def broken() -> None:
        raise OSError

    sender = AiohttpSender(connect_timeout=5.0)
    async with serving(says(ok(b"{}"))) as server:
        with pytest.raises(ConnectionError, match=rf"^\w+Error \(127.0.0.1:{server.port}\)$"):
            await sender(Request("GET", f"http://127.0.0.1:{server.port}/", {}, b""), broken)
        await sender.aclose()


async def test_a_name_that_does_not_exist_was_not_sent() -> None:
    with pytest.raises(NotSent, match=r"the name name\.invalid cannot be resolved"):
        await submit(client(0, endpoint="https://name.invalid"))


async def test_an_untrusted_certificate_was_not_sent() -> None:
    async with serving(says(ok(b'{"job_id":"j1"}')), server_tls()) as server:
        with pytest.raises(NotSent, match=r"TLS .* ca_file"):
            await submit(client(server.port, endpoint=f"https://127.0.0.1:{server.port}"))

        assert server.heads == []


async def test_a_certificate_named_by_ca_file_is_trusted() -> None:
    async with serving(says(ok(b'{"job_id":"j1"}')), server_tls()) as server:
        endpoint = f"https://localhost:{server.port}"

        assert await submit(client(0, endpoint=endpoint, ca_file=HERE / "untrusted.pem")) == "j1"


async def test_a_ca_file_adds_to_the_systems_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(HERE / "untrusted.pem"))
    async with serving(says(ok(b'{"job_id":"j1"}')), server_tls()) as server:
        endpoint = f"https://localhost:{server.port}"

        assert await submit(client(0, endpoint=endpoint, ca_file=HERE / "elsewhere.pem")) == "j1"


async def test_tls_with_a_server_that_speaks_none_was_not_sent() -> None:
    async with serving(is_silent) as server:
        with pytest.raises(NotSent, match=r"no connection to .* in time|no answer within"):
            await submit(client(0, endpoint=f"https://127.0.0.1:{server.port}", connect_timeout=0.05))


async def test_silence_is_unknown() -> None:
    async with serving(is_silent) as server:
        with pytest.raises(UnknownAnswer, match=r"no answer within 0\.1 s"):
            await submit(client(server.port, request_timeout=0.1))

        assert len(server.heads) == 1


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"nonsense\r\n\r\n"])
async def test_a_connection_that_ends_before_the_headers_is_unknown(raw: bytes, *, reset: bool) -> None:
    async with serving(says_and_leaves(raw, reset=reset)) as server:
        with pytest.raises(UnknownAnswer) as caught:
            await submit(client(server.port))

        assert not caught.value.answered
        assert len(server.heads) == 1


@pytest.mark.parametrize("reset", [False, True])
async def test_a_body_that_breaks_off_is_an_answer_that_is_unknown(*, reset: bool) -> None:
    async with serving(says_and_leaves(ok(b'{"job_id":"j1"}')[:-5], reset=reset)) as server:
        with pytest.raises(UnknownAnswer, match="broke off") as caught:
            await submit(client(server.port))

        assert (caught.value.answered, caught.value.status) == (True, 200)


async def test_a_redirect_is_not_followed() -> None:
    async with serving(says(b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")) as server:
        with pytest.raises(AuthError, match="redirect") as refused:
            await submit(client(server.port))
        assert refused.value.settings == ("endpoint",)

        assert len(server.heads) == 1


async def fetch(port: int, **settings: Any) -> Answer:
    sender = AiohttpSender(**settings)
    try:
        return await sender(Request("GET", f"http://127.0.0.1:{port}/", {}), lambda: None)
    finally:
        await sender.aclose()


async def test_a_huge_answer_is_cut() -> None:
    async with serving(says(ok(b"x" * 300_000))) as server:
        answer = await fetch(server.port, max_answer_bytes=100_000)

    assert (len(answer.body), answer.complete) == (100_000, False)


async def test_an_endless_answer_is_cut() -> None:
    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 0x400 + b"\r\n")
            await writer.drain()

    async with serving(endless) as server:
        answer = await fetch(server.port, max_answer_bytes=100_000)

    assert (len(answer.body), answer.complete) == (100_000, False)


async def test_an_answer_that_was_compressed_unasked_is_unpacked() -> None:
    async with serving(says(ok(gzip.compress(b'{"job_id":"j1"}', mtime=0), "Content-Encoding: gzip"))) as server:
        assert await submit(client(server.port)) == "j1"
        assert dict(headers_of(server.heads[0]))["accept-encoding"] == "identity"


async def test_a_bomb_is_unpacked_to_the_limit_only() -> None:
    bomb = gzip.compress(bytes(4 * MAX_ANSWER_BYTES), 9)
    async with serving(says(ok(bomb, "Content-Encoding: gzip"))) as server:
        answer = await fetch(server.port)

    assert (len(answer.body), answer.complete) == (MAX_ANSWER_BYTES, False)


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"x" * 9999, mtime=0)[:-4]])
async def test_a_broken_compressed_answer_is_incomplete(body: bytes) -> None:
    async with serving(says(ok(body, "Content-Encoding: gzip"))) as server:
        assert not (await fetch(server.port)).complete


async def test_a_proxy_that_says_no_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its password is nowhere in the error."""
    async with serving(says(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:CANARY@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(NotSent, match=r"the proxy for name\.invalid:443") as caught:
            await submit(client(0, endpoint="https://name.invalid"))

        assert proxy.heads[0].startswith(b"CONNECT name.invalid:443 ")
        assert "CANARY" not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize("ask", ["look", "submit"])
@pytest.mark.parametrize(
    "answer",
    [
        b"HELLO %b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX Y\x00: %b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"%b" * 1000 + b"\r\n\r\n",
    ],
)
async def test_what_a_proxy_answers_besides_http_is_not_repeated_nor_its_password(
    answer: bytes, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may echo what it was sent, and aiohttp quotes that, and names the proxy with its password."""
    echo = base64.b64encode(b"user:CANARY")
    async with serving(says(answer.replace(b"%b", echo))) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:CANARY@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(NotSent, match=r"the answer is not HTTP: \w+ .*\(name\.invalid:443\)") as caught:
            async with client(0, endpoint="https://name.invalid") as ecs:
                await (ecs.look(["a"]) if ask == "look" else ecs.submit("SOFT", ["a"]))
        told = "".join(traceback.format_exception(caught.value))
        assert [each for each in ("CANARY", echo.decode()) if each in told] == []


async def test_a_proxy_whose_name_cannot_be_resolved_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://user:CANARY@proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(NotSent, match=r"the name proxy\.invalid cannot be resolved") as caught:
        await submit(client(0, endpoint="https://name.invalid"))
    assert "CANARY" not in "".join(traceback.format_exception(caught.value))


async def test_a_proxy_that_is_not_there_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{await free_port()}")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(NotSent, match="proxy"):
        await submit(client(0, endpoint="https://name.invalid"))


@pytest.mark.parametrize(
    "proxy",
    [
        *(
            "http://ops:CANARY@",
            "ops:CANARY@127.0.0.1:1",
            "http://ops:CANARY@:1",
            "http://o:CANARY@h:99999",
            "http://[",
        ),
        *("http://ops:CANARY\N{ADDRESSED TO THE SUBJECT}@h:1", "http://ops:CA/CANARY@h:1", "http://o/CANARY@h:1"),
    ],
)
async def test_a_proxy_without_a_host_is_told_of_and_not_repeated(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(NotSent, match=r"the proxy in the environment is not http://HOST:PORT") as caught:
        await submit(client(0, endpoint="https://name.invalid"))

    assert "CANARY" not in "".join(traceback.format_exception(caught.value))


async def test_a_proxy_that_is_no_http_proxy_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(NotSent, match="HTTPS_PROXY"):
        await submit(client(0, endpoint="https://name.invalid"))


async def test_no_proxy_is_honoured_and_this_machine_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "name.invalid")
    async with serving(says(ok(b'{"job_id":"j1"}'))) as server:
        assert await submit(client(server.port)) == "j1"
    with pytest.raises(NotSent, match="cannot be resolved"):
        await submit(client(0, endpoint="https://name.invalid"))


async def test_a_closed_client_sends_nothing() -> None:
    ecs = client(1)
    await ecs.aclose()
    with pytest.raises(NotSent, match="closed"):
        await ecs.submit("SOFT", ["a"])


async def test_a_veto_leaves_nothing_on_the_wire() -> None:
    def veto() -> None:
        raise RuntimeError("stale")

    async with serving(says(ok(b'{"job_id":"j1"}'))) as server, client(server.port) as ecs:
        with pytest.raises(NotSent, match="stale"):
            await ecs.submit("SOFT", ["a"], veto)
        await ecs.submit("SOFT", ["b"])

        assert len(server.heads) == 1


@pytest.mark.parametrize("reused", [False, True], ids=["a new connection", "a connection in use"])
async def test_a_request_that_is_stopped_at_its_last_instant_sends_no_byte(*, reused: bool) -> None:
    """The grant has grown stale while it was signed and connected: its own word is passed on, and nothing left."""
    too_late = NotSent("The request was not sent: too long had passed.")

    def leaving() -> None:
        raise too_late

    received = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            received.extend(data)
            if received.endswith(b"}}"):
                writer.write(ok(b'{"job_id":"ff80808288d41e1b018990260955686a"}'))
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with client(listener.sockets[0].getsockname()[1]) as ecs:
        if reused:
            await ecs.submit("SOFT", ["a"])
        with pytest.raises(NotSent) as caught:
            await ecs.submit("SOFT", ["b"], leaving)
        assert await ecs.submit("SOFT", ["c"])
    listener.close()
    await listener.wait_closed()
    assert caught.value is too_late
    assert received.count(b"POST") == 1 + reused
    assert b'"b"' not in received
