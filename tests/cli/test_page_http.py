"""The page over real HTTP: what is refused on each route, what stands on each answer, what a stream tells."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_client import IMAGE, RUN, begun, free_port, served

from ecsbatch.cli.dashboard import stream
from ecsbatch.cli.dashboard.access import HEADERS
from ecsbatch.cli.dashboard.runs_list import RunsList
from ecsbatch.cli.dashboard.serve import check_reach, serving_dashboard, tls_context
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.config.settings import Observability
from ecsbatch.errors import ConfigError
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.run import Holder, Lease, NewRun, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.rollout.history import History
from ecsbatch.store import DatabaseStore, open_store

ROUTES = [
    "/",
    "/assets/page.js",
    "/api/session",
    "/api/runs",
    "/api/runs/events",
    f"/api/runs/{RUN}/fleet",
    f"/api/runs/{RUN}/events",
    f"/api/runs/{RUN}/servers/0",
    f"/api/runs/{RUN}/steer",
    "/nowhere",
]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("ECSBATCH_DASHBOARD_TOKEN", raising=False)


async def write(store: DatabaseStore, lease: Lease, *events: ev.Event, status: RunStatus | None = None) -> None:
    await store.commit(lease, Transaction(events, status=status))


def sent(number: int, *servers: int) -> tuple[ev.Event, ev.Event]:
    ids = [f"{RUN}-{server}" for server in servers]
    return ev.BatchSubmitting(batch=number, servers=ids, updated=[""] * len(ids)), ev.BatchAccepted(
        batch=number, job_id=f"job-{number}"
    )


# -- who is answered ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steers", [False, True])
async def test_nothing_is_answered_to_a_foreign_name_or_without_the_token(tmp_path: Path, *, steers: bool) -> None:
    async with served(tmp_path, dashboard_steer=steers) as page:
        await begun(page.store)
        for path in ROUTES:
            for method in ("GET", "HEAD", "POST"):
                origin = {"Origin": page.origin}
                foreign = {"Host": "rebound.example.com", "Origin": "http://rebound.example.com"}
                assert await page.status(path, method, headers=foreign) == 421
                assert (
                    await page.status(path, method, headers={"Host": f"127.0.0.1.nip.io:{page.port}"} | origin) == 421
                )
                assert await page.status(path, method, headers=origin, known=False) == 401
                wrong = {"Authorization": f"Bearer {page.token[:-1]}", "Cookie": page.cookie[:-1]}
                assert await page.status(path, method, headers=origin | wrong, known=False) == 401


async def test_another_page_changes_nothing_and_reads_nothing(tmp_path: Path) -> None:
    async with served(tmp_path, dashboard_steer=True) as page:
        await begun(page.store)
        for path in ROUTES:
            assert await page.status(path, "POST", headers={"Origin": "http://evil.example"}) == 403
            assert await page.status(path, "POST") == 403
            if path != "/":
                assert await page.status(path, headers={"Sec-Fetch-Site": "cross-site"}) == 403
        assert (await page.steer({"action": "pause"}, **{"X-Ecsbatch-Csrf": "0" * 64}))[0] == 403
        assert await page.store.commands(RUN) == []


async def test_without_its_flag_there_is_no_way_to_steer(tmp_path: Path) -> None:
    async with served(tmp_path) as page:
        await begun(page.store)
        session = await page.json("/api/session")
        csrf = page.routes._options.access.csrf

        assert (session["steer"], session["csrf"]) == (False, None)
        own = {"Origin": page.origin, "X-Ecsbatch-Csrf": csrf}
        assert await page.status(f"/api/runs/{RUN}/steer", "POST", headers=own, data=b"{}") == 404
        assert await page.status(f"/api/runs/{RUN}/steer") == 404
        assert await page.status("/api/runs", "POST", headers=own) == 405
        assert await page.store.commands(RUN) == []


async def test_the_address_with_the_token_gives_a_cookie_and_leads_to_one_without_it(tmp_path: Path) -> None:
    async with served(tmp_path) as page:
        async with page.ask(f"/?token={page.token}", known=False) as answer:
            status, headers = answer.status, answer.headers
        cookie, *flags = headers["Set-Cookie"].split("; ")

        assert (status, headers["Location"]) == (303, "/")
        assert flags == ["HttpOnly", "SameSite=Strict", "Path=/"]
        assert page.token not in str(headers)
        assert cookie == page.cookie
        assert await page.status("/", known=False, headers={"Cookie": cookie}) == 200
        assert await page.status("/?token=wrong") == 401
        assert await page.status(f"/api/runs?token={page.token}", known=False) == 401
        assert await page.status("/api/runs", known=False, headers={"Authorization": f"Bearer {page.token}"}) == 200


async def test_who_comes_without_the_token_is_told_where_it_stands(tmp_path: Path) -> None:
    async with served(tmp_path) as page:
        async with page.ask("/", known=False) as answer:
            html = await answer.text()
        told = await page.json("/api/runs", known=False)

    assert "open the address that ecsbatch printed when it started" in html
    assert told["message"].startswith("This page needs its token: open the address")


async def test_each_answer_says_what_a_browser_may_do_with_it(tmp_path: Path) -> None:
    async with served(tmp_path, dashboard_steer=True) as page:
        await begun(page.store)
        for path in (*ROUTES, f"/?token={page.token}", "/api/runs/none/fleet"):
            for method in ("GET", "HEAD", "POST", "PUT"):
                for known in (True, False):
                    async with page.ask(path, method, known=known) as answer:
                        found = {name: answer.headers.get(name) for name in HEADERS}
                        cached = {"Cache-Control": "private, no-cache"} if answer.headers.get("ETag") else {}
                        wanted = {**HEADERS, **(cached if path == "/assets/page.js" else {})}
                        assert found == wanted, (path, method)
                        assert "Access-Control-Allow-Origin" not in answer.headers


async def raw(port: int, *lines: str) -> str:
    """Send a request as it stands, and return the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await reader.read(65536)
    writer.close()
    return answer.decode()


async def test_what_is_no_request_is_answered_without_a_word_about_what_answers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with served(tmp_path) as page:
        cookie = f"Cookie: {page.cookie}"
        host = f"Host: 127.0.0.1:{page.port}"
        capfd.readouterr()
        many = [f"X-{number}: 1" for number in range(80)]
        for lines in (
            ["nonsense"],
            ["GET / HTTP/1.1", cookie],
            ["GET / HTTP/1.1", host, "Host: evil.example", cookie],
            ["GET http://evil.example/ HTTP/1.1", host, cookie],
            ["GET / HTTP/1.1", host, cookie, *many],
            ["GET / HTTP/1.1", host, cookie, f"X-Long: {'x' * 20_000}"],
            [
                "GET / HTTP/1.1",
                host,
                f"Cookie: {page.cookie}\udce4".encode("utf-8", "replace").decode(),
                "Bad Header: x",
            ],
        ):
            answer = await raw(page.port, *lines)
            assert answer.split(" ")[1] == "400", answer
            assert "Server: ecsbatch\r\n" in answer
            assert "Python" not in answer
            assert "aiohttp" not in answer
            assert "nosniff" in answer
        assert capfd.readouterr() == ("", "")
        assert (await raw(page.port, "GET / HTTP/1.1", host, cookie, "Connection: close")).startswith("HTTP/1.1 200 ")


async def test_so_many_connections_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecsbatch.cli.listen.MOST_CONNECTIONS", 5)
    async with served(tmp_path) as page:
        idle = [await asyncio.open_connection("127.0.0.1", page.port) for _ in range(8)]
        ended = [await asyncio.wait_for(reader.read(1), 5) == b"" for reader, _ in idle[5:]]
        for _, writer in idle:
            writer.close()

    assert ended == [True, True, True]


async def test_who_never_agrees_on_tls_takes_no_more_files_of_the_process_than_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecsbatch.cli.listen.MOST_CONNECTIONS", 5)
    made, key = certificate(tmp_path)
    async with served(tmp_path, dashboard_cert=made, dashboard_key=key) as page:
        idle = [await asyncio.open_connection("127.0.0.1", page.port) for _ in range(8)]
        ended = [await asyncio.wait_for(reader.read(1), 5) == b"" for reader, _ in idle[5:]]
        for _, writer in idle:
            writer.close()

    assert ended == [True, True, True]


async def test_where_no_file_is_left_for_a_connection_it_is_taken_later(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecsbatch.cli.listen._LATER", 0.01)
    async with served(tmp_path) as page:
        capfd.readouterr()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as waiting:
            waiting.settimeout(0)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
                await asyncio.get_running_loop().sock_connect(waiting, ("127.0.0.1", page.port))
                for _ in range(100):
                    await asyncio.sleep(0)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            await asyncio.get_running_loop().sock_sendall(waiting, b"nonsense\r\n\r\n")
            answer = await asyncio.get_running_loop().sock_recv(waiting, 100)

    assert answer.startswith(b"HTTP/1.0 400 ")
    assert capfd.readouterr() == ("", "")


# -- what is told ---------------------------------------------------------------------------------------------------


async def test_the_pages_files_are_small_on_the_way_and_asked_for_once(tmp_path: Path) -> None:
    async with served(tmp_path) as page:
        async with page.ask("/assets/page.js") as answer:
            etag, body, kind = answer.headers["ETag"], await answer.text(), answer.headers["Content-Type"]
            encoding = answer.headers["Content-Encoding"]
        again = await page.status("/assets/page.js", headers={"If-None-Match": etag})
        async with page.ask("/assets/page.js", headers={"Accept-Encoding": "identity"}) as answer:
            plain = await answer.text()
        async with page.ask("/") as answer:
            html = await answer.text()

    assert (body, plain, encoding, again) == ("export {};\n", "export {};\n", "gzip", 304)
    assert kind == "text/javascript; charset=utf-8"
    assert "a page" in html


async def test_the_fleet_is_told_once_and_hostile_names_are_json_alone(tmp_path: Path) -> None:
    names = [IMAGE, "\x1b[31mred", "=cmd|' /C calc'!A0", "\u202egpj.exe", "x" * 300, "</script>"]
    async with served(tmp_path) as page:
        await begun(page.store, names=names)
        async with page.ask(f"/api/runs/{RUN}/fleet") as answer:
            etag, fleet, kind = answer.headers["ETag"], json.loads(await answer.read()), answer.headers["Content-Type"]
        assert await page.status(f"/api/runs/{RUN}/fleet", headers={"If-None-Match": etag}) == 304
        server = await page.json(f"/api/runs/{RUN}/servers/0")
        async with page.ask(f"/api/runs/{RUN}/servers/1") as answer:
            escape, sniff = await answer.read(), answer.headers["X-Content-Type-Options"]

    assert (kind, sniff) == ("application/json", "nosniff")
    assert (fleet["n"], fleet["names"][0], fleet["names"][2]) == (6, IMAGE, "=cmd|' /C calc'!A0")
    assert fleet["groups"]["zone"]["values"] == ["az1", IMAGE]
    assert (server["name"], server["outcome"]["outcome"]) == (IMAGE, "not_started")
    assert b"\x1b" not in escape


async def test_no_text_on_the_page_is_turned_or_hidden(tmp_path: Path) -> None:
    turned = "\u202egpj.\u2066exe\x1b[31m\u2028\x00"
    holder = Holder(turned, turned, 7, 0.0)
    fleet = Fleet([turned], names=[turned], domains=[turned], hosts=[turned], tags={turned: [turned]})
    plan = Plan(fleet=fleet, waves=(Wave(1, 0, 1, turned),), max_unavailable=1, max_failures=1)
    failed = ev.ServerFailed(server=turned, batch=1, reason=turned, code=turned, message=turned, host=turned)
    events = [
        ev.RunStarted(total=1),
        ev.HolderChanged(holder=turned, host=turned, fence=1, limit=1, window=1.0),
        ev.WaveStarted(wave=1, servers=1, label=turned),
        ev.BatchSubmitting(batch=1, servers=[turned], updated=[""]),
        ev.BatchAccepted(batch=1, job_id=turned),
        failed,
        ev.RunPaused(by=turned),
    ]
    async with served(tmp_path) as page:
        await page.store.create_run(NewRun(RUN, plan=plan.to_json(), fleet=fleet, events=events), holder)
        told = [
            await page.json(path) for path in ("/api/runs", *(f"/api/runs/{RUN}/{it}" for it in ("fleet", "servers/0")))
        ]
        async with page.stream() as watched, page.stream("/api/runs/events") as listed:
            told += [each.data for each in (*await watched.until("snapshot"), *await listed.until("runs"))]

    assert len(list(texts(told))) > 50
    assert [text for text in texts(told) if not text.isprintable()] == []


def texts(value: Any) -> Iterator[str]:
    """Yield the texts of JSON values, names of fields left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts(each)


async def test_a_stream_begins_with_all_and_goes_on_with_what_changes(tmp_path: Path) -> None:
    async with served(tmp_path) as page:
        lease = await begun(page.store)
        async with page.stream() as watched:
            [snapshot] = await watched.until("snapshot")
            await write(page.store, lease, *sent(1, 0, 1, 2))
            await write(
                page.store,
                lease,
                ev.ServerRestarted(server=f"{RUN}-0", batch=1, evidence="job"),
                ev.ServerFailed(server=f"{RUN}-1", batch=1, code="Ecs.1", message=IMAGE, host="h1", holds=True),
            )
            cells = bytearray(b64decode(snapshot.data["cells"]))
            counts: dict[str, Any] = {}
            failed: list[str] = []
            while counts.get("failed") != 1:
                told = await watched.next()
                assert told is not None
                assert told.event == "changes"
                for at, to in zip(told.data["at"], told.data["to"], strict=True):
                    cells[at] = to
                counts = told.data.get("progress", counts)
                failed += [value["message"] for value in told.data.get("details", {}).get("values", ())]
            progress = (await History(page.store).progress(RUN)).as_dict()

    assert (snapshot.number, snapshot.data["seq"], len(cells)) == (3, 3, 6)
    assert bytes(cells) == bytes([4, 0x15, 2, 0, 0, 0])
    assert failed == [IMAGE]
    assert {name: counts[name] for name in ("restarted", "failed", "servers", "domains")} == {
        name: progress[name] for name in ("restarted", "failed", "servers", "domains")
    }


async def test_who_comes_back_gets_all_and_only_what_he_has_not_read_yet(tmp_path: Path) -> None:
    async with served(tmp_path) as page:
        lease = await begun(page.store)
        await write(page.store, lease, ev.RunPaused(by="ann"), ev.RunResumed(by="ben"))
        feeds: dict[int, list[int]] = {}
        for after in (0, 4, 99):
            async with page.stream(after=after) as watched:
                [snapshot] = await watched.until("snapshot")
                feeds[after] = [line["seq"] for line in snapshot.data["feed"]]

    assert [seq for seq in feeds[0] if seq > 3] == [4, 5]
    assert feeds[4] == [5]
    assert feeds[99] == feeds[0]


async def test_a_servers_story_is_told_from_its_first_request_on(tmp_path: Path) -> None:
    async with served(tmp_path) as page:
        lease = await begun(page.store)
        rejected = ev.BatchRejected(batch=1, kind="refused", code="Ecs.9", message="not now")
        await write(page.store, lease, sent(1, 0, 1)[0], rejected, *sent(2, 0), *sent(3, 1))
        await write(page.store, lease, ev.ServerTimedOut(server=f"{RUN}-0", batch=2, reason="too_slow", holds=True))
        await write(page.store, lease, ev.ServerReleased(server=f"{RUN}-0", why="up"))
        told = await page.json(f"/api/runs/{RUN}/servers/0")
        assert await page.status(f"/api/runs/{RUN}/servers/6") == 404

    assert [line["text"] for line in told["story"]] == [
        "sent in request 1 with 2 servers",
        "request 1 was not carried out (refused), Ecs.9 not now: it waits again",
        "sent in request 2 with 1 server",
        "request 2 was accepted as job job-2",
        "timed out (too slow)",
        "counts as up again (up)",
    ]
    assert (told["server"], told["name"], told["domain"]) == (f"{RUN}-0", "web-0", "az1")
    assert told["outcome"]["attempts"] == 2
    assert told["explain"]["text"]


async def test_runs_are_listed_and_told_of_when_they_change(tmp_path: Path) -> None:
    async with served(tmp_path) as page:
        lease = await begun(page.store)
        for number in range(5):
            await begun(page.store, run_id=f"other-{number}")
        listed = await page.json("/api/runs?limit=2")
        further = await page.json(f"/api/runs?limit=3&after={listed['runs'][-1]['run_id']}")
        assert await page.status("/api/runs?limit=many") == 400
        async with page.stream("/api/runs/events") as watched:
            [first] = await watched.until("runs")
            await write(page.store, lease, ev.RunPaused(by="ann"), status=RunStatus.PAUSED)
            changed = await watched.until("runs")

    assert [run["run_id"] for run in (*listed["runs"], *further["runs"])] == [f"other-{n}" for n in range(4, -1, -1)]
    assert first.data["runs"][-1]["standing"] == "starting"
    assert (changed[-1].data["runs"][-1]["status"], changed[-1].data["v"]) == ("paused", 1)


@pytest.mark.parametrize(
    ("servers", "read"), [(20, ["c", "b", "a"]), (13, ["c", "b"]), (8, ["c", "a"]), (2, ["c"]), (5, ["c"])]
)
async def test_of_large_runs_that_stand_still_no_more_are_read_for_the_list_than_are_kept(
    servers: int, read: list[str], tmp_path: Path
) -> None:
    async with served(tmp_path) as page:
        for run, size in (("a", 2), ("b", 6), ("c", 6)):
            await begun(page.store, size, run_id=run)
        told = await RunsList(page.routes.list._runs, page.routes.boards, servers=servers).listed()

    assert [row["run_id"] for row in told["runs"]] == ["c", "b", "a"]
    assert [row["run_id"] for row in told["runs"] if row["standing"] == "starting"] == read


async def test_a_run_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    async with served(tmp_path) as page:
        for route in ("fleet", "events", "servers/0"):
            told = await page.json(f"/api/runs/none/{route}")
            assert told["error"] == "RunNotFound"
            assert await page.status(f"/api/runs/none/{route}") == 404


async def test_so_many_viewers_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.Seats.__init__, "__defaults__", (2,))
    async with served(tmp_path) as page:
        await begun(page.store)
        async with page.stream() as first, page.stream("/api/runs/events") as second:
            await first.until("snapshot")
            await second.until("runs")
            assert await page.status(f"/api/runs/{RUN}/events") == 503
            assert await page.status("/api/runs") == 200
        while await page.status(f"/api/runs/{RUN}/events", "HEAD") == 503:
            pass  # the page has not heard yet that they have left
        async with page.stream() as again:
            await again.until("snapshot")


async def test_the_last_that_is_known_is_told_before_the_process_ends(tmp_path: Path) -> None:
    async with served(tmp_path) as page:
        lease = await begun(page.store)
        async with page.stream() as watched:
            await watched.until("snapshot")
            over = ev.RunFinished(status="succeeded", counts={"skipped": 6})
            skipped = [ev.ServerSkipped(server=f"{RUN}-{number}", reason="not_active") for number in range(6)]
            await write(page.store, lease, *skipped, over, status=RunStatus.SUCCEEDED)
            closing = asyncio.create_task(page.routes.close(stream.event_frame("end", b"{}")))
            told = await watched.until("end")
            await closing
            assert await watched.next() is None

    last = [each for each in told if each.data.get("progress")][-1].data["progress"]
    assert (last["status"], last["skipped"]) == ("succeeded", 6)


# -- steering -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 422, "The body is no JSON object."),
        (b"[]", 422, "The body is no JSON object."),
        (b"{", 422, "The body is no JSON object."),
        ({}, 422, "action = 'None': give pause, resume, promote, adjust or abort."),
        ({"action": "restart"}, 422, "action = 'restart': give pause"),
        ({"action": "adjust"}, 422, "No limit is given."),
        ({"action": "adjust", "max_unavailable": 7}, 422, "max_unavailable would allow more than now"),
        ({"action": "adjust", "max_failures": "90%"}, 422, "max_failures would allow more than now"),
        ({"action": "adjust", "max_failures": True}, 422, "max_failures = True"),
        ({"action": "adjust", "soak": 0}, 422, "soak cannot be changed from the page"),
        ({"action": "abort"}, 422, f"An abort is final: type the run's id, {RUN}"),
        ({"action": "abort", "run": RUN[:-1]}, 422, f"An abort is final: type the run's id, {RUN}"),
        ({"action": "promote"}, 409, "stands at no hold"),
        ({"action": "resume"}, 200, "it is so already."),
        ({"action": "adjust", "max_failures": 2}, 200, "it is so already."),
    ],
)
async def test_what_cannot_be_asked_from_the_page_is_refused(body: Any, status: int, says: str, tmp_path: Path) -> None:
    async with served(tmp_path, dashboard_steer=True) as page:
        await begun(page.store)
        code, told = await page.steer(body)

        assert code == status
        assert says in told.get("message", "") + told.get("text", "")
        assert await page.store.commands(RUN) == []


async def test_a_large_or_endless_body_is_not_read(tmp_path: Path) -> None:
    async with served(tmp_path, dashboard_steer=True) as page:
        await begun(page.store)
        code, told = await page.steer(b"x" * 5000)

        async def endless() -> Any:
            for _ in range(1000):
                yield b"x" * 100

        own = {"Origin": page.origin, "X-Ecsbatch-Csrf": page.routes._options.access.csrf}
        chunked = await page.status(f"/api/runs/{RUN}/steer", "POST", headers=own, data=endless())

    assert (code, chunked, told["message"]) == (413, 413, "The request is too large.")


@pytest.mark.parametrize(
    ("body", "answer", "command"),
    [
        ({"action": "pause"}, ev.RunPaused(by="x"), {"command": "pause"}),
        (
            {"action": "adjust", "max_failures": 1},
            ev.LimitChanged(limit="max_failures", old=2, new=1),
            {"command": "adjust", "limits": {"max_failures": 1}},
        ),
        ({"action": "abort", "run": RUN}, ev.RunAborting(by="x"), {"command": "abort"}),
    ],
)
async def test_what_is_asked_from_the_page_is_on_record_with_who(
    body: Any, answer: ev.Event, command: dict[str, Any], tmp_path: Path
) -> None:
    async with served(tmp_path, dashboard_steer=True) as page:
        lease = await begun(page.store)
        asking = asyncio.create_task(page.steer(body))
        while not (commands := await page.store.commands(RUN)):  # noqa: ASYNC110 - a row in a store tells nobody
            await asyncio.sleep(0.01)
        await write(page.store, lease, answer)
        code, told = await asking

    assert (code, told["followed"], told["run_id"]) == (200, True, RUN)
    assert [each.body for each in commands] == [command]
    assert commands[0].who.endswith(" by the page")


# -- where it listens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"dashboard": "10.0.0.1:8080"}, "others can reach this address, and would read the token on the way: give"),
        ({"dashboard": "0.0.0.0:8080"}, "others can reach this address"),
        ({"dashboard": "[::]:8080", "dashboard_cert": "c.pem"}, "is every address of this machine: say by"),
        ({"dashboard": "127.0.0.1:8080", "dashboard_key": "k.pem"}, "--dashboard-key needs --dashboard-cert."),
    ],
)
def test_an_address_of_others_needs_a_certificate_and_a_name(settings: dict[str, Any], says: str) -> None:
    told = Observability(**settings)
    host = str(told.dashboard).rpartition(":")[0].strip("[]")

    with pytest.raises(UsageError) as refused:
        check_reach(host, told)
    assert says in str(refused.value)


def certificate(folder: Path, *more: str) -> tuple[str, str]:
    """Make a certificate of 127.0.0.1 and its key."""
    made, key = str(folder / "page.pem"), str(folder / "page.key")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-keyout", key, "-out", made, "-days", "2"]
    subprocess.run(  # noqa: S603 - ours
        [*command, "-subj", "/CN=page", "-addext", "subjectAltName=IP:127.0.0.1", *(more or ["-nodes"])],
        check=True,
        capture_output=True,
    )
    return made, key


async def test_over_tls_the_cookie_is_secure_and_old_versions_are_refused(tmp_path: Path) -> None:
    made, key = certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=made)
    async with served(tmp_path, dashboard_cert=made, dashboard_key=key) as page:
        page.scheme = "https"
        async with page.ask(f"/?token={page.token}", known=False, ssl=trusted) as answer:
            flags = answer.headers["Set-Cookie"].split("; ")[1:]
        status = await page.status("/", ssl=trusted)
        context = tls_context(made, key)

    assert flags == ["HttpOnly", "SameSite=Strict", "Path=/", "Secure"]
    assert status == 200
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (("missing.pem", ""), "cannot be read (No such file or directory): give files"),
        (("nonsense.pem", ""), "cannot be used ("),
        (("page.pem", ""), "cannot be used ("),
        (("page.pem", "other.key"), "cannot be used (key values mismatch): give a certificate and its key"),
        (("page.pem", "locked.key"), "--dashboard-key has a passphrase, which nobody is there to type"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told_of_in_a_sentence(
    files: tuple[str, str], says: str, tmp_path: Path
) -> None:
    (tmp_path / "nonsense.pem").write_text("nonsense", encoding="utf-8")
    certificate(tmp_path, "-passout", "pass:secret")
    (tmp_path / "page.key").rename(tmp_path / "locked.key")
    locked = (tmp_path / "page.pem").read_bytes()
    certificate(tmp_path)
    (tmp_path / "page.key").rename(tmp_path / "other.key")
    if files[1] == "locked.key":
        (tmp_path / "page.pem").write_bytes(locked)
    else:
        certificate(tmp_path)

    with pytest.raises(ConfigError) as refused:
        tls_context(*(str(tmp_path / name) if name else "" for name in files))
    assert says in str(refused.value)


async def test_a_port_that_is_taken_is_told_of(tmp_path: Path) -> None:
    async with served(tmp_path) as page, open_store("memory:", inline=True) as store:
        told = Observability(dashboard=f"127.0.0.1:{page.port}")
        with pytest.raises(ConfigError, match="cannot be listened at"):
            async with serving_dashboard(told, History(store), folder=tmp_path / "assets"):
                pass


async def test_an_installation_without_the_pages_files_says_so(tmp_path: Path) -> None:
    async with open_store("memory:", inline=True) as store:
        with pytest.raises(ConfigError, match="The page's files"):
            async with serving_dashboard(
                Observability(dashboard=f"127.0.0.1:{free_port()}"), History(store), folder=tmp_path
            ):
                pass


async def test_where_it_is_found_is_printed_once_and_a_given_token_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(tmp_path) as page:
        kept = capsys.readouterr().err
    monkeypatch.setenv("ECSBATCH_DASHBOARD_TOKEN", "given-by-somebody")
    async with served(tmp_path) as other:
        given = capsys.readouterr().err

    assert kept == f"Page: {page.origin}/?token={page.token}\n"
    assert given == f"Page: {other.origin}/?token=$ECSBATCH_DASHBOARD_TOKEN\n"
