"""The built-in health checks, against real sockets and real processes."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from ecsbatch.config.settings import CREDENTIAL_VARIABLES, PAGE_TOKEN, STORE_VARIABLES
from ecsbatch.errors import ConfigError
from ecsbatch.model.servers import Server
from ecsbatch.rollout.check_addresses import why_not_asked
from ecsbatch.rollout.checks import NotHealthy, check_of
from ecsbatch.rollout.programs import child_environment

HERE = Server("id-1", name="web one", address="127.0.0.1")


@asynccontextmanager
async def listening() -> AsyncIterator[int]:
    """Accept connections on a free port."""

    async def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Answer every request on a free port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        await web.TCPSite(runner, "127.0.0.2", port, ssl_context=tls).start()
        yield port
    finally:
        await runner.cleanup()


async def passes(text: str, server: Server = HERE, timeout: float = 10.0, ca_file: str = "") -> bool:  # noqa: ASYNC109 - the check's own
    async with aclosing(check_of(text, timeout=timeout, ca_file=ca_file, on_this_machine=True)) as check:
        return await check(server)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp",
        "tcp:",
        "tcp:0",
        "tcp:65536",
        "tcp:ssh",
        "tcp:٢٢",
        "udp:53",
        "http:",
        "http:/health",
        "http:0/health",
        "http:80 /x",
        "https:99999/",
        "url:",
        "url:ftp://host/",
        "url:http:///x",
        "url:http://[half",
        "url:http://host:x/",
        "url:http://host/a b",
        "cmd:",
        "cmd:   ",
        "cmd:'half",
        "cmd:{id} now",
        "cmd:./{name}",
    ],
)
def test_what_is_no_check_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        check_of(text)


# -- tcp -----------------------------------------------------------------------------------------------------------


async def test_a_port_that_accepts_is_healthy() -> None:
    async with listening() as port:
        assert await passes(f"tcp:{port}")


async def test_a_port_that_is_closed_is_not_healthy_yet() -> None:
    async with listening() as port:
        pass
    with pytest.raises(NotHealthy, match=f"no connection to port {port}"):
        await passes(f"tcp:{port}")


async def test_a_server_whose_address_is_not_known_is_not_healthy() -> None:
    with pytest.raises(NotHealthy, match="address is not known"):
        await passes("tcp:22", Server("id-1"))


async def test_addresses_can_come_from_elsewhere() -> None:
    async with listening() as port:
        check = check_of(f"tcp:{port}", address_of=lambda server: {"id-9": "127.0.0.1"}[server.id])

        assert await check(Server("id-9"))


# -- http ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (204, True), (302, True), (404, False), (503, False)])
async def test_two_and_three_hundreds_are_healthy(status: int, healthy: bool) -> None:  # noqa: FBT001 - a table's column
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    async with serving(answer) as port:
        if healthy:
            assert await passes(f"http:{port}/health")
        else:
            with pytest.raises(NotHealthy, match=f"it answered {status}"):
                await passes(f"http:{port}/health")


async def test_redirects_are_not_followed() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with serving(answer) as port:
        await passes(f"http:{port}/health")

    assert asked == ["/health"]


async def test_without_a_path_the_root_is_asked() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.Response()

    async with serving(answer) as port:
        await passes(f"http:{port}")

    assert asked == ["/"]


async def test_a_url_is_filled_with_the_servers_data_and_nothing_more() -> None:
    """A name of the cloud's must not lead to another path, query or host."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.Response()

    server = Server("id/../1", name="{id}?x=1#y@z", address="127.0.0.1")
    async with serving(answer) as port:
        await passes(f"url:http://127.0.0.1:{port}/health/{{id}}/{{name}}", server)

    assert asked == ["/health/id%2F..%2F1/%7Bid%7D%3Fx=1%23y@z"]


async def test_a_url_may_name_the_address() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    async with serving(answer) as port:
        assert await passes(f"url:http://{{address}}:{port}/")


async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with serving(answer) as port:
        with pytest.raises(NotHealthy, match=r"no answer within 0\.2 s"):
            await passes(f"http:{port}", timeout=0.2)


async def test_what_does_not_speak_http_is_not_healthy() -> None:
    async with listening() as port:
        with pytest.raises(NotHealthy, match="no answer"):
            await passes(f"http:{port}")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HELLO canary\r\n\r\n", r"its answer is not HTTP: Bad status line"),
        (b"HTTP/1.1 200 OK\r\nX canary: 1\r\n\r\n", r"its answer is not HTTP: \w+"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"canary" * 2000, r"its answer is not HTTP: Got more than [0-9]+ bytes"),
    ],
)
async def test_neither_a_url_nor_what_is_answered_besides_http_is_repeated(answer: bytes, says: str) -> None:
    """A URL may hold a token, and what is answered may echo it; the words of a check stand in the record."""

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(answered, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NotHealthy, match=says) as caught:
            await passes(f"url:http://127.0.0.1:{port}/{{id}}?token=canary")

    assert "canary" not in str(caught.value)


async def test_a_url_without_a_host_is_not_repeated() -> None:
    with pytest.raises(NotHealthy, match="its URL has no host") as caught:
        await passes("url:http://{name}:8080/?token=canary", Server("id-1", address="127.0.0.1"))

    assert "canary" not in str(caught.value)


async def test_a_check_can_be_closed_and_used_again() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    async with serving(answer) as port:
        check = check_of(f"http:{port}", on_this_machine=True)
        await check(HERE)
        await check.aclose()

        assert await check(HERE)
        await check.aclose()


# -- certificates and addresses ------------------------------------------------------------------------------------

TRUSTED = Path(__file__).parent.parent / "ecs" / "untrusted.pem"
OTHER = Path(__file__).parent / "other_ca.pem"


@asynccontextmanager
async def with_certificate() -> AsyncIterator[int]:
    """Serve over TLS with a certificate for localhost that no system knows."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TRUSTED)
    async with serving(answer, context) as port:
        yield port


@pytest.mark.parametrize(
    ("text", "ca_file", "says"),
    [
        ("url:https://localhost:{port}/", "", "its certificate is not accepted: self-signed certificate"),
        ("url:https://localhost:{port}/", OTHER, "its certificate is not accepted: self-signed certificate"),
        ("url:https://127.0.0.2:{port}/", TRUSTED, "its certificate is not accepted: IP address mismatch"),
        ("https:{port}/", OTHER, "its certificate is not accepted: self-signed certificate"),
        ("url:https://localhost:{port}/", TRUSTED, ""),
        ("url:https://{address}:{port}/", TRUSTED, ""),
        ("https:{port}/", "", ""),
        ("https:{port}/", TRUSTED, ""),
    ],
)
async def test_a_url_is_verified_and_an_address_by_ones_own_certificates(
    text: str, ca_file: Path | str, says: str
) -> None:
    server = Server("id-1", name="web", address="127.0.0.2" if text.startswith("https") else "127.0.0.1")
    async with with_certificate() as port:
        asking = passes(text.replace("{port}", str(port)), server, ca_file=str(ca_file))
        if says:
            with pytest.raises(NotHealthy, match=says):
                await asking
        else:
            assert await asking


@pytest.mark.parametrize(
    ("text", "ca_file", "says"),
    [
        ("https:8443/", "missing.pem", "check_ca = 'missing.pem' cannot be read as PEM certificates"),
        ("url:https://monitor/", __file__, "cannot be read as PEM certificates"),
        ("tcp:22", str(TRUSTED), "has no certificate to verify"),
        ("url:http://monitor/", str(TRUSTED), "has no certificate to verify"),
        ("url:https://ann:canary@monitor/", "", r"check = 'url:https://\*\*\*@monitor/': leave out what stands before"),
        ("url:https://ann:canary@monitor:x/", "", r"check = 'url:https://\*\*\*@monitor:x/': give"),
        ("url:https://ann:ca/canary@monitor/", "", r"check = 'url:https://\*\*\*@monitor/': give"),
        ("url:https://monitor:x/?token=canary", "", r"check = 'url:https://monitor:x/\?\*\*\*': give"),
        ("url:http://ann:canary@monitor/?t=canary", "ca.pem", r"the check 'url:http://\*\*\*@monitor/\?\*\*\*' has no"),
    ],
)
def test_what_cannot_be_verified_is_refused_without_a_password(text: str, ca_file: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        check_of(text, ca_file=ca_file)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.9.1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("0.0.0.0", "unspecified"),  # noqa: S104 - nobody binds to it
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("::1", "loopback"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "a zone of this machine"),
        ("::ffff:169.254.169.254", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("2002:7f00:1::", "loopback"),
        ("::", "unspecified"),
        ("metadata.internal", "no IP address"),
        ("2130706433", "no IP address"),
        ("10.0.0.5/x?", "no IP address"),
    ],
)
async def test_the_clouds_word_leads_no_check_to_this_machine(address: str, why: str) -> None:
    server = Server("id-1", address=address)
    for text in ("tcp:22", "http:80/", "https:443/", "url:http://{address}/", "cmd:true {address}"):
        with pytest.raises(NotHealthy, match=f"it is not asked: the cloud's address for it is .*{why}"):
            await check_of(text)(server)


@pytest.mark.parametrize("address", ["10.0.0.5", "192.168.1.9", "100.64.0.1", "8.8.8.8", "fd00::5", "2001:db8::1"])
def test_private_and_public_addresses_are_asked(address: str) -> None:
    assert why_not_asked(address) == ""


@pytest.mark.parametrize("name", ["127.0.0.1", "169.254.169.254", "localhost", "2130706433", "0x7f.1", "127.1"])
async def test_a_servers_name_leads_no_url_to_this_machine(name: str) -> None:
    with pytest.raises(NotHealthy, match="it is not asked: the host that its name or id makes up is"):
        await check_of("url:http://{name}:1/")(Server("id-1", name=name, address="10.0.0.5"))


async def test_a_command_that_wants_no_address_runs_without_a_bad_one(tmp_path: Path) -> None:
    said = tmp_path / "said"
    check = check_of(f"cmd:sh -c 'echo \"[$ECSBATCH_SERVER_ADDRESS]\" > {said}'")

    assert await check(Server("id-1", address="169.254.169.254"))
    assert said.read_text() == "[]\n"


# -- commands ------------------------------------------------------------------------------------------------------


async def test_a_command_that_ends_with_0_is_healthy() -> None:
    assert await passes(f"cmd:'{sys.executable}' -c 'print(1)'")


async def test_a_command_that_ends_otherwise_is_not_healthy_yet() -> None:
    with pytest.raises(NotHealthy, match="ended with 3"):
        await passes("cmd:sh -c 'exit 3'")


async def test_a_command_that_cannot_be_started_is_not_healthy() -> None:
    with pytest.raises(NotHealthy, match="cannot be started"):
        await passes("cmd:/nowhere/up {id}")


async def test_a_servers_data_fills_words_and_makes_no_new_ones(tmp_path: Path) -> None:
    said = tmp_path / "said"
    server = Server("x; touch oops", name="$(id) {address} 'q", address="10.0.0.1")
    (tmp_path / "say.sh").write_text(f'printf "%s\\n" "$@" > "{said}"', encoding="utf-8")
    await passes(f"cmd:sh {tmp_path}/say.sh {{id}} n={{name}} {{address}}", server)

    assert said.read_text().splitlines() == ["x; touch oops", "n=$(id) {address} 'q", "10.0.0.1"]


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'curl -f http://monitor/{name}'",
        "bash -lc 'up {id}'",
        "/bin/dash -c 'up $1' - {name}",
        "env LANG=C bash -ec 'up {address}'",
        "timeout 5 sh -c 'up {name}'",
        "su - monitor --command='up {name}'",
        "env -S 'up {name}'",
        "python3.12 -c 'print(\"{name}\")'",
        "perl -we 'print qq({name})'",
        "node --eval=up({id})",
        "ssh {address} up {name}",
        "ssh bastion 'up {id}'",
    ],
)
def test_a_servers_data_is_no_code(command: str) -> None:
    """What the cloud calls a server must not run here: three of three such names did."""
    with pytest.raises(
        ConfigError, match=r"as code: write \$ECSBATCH_SERVER_(ID|NAME|ADDRESS) .* environment variable"
    ):
        check_of(f"cmd:{command}")


@pytest.mark.parametrize(
    "command",
    [
        "./up {id} {name} {address}",
        "ping -c 1 {address}",
        "sh -e check.sh {id} {name}",
        "python3 -m monitor --server={id}",
        "ssh -o BatchMode=yes {address} true",
        "sh -c 'up \"$ECSBATCH_SERVER_NAME\"'",
    ],
)
def test_a_servers_data_may_be_a_word(command: str) -> None:
    assert check_of(f"cmd:{command}")


async def test_a_command_finds_its_server_in_the_environment_and_none_of_our_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {
        **dict.fromkeys(CREDENTIAL_VARIABLES | STORE_VARIABLES | {PAGE_TOKEN}, "canary"),
        "ECSBATCH_STORE": "postgresql://ops:canary@db/restarts",
        "HUAWEICLOUD_SDK_PROJECT_ID": "p",
        "HTTPS_PROXY": "http://q",
    }
    for variable, value in ours.items():
        monkeypatch.setenv(variable, value)
    server = Server("id-1", name="$(touch oops)", address="10.0.0.1")
    async with aclosing(check_of(f"cmd:sh -c 'env -0 > {tmp_path}/told'", pass_env=["ECSBATCH_AUTH_TOKEN"])) as check:
        assert await check(server)
    told = dict(line.split("=", 1) for line in (tmp_path / "told").read_text().rstrip("\0").split("\0"))

    assert (told["ECSBATCH_SERVER_ID"], told["ECSBATCH_SERVER_NAME"]) == ("id-1", "$(touch oops)")
    assert told["ECSBATCH_SERVER_ADDRESS"] == "10.0.0.1"
    assert [name for name, value in told.items() if "canary" in value] == ["ECSBATCH_AUTH_TOKEN"]
    ours_alone = CREDENTIAL_VARIABLES | STORE_VARIABLES | {PAGE_TOKEN}
    assert set(os.environ) - set(told) == ours_alone - {"ECSBATCH_AUTH_TOKEN"}


@pytest.mark.parametrize(
    ("store", "passed", "gets"),
    [
        ("sqlite:////srv/restarts.db", [], True),
        ("postgresql://ops@db/restarts", [], True),
        ("postgresql://ops:canary@db/restarts", [], False),
        ("postgresql://db/restarts?password=canary", [], False),
        ("postgresql://ops:canary@db/restarts", ["ECSBATCH_STORE"], True),
    ],
)
def test_a_command_gets_the_stores_address_unless_there_is_a_password_in_it(
    store: str, passed: list[str], monkeypatch: pytest.MonkeyPatch, *, gets: bool
) -> None:
    monkeypatch.setenv("ECSBATCH_STORE", store)

    assert ("ECSBATCH_STORE" in child_environment({}, passed)) == gets


async def test_a_name_is_never_taken_for_an_option() -> None:
    with pytest.raises(NotHealthy, match="as an option"):
        await passes("cmd:true {name}", Server("id-1", name="--delete-all"))


async def test_a_nul_in_a_name_starts_nothing() -> None:
    with pytest.raises(NotHealthy, match="cannot be started"):
        await passes("cmd:true {name}", Server("id-1", name="a\0b"))


async def test_a_command_without_an_end_is_killed_with_its_children(tmp_path: Path) -> None:
    """The pipe's end comes only once the last process that could write to it is gone."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check = check_of(f"""cmd:sh -c 'sleep 1000 > "{pipe}" & wait'""", timeout=1)
    ended = asyncio.ensure_future(asyncio.to_thread(pipe.read_bytes))
    with pytest.raises(NotHealthy, match="longer than 1 s"):
        await check(HERE)
    with suppress(OSError):  # where the child had not come to open the pipe, the reader is still waiting for a first
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))

    assert await asyncio.wait_for(ended, 60) == b""
