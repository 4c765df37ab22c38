"""Which servers a command is about: what is typed, what the listing answers, and what neither is taken to mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from ecsbatch.cli.exit_codes import Exit, UsageError, code_of_error
from ecsbatch.cli.selection_flags import SelectionFlags, read_selection, read_since
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.inventory import Inventory, filters_of, find
from ecsbatch.ecs.sender import Answer, Request, Sender
from ecsbatch.errors import CloudError, EcsbatchError, SelectionError, SelectionRefused, UnknownAnswer
from ecsbatch.model.servers import Server, ServerView
from ecsbatch.planning.selection import Selection
from ecsbatch.simulator.virtual_time import VirtualClock, VirtualLoop, run

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000001" for letter in "abc")
NOW = 1_772_360_000.0


class Pages:
    """A sender that answers one page after the other, and remembers what was asked."""

    def __init__(self, *pages: Answer) -> None:
        self.pages = list(pages)
        self.asked: list[dict[str, list[str]]] = []

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Answer with the next page; the last one stays."""
        on_sent()
        self.asked.append(parse_qs(urlsplit(request.url).query))
        return self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]


def page(*rows: dict[str, Any], count: int) -> Answer:
    return Answer(200, {}, orjson.dumps({"count": count, "servers": list(rows)}))


def row(server_id: str, status: str = "ACTIVE", tags: Sequence[str] = (), name: str = "web") -> dict[str, Any]:
    return {"id": server_id, "status": status, "tags": list(tags), "name": name, "OS-EXT-AZ:availability_zone": "az1"}


def found(pages: Sender, selection: Selection, *, count: bool = False) -> Inventory:
    """Select from these pages; the pauses between attempts pass in virtual time."""
    loop = VirtualLoop()

    async def look() -> Inventory:
        async with EcsClient(
            auth=KeyAuth("AK", "SK"),
            project_id="p",
            endpoint="http://127.0.0.1",
            sender=pages,
            clock=VirtualClock(loop),
        ) as ecs:
            return await find(ecs, selection, count=count)

    return run(look(), loop=loop)


def test_a_server_on_two_pages_is_one_as_it_was_seen_last() -> None:
    pages = Pages(page(row(A), row(B), count=3), page(row(B, "SHUTOFF"), row(C), count=3), page(count=3))
    seen = found(pages, Selection())

    assert [server.id for server in seen.servers] == [A, B, C]
    assert seen.views[B].status == "SHUTOFF"
    assert seen.servers[0].domain == "az1"


def test_every_row_is_checked_again() -> None:
    """The cloud answers more than was asked for: other states, and whatever it makes of a second tag."""
    tagged = ("app=web", "stage=prod")
    rows = [row(A, tags=tagged), row(B, "REBOOT", tagged), row(C, tags=("app=web", "stage=test"))]
    pages = Pages(page(*rows, count=3))
    seen = found(pages, Selection(tags=tagged, status=("ACTIVE",)), count=True)

    assert [server.id for server in seen.servers] == [A]
    assert pages.asked[0]["tags"] == ["app=web"]
    assert seen.in_project == 3


def project() -> Pages:
    return Pages(page(row(A, name="web-1"), row(B, name="web-2"), row(C, name="web-2"), count=3))


def test_a_list_of_names_is_looked_up_in_the_whole_project() -> None:
    servers = [Server(C), Server("", name="web-1")]
    seen = found(project(), Selection(servers=servers))

    assert seen.servers == [Server(C), Server(A, "az1", "web-1")]
    assert set(seen.views) == {A, C}
    with pytest.raises(SelectionError, match=f"2 servers are called 'web-2' \\({B}, {C}\\)") as refused:
        found(project(), Selection(servers=[Server("", name="web-2")]))
    assert code_of_error(refused.value) == Exit.USAGE


def test_all_servers_of_an_excluded_name_are_left_alone_and_a_misspelt_one_is_refused() -> None:
    assert found(project(), Selection(excluded_names=frozenset({"web-2"}))).excluded == {B, C}
    others = Selection(servers=[Server(A)], excluded_names=frozenset({"web-2"}))
    assert found(Pages(page(row(A, name="web-1"), count=1), *project().pages), others).excluded == frozenset()
    with pytest.raises(SelectionError, match="No server of the project is called 'web2', as the list") as refused:
        found(project(), Selection(excluded_names=frozenset({"web2"})))
    assert refused.value.settings == ("exclude",)


@pytest.mark.parametrize(
    ("pages", "code", "words"),
    [
        ([page(row(A), count=2), Answer(503, {}, b"")], Exit.ERROR, "HTTP 503"),
        ([page(row(A), count=2), page(count=2)] * 3, Exit.ERROR, "ended after 1 of 2 servers, three times"),
        ([page(count=0)], Exit.REFUSED, "never means all"),
        ([page(row(A, "SHUTOFF"), count=1)], Exit.REFUSED, "No server matches"),
    ],
)
def test_a_part_of_a_listing_is_no_fleet_and_nothing_is_not_all(pages: list[Answer], code: Exit, words: str) -> None:
    with pytest.raises(EcsbatchError, match=words) as refused:
        found(Pages(*pages), Selection(status=("ACTIVE",)))

    assert code_of_error(refused.value) is code
    assert isinstance(refused.value, CloudError | SelectionRefused)


def test_a_listing_that_contradicts_itself_is_read_again() -> None:
    """A fleet may change between two pages."""
    pages = Pages(*[page(row(A), count=2), page(count=2)] * 2, page(row(A), row(B), count=2))

    assert [server.id for server in found(pages, Selection()).servers] == [A, B]
    assert len(pages.asked) == 5


class Endless:
    """A sender whose listing has another thousand servers behind each thousand."""

    def __init__(self, count: Callable[[int], int]) -> None:
        self.asked = 0
        self._rows = 0
        self._count = count

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Answer with a page that nobody has seen."""
        on_sent()
        self.asked += 1
        self._rows = self._rows + 1000 if "marker=" in request.url else 1000
        ids = range(self._rows, self._rows + 1000)
        return page(*[row(f"{each:08x}-0000-4000-8000-000000000000") for each in ids], count=self._count(self._rows))


@pytest.mark.parametrize("count", [lambda _: 1500, lambda rows: rows + 500, lambda _: 7], ids=["fixed", "grows", "few"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_listing_without_an_end_is_an_error(count: Callable[[int], int], listed: bool) -> None:  # noqa: FBT001 - a parameter
    cloud = Endless(count)
    wanted = [Server(f"{each:08x}-1111-4000-8000-000000000000") for each in range(1000)]
    selection = Selection(servers=wanted) if listed else Selection()
    with pytest.raises(UnknownAnswer, match="The listing has no end: it has shown") as refused:
        found(cloud, selection)

    assert code_of_error(refused.value) is Exit.ERROR
    assert 3 < cloud.asked <= 3 * 5


@pytest.mark.parametrize(
    ("name", "plain"), [("web-1", "web-1"), ("web-*", "web-"), ("*", ""), ("a.web+x?", "web"), ("[dp]b-[0-9]", "b-")]
)
def test_the_cloud_is_asked_for_the_plain_part_of_a_name(name: str, plain: str) -> None:
    """Its own filter is a search with wildcards of its own: it may answer more, never less."""
    assert filters_of(Selection(name=name)).get("name") == plain


BAD: list[tuple[str, SelectionFlags, str]] = [
    ("", SelectionFlags(), "needs a list of servers or a selection"),
    ("fleet.txt", SelectionFlags(all=True), "not fleet.txt and --all together"),
    ("", SelectionFlags(all=True, az=["az1"]), "cannot be meant with it"),
    ("", SelectionFlags(tag=[""]), "--tag needs a value"),
    ("", SelectionFlags(tag=["=x"]), "--tag needs a value"),
    ("", SelectionFlags(name=" "), "--name needs a value"),
    ("", SelectionFlags(az=["az1", ""]), "--az needs a value"),
    ("", SelectionFlags(enterprise_project=""), "--enterprise-project needs a value"),
    ("", SelectionFlags(all=True, exclude=[Path("-")]), "--exclude needs a file"),
    ("", SelectionFlags(all=True, exclude=[Path("nobody.txt")]), "names no server"),
    ("to night.json", SelectionFlags(), "to night.json is a plan: ecsbatch apply 'to night.json' carries it out"),
    ("", SelectionFlags(all=True, skip_restarted_since="yesterday"), "--skip-restarted-since yesterday"),
    ("", SelectionFlags(all=True, skip_updated_since="2026-13-01"), "--skip-updated-since 2026-13-01: give how long"),
    ("", SelectionFlags(all=True, skip_updated_since="2999-01-01T00:00:00Z"), "it lies in the future"),
]


@pytest.mark.parametrize(("file", "flags", "words"), BAD)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, flags: SelectionFlags, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nobody.txt").write_text("# nobody\n", encoding="utf-8")
    Path("to night.json").write_text('{"ecsbatch_plan":1,"servers":[]}', encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        read_selection(file, flags, "restart")

    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("2h", NOW - 7200),
        ("0.5s", NOW - 1),
        ("2026-03-01T10:00:00Z", NOW - 800),
        ("2026-03-01T11:00:00+01:00", NOW - 800),
    ],
)
def test_since_is_a_time_or_how_long_ago_cut_to_the_second(text: str, then: float) -> None:
    """The cloud cuts its own stamps: what changed in the very second must not be restarted twice."""
    assert read_since("--skip-updated-since", text, NOW) == then


def test_what_was_updated_since_is_told_by_the_cloud_or_not_guessed() -> None:
    views = [
        ServerView(A, status="ACTIVE", updated="2026-03-01T10:00:00Z"),
        ServerView(B, status="ACTIVE", updated="2026-03-01T09:59:59Z"),
        ServerView(C, found=False),
    ]

    assert Selection(updated_since=NOW - 800).updated(views) == {A}
    assert Selection().updated(views) == set()
    with pytest.raises(SelectionError, match="does not say when"):
        Selection(updated_since=NOW).updated([ServerView(A, status="ACTIVE")])
