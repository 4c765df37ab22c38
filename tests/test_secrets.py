"""No secret of ours ever leaves: not on a good night, not when the cloud echoes what it was sent, not in a traceback.

Every secret here holds the word CANARY, in plain text or in base64. Whatever the programs print or write is searched
for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
import fork_server
import pytest
from aiohttp import web
from stored import readable
from yarl import URL

from ecsbatch.cli.app import _bug
from ecsbatch.simulator.config import CloudConfig, Faults
from ecsbatch.simulator.server import Running, serve

PLAIN: Final = b64encode(b"CANARY-CANARY").rstrip(b"=")
LEAK: Final = re.compile(rb"CANARY|" + PLAIN[:8] + rb"|Signature=[0-9a-f]{8}|simulated-password|MIIsimulated")
KEY: Final = {
    "HUAWEICLOUD_SDK_AK": "KEYCANARY00000000000",
    "HUAWEICLOUD_SDK_SK": "CANARY-secret-key-0000000000000",
    "HUAWEICLOUD_SDK_SECURITY_TOKEN": "CANARY-security-token-000000000",
}
FAST: Final = (
    *("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s", "--waves", "100%"),
    *("--max-unavailable", "100%", "--max-failures", "100%", "--max-failures-per-wave", "100%"),
    *("--unknown-grace", "0s", "--server-timeout", "10s"),
)
SPEAKING: Final = ("--yes", "-v", "--events", "events.jsonl", "--log-format", "json", "--run-id", "tonight")
SLOTS: Final = 6
"""Processes at once; the tests share few cores."""


def cloud() -> CloudConfig:
    """Return a cloud with our key, whose rows carry a secret that must not be kept."""
    return CloudConfig(
        servers=20,
        latency=0.001,
        access_key=KEY["HUAWEICLOUD_SDK_AK"],
        secret_key=KEY["HUAWEICLOUD_SDK_SK"],
        security_token=KEY["HUAWEICLOUD_SDK_SECURITY_TOKEN"],
        user_data=b64encode(b"CANARY-CANARY").decode(),
        fail_rate=0.2,
        locked=2,
        look_faults=Faults(garbage=0.1, html_502=0.05),
    )


class TypingFolder:
    """A folder in which commands are typed, and everything that came out of them."""

    def __init__(self, folder: Path, endpoint: str, environment: Mapping[str, str], slots: asyncio.Semaphore) -> None:
        self.folder = folder
        self.slots = slots
        self.said = b""
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        self.environment = {
            **inherited,
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "PYTHONASYNCIODEBUG": "1",
            "HUAWEICLOUD_SDK_PROJECT_ID": CloudConfig().project_id,
            "ECSBATCH_ENDPOINT": endpoint,
            "ECSBATCH_REGION": CloudConfig().region,
            **environment,
        }

    async def type(self, *arguments: str, **environment: str) -> int:
        """Type a command, keep what it prints, and return its exit code."""
        async with self.slots:
            process = fork_server.begin(
                arguments, folder=self.folder, environment={**self.environment, **environment}, one_stream=True
            )
            with process:
                said, _ = await asyncio.to_thread(process.communicate, 90)
        self.said += f"$ {' '.join(arguments)}\n{said}".encode()
        return process.wait()

    async def type_in_development(self, *arguments: str) -> int:
        """Type a command in a process of its own that tells of every warning and of slow callbacks (``-X dev``)."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-m", "ecsbatch", *arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        self.said += f"$ {' '.join(arguments)}\n".encode() + said
        assert process.returncode is not None
        return process.returncode

    def search(self) -> None:
        """Look for a leak in all that was printed and written; what was written is for its owner only."""
        assert not LEAK.search(self.said), self.said.decode(errors="replace")
        for path in self.folder.rglob("*"):
            if path.is_file() and path.name != "fleet.txt":
                assert not LEAK.search(readable(path)), path
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def desk(
    folder: Path,
    running: Running,
    endpoint: str = "",
    environment: Mapping[str, str] = KEY,
    slots: asyncio.Semaphore | None = None,
) -> TypingFolder:
    (folder / "fleet.txt").write_text("\n".join(running.cloud.ids()) + "\n")
    return TypingFolder(folder, endpoint or running.url, environment, slots or asyncio.Semaphore(SLOTS))


async def test_a_good_night_keeps_its_secrets(tmp_path: Path) -> None:
    async with serve(cloud(), speed=60) as running:
        typed = desk(tmp_path, running)
        assert await typed.type("check") == 0
        assert await typed.type("restart", "fleet.txt", *FAST, *SPEAKING) in {0, 3, 6}
        assert await typed.type("report", "-o", "json", "--out", "report.json") == 0
        assert await typed.type("report", "-o", "csv") == 0
        for command in ("status", "runs"):
            assert await typed.type(command, "-o", "json") == 0
        for arguments in (("audit",), ("explain",), ("servers", "--all"), ("config", "show"), ("plan", "fleet.txt")):
            assert await typed.type(*arguments) in {0, 1, 2, 3, 7}, typed.said.decode()[-2000:]

    assert b"batch.accepted" in typed.said
    assert (tmp_path / "events.jsonl").stat().st_size
    typed.search()


@pytest.mark.parametrize(
    "environment",
    [
        {**KEY, "HUAWEICLOUD_SDK_SK": "CANARY-but-wrong"},
        {**KEY, "HUAWEICLOUD_SDK_AK": "KEYCANARYBUTWRONG000"},
        {**KEY, "HUAWEICLOUD_SDK_SECURITY_TOKEN": "CANARY-but-wrong"},
        {"ECSBATCH_AUTH_TOKEN": "CANARY-but-wrong"},
        {"ECSBATCH_IAM_USER": "ops", "ECSBATCH_IAM_PASSWORD": "CANARY-wrong", "ECSBATCH_IAM_DOMAIN": "acme"},
        {"HUAWEICLOUD_SDK_AK": "KEYCANARY00000000000"},
        {"HUAWEICLOUD_SDK_AK": "KEYCANARY00000000000", "HUAWEICLOUD_SDK_SK": "CANARY two words"},
        {"HW_ACCESS_KEY": "CANARY", "HW_SECRET_KEY": "CANARY", "OS_PASSWORD": "CANARY", "OS_USERNAME": "CANARY"},
        {**KEY, "ECSBATCH_IAM_PASWORD": "CANARY-misspelled"},
        {**KEY, "ECSBATCH_ENDPOINT": "https://ops:CANARY@ecs.example.com"},
        {**KEY, "ECSBATCH_ENDPOINT": "https://ops:CANARY"},
        {**KEY, "ECSBATCH_ENDPOINT": "https://ops:CA/CANARY@ecs.example.com"},
        {**KEY, "ECSBATCH_STORE": "postgresql://ops:CANARY@db/restarts"},
        {**KEY, "ECSBATCH_STORE": "postgresql:ops:CANARY"},
        {**KEY, "ECSBATCH_ENDPOINT": "https://ecs.invalid", "HTTPS_PROXY": "http://ops:CANARY@"},
    ],
    ids=lambda environment: "+".join(f"{key}={environment[key]}" for key in sorted(environment) if key not in KEY)[:90],
)
async def test_a_wrong_secret_is_not_repeated(tmp_path: Path, environment: Mapping[str, str]) -> None:
    async with serve(cloud(), speed=60) as running:
        typed = desk(tmp_path, running, environment=environment)
        codes = await asyncio.gather(
            typed.type("restart", "fleet.txt", *FAST, *SPEAKING),
            typed.type("check", "-o", "json"),
            typed.type("config", "show"),
        )

    assert set(codes[:2]) <= {1, 2}
    assert running.audit()["restarts"] == 0
    typed.search()


# A cloud that says back what it was told

Echo = Callable[[str], web.Response]

ECHOES: Final[Mapping[str, Echo]] = {
    "gateway_403": lambda said: web.json_response(
        {"error_code": "APIGW.0301", "error_msg": f"Incorrect: {said}", "request_id": said[:100]}, status=403
    ),
    "ecs_401": lambda said: web.json_response({"error": {"code": said[:64], "message": said}}, status=401),
    "ecs_400": lambda said: web.json_response(
        {"error": {"code": "Ecs.0005", "message": said}}, status=400, headers={"X-Request-Id": said[:200]}
    ),
    "html_404": lambda said: web.Response(status=404, text=f"<html>{said}", content_type="text/html"),
    "error_500": lambda said: web.Response(status=500, text=said),
    "garbage_200": lambda said: web.Response(body=b"\xff\x00" + said.encode()),
    "redirect": lambda said: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/?" + said[:200]}),
    "job_id": lambda said: web.json_response({"job_id": said}),
}


@asynccontextmanager
async def parrot(running: Running, echo: Echo, *, submits_only: bool) -> AsyncIterator[str]:
    """Stand before a simulated cloud and echo all that is secret of some requests; hand the others through."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if submits_only and request.method != "POST":
            return await handed_on(running, request, body)
        return echo(f"{told(request)} {body.decode()}".replace("\n", " "))

    async with standing_before(answer) as url:
        yield url


@asynccontextmanager
async def mynah(running: Running, kept: Collection[str]) -> AsyncIterator[str]:
    """Stand before a simulated cloud and add what a request's headers said to each text of a good answer.

    Args:
        running: the cloud.
        kept: fields whose value stays as it is.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        good = await handed_on(running, request, await request.read())
        if good.status >= 300 or not isinstance(good.body, bytes):
            return good
        body = _echoing(json.loads(good.body), told(request), kept)
        return web.json_response(body, status=good.status, headers={"X-Request-Id": told(request)[:200]})

    async with standing_before(answer) as url:
        yield url


def _echoing(value: Any, said: str, kept: Collection[str], field: str = "") -> Any:
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        whole = {name: _echoing(one, said, kept, name) for name, one in named.items()}
        return whole if kept else whole | {"x_said": said}
    if isinstance(value, list):
        return [_echoing(one, said, kept, field) for one in cast("list[Any]", value)]
    if field in kept or not (value is None or isinstance(value, str)):
        return value
    return f"{value or ''} {said}"


def told(request: web.BaseRequest) -> str:
    """Return all that is secret of a request, and all secrets that it has not said."""
    return f"{request.headers.get('Authorization')} {' '.join(KEY.values())} {request.headers.get('X-Auth-Token')}"


async def handed_on(running: Running, request: web.BaseRequest, body: bytes) -> web.Response:
    """Let the simulated cloud answer."""
    url = URL(f"{running.url}{request.raw_path}", encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.request(request.method, url, headers=request.headers, data=body or None) as theirs,
    ):
        kept = {name: value for name, value in theirs.headers.items() if name in {"Date", "X-Request-Id"}}
        return web.Response(status=theirs.status, body=await theirs.read(), headers=kept)


@asynccontextmanager
async def standing_before(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Listen, and yield the URL."""
    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def each_echo(
    folder: Path,
    use: Callable[[TypingFolder], Awaitable[None]],
    environment: Mapping[str, str] = KEY,
    *,
    submits_only: bool,
) -> None:
    """Do something before every parrot, all at once: most of it is waiting between attempts."""
    slots = asyncio.Semaphore(SLOTS)

    async def one(name: str, running: Running) -> None:
        place = folder / name
        place.mkdir()
        async with parrot(running, ECHOES[name], submits_only=submits_only) as url:
            await use(desk(place, running, url, environment, slots))

    # A command whose looks are all bad ends before its submit; with the cloud's usual faults one in some hundred does.
    seldom = replace(cloud(), look_faults=Faults(garbage=0.05, html_502=0.02))
    async with serve(seldom if submits_only else cloud(), speed=60) as running, asyncio.TaskGroup() as group:
        for name in ECHOES:
            group.create_task(one(name, running))


async def test_a_cloud_that_echoes_everything_is_not_quoted(tmp_path: Path) -> None:
    async def use(typed: TypingFolder) -> None:
        assert await typed.type("restart", "fleet.txt", *FAST, *SPEAKING) == 1
        assert await typed.type("check", HUAWEICLOUD_SDK_PROJECT_ID="") == 1
        typed.search()

    await each_echo(tmp_path, use, submits_only=False)


async def test_a_restart_whose_answer_echoes_everything_is_not_quoted(tmp_path: Path) -> None:
    """What the cloud says to a submit is journaled: it must be clean before it is."""

    async def use(typed: TypingFolder) -> None:
        code = await typed.type("restart", "fleet.txt", *FAST, *SPEAKING, "--on-unknown", "leave")
        assert code in {1, 3, 4, 6}, typed.said.decode(errors="replace")
        assert b"batch." in typed.said
        assert await typed.type("report", "tonight", "--out", "report.json") == 0
        typed.search()

    await each_echo(tmp_path, use, submits_only=True)


WORKING: Final = (
    *("id", "server_id", "job_id", "status", "updated", "OS-EXT-STS:task_state", "OS-EXT-STS:vm_state"),
    *("begin_time", "end_time", "locked"),
)
"""Fields without which no restart can be seen."""


@pytest.mark.parametrize(
    ("kept", "form"),
    [(WORKING, "console"), (WORKING, "json"), ((), "json")],
    ids=["all-words", "all-words-json", "every-field"],
)
async def test_good_answers_that_echo_their_requests_are_not_quoted(
    tmp_path: Path, kept: Collection[str], form: str
) -> None:
    """A fail_reason that repeated a request has put its token into each output."""
    speaking = ("--yes", "-v", "--events", "events.jsonl", "--log-format", form, "--run-id", "tonight")
    working = replace(cloud(), look_faults=Faults(), fail_rate=0.5)
    async with serve(working, speed=60) as running, mynah(running, kept) as url:
        typed = desk(tmp_path, running, url)
        restart = typed.type_in_development if form == "console" else typed.type
        code, *_ = await asyncio.gather(
            restart("restart", "fleet.txt", *FAST, *speaking),
            typed.type("servers", "--all", "-o", "json"),
            typed.type("plan", "fleet.txt", "--out", "plan.json"),
            typed.type("check", HUAWEICLOUD_SDK_PROJECT_ID=""),
        )
        if kept:
            assert code in {3, 6}, typed.said.decode(errors="replace")
            for arguments in (("report",), ("report", "-o", "csv"), ("status", "-o", "json"), ("runs",), ("audit",)):
                assert await typed.type(*arguments) in {0, 3, 6}
            assert await typed.type("explain", "tonight", running.cloud.ids()[0]) in {0, 1, 2, 3}
            assert b"***" in typed.said

    typed.search()


async def test_a_password_that_iam_echoes_is_not_quoted(tmp_path: Path) -> None:
    environment = {
        "ECSBATCH_IAM_USER": "ops",
        "ECSBATCH_IAM_PASSWORD": 'CANARY "quoted" \\ pass',
        "ECSBATCH_IAM_DOMAIN": "acme",
    }

    async def use(typed: TypingFolder) -> None:
        assert await typed.type("check") == 1
        typed.search()

    await each_echo(tmp_path, use, environment, submits_only=False)


@pytest.mark.parametrize("verbose", [True, False])
def test_the_traceback_of_a_bug_can_be_sent_to_somebody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *, verbose: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name, value in KEY.items():
        monkeypatch.setenv(name, value)
    error = RuntimeError(f"headers: {KEY}")
    error.__cause__ = ValueError(KEY["HUAWEICLOUD_SDK_SK"])
    _bug(error, ["-v"] if verbose else [])
    said = "".join(capfd.readouterr()).encode()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert b"RuntimeError" in said
    assert len(files) == (not verbose)
    assert not LEAK.search(said + b"".join(path.read_bytes() for path in files))
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} <= {0o600}
