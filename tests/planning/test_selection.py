"""Who is to be restarted, and who must be left alone."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecsbatch.errors import SelectionError
from ecsbatch.model.outcome import SkipReason
from ecsbatch.model.servers import Fleet, Server, ServerView
from ecsbatch.planning.fleet_file import parse_fleet, read_fleet
from ecsbatch.planning.precheck import precheck, skip_reason
from ecsbatch.planning.selection import as_fleet, filter_views, from_view

A = "aaaaaaaa-0000-4000-8000-000000000001"
B = "bbbbbbbb-0000-4000-8000-000000000002"
C = "cccccccc-0000-4000-8000-000000000003"


def test_a_list_holds_one_id_a_line_with_comments() -> None:
    text = f"# the web tier\n\n{A}\n  {B}  # web-2\r\n{C.upper()}"

    assert parse_fleet(text.encode(), "fleet.txt") == [Server(A), Server(B), Server(C)]


def test_csv_needs_an_id_and_may_say_more() -> None:
    text = f'\ufeffName, ID ,az,site,price\r\nweb-1,{A},az1,eu,3\r\n\r\n"web, 2",{B},,,\r\n'

    assert parse_fleet(text.encode(), "fleet.csv") == [Server(A, "az1", "web-1", "eu"), Server(B, "", "web, 2")]


@pytest.mark.parametrize("name", ["fleet.csv", "fleet.tsv", "fleet.txt", "standard input"])
@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_spreadsheet_may_part_its_cells_by_semicolons_or_tabs(mark: str, name: str) -> None:
    rows = [["Name", '"ID"', "az"], ["web-1, left", A, "az1"], [f'"web{mark}2"', B, ""]]
    text = "\r\n".join(mark.join(row) for row in rows)

    assert parse_fleet(text.encode(), name) == [Server(A, "az1", "web-1, left"), Server(B, "", f"web{mark}2")]


def test_json_lines_need_an_id_and_may_say_more() -> None:
    text = f'{{"id": "{A}", "az": "az1", "name": "web-1", "tags": ["x"]}}\n\n{{"id": "{B}", "az": null}}\n'

    assert parse_fleet(text.encode(), "fleet.jsonl") == [Server(A, "az1", "web-1"), Server(B)]


@pytest.mark.real
@pytest.mark.parametrize("text", [f"{A}\n", f"id,az\n{A},\n", f'{{"id":"{A}"}}\n'])
def test_standard_input_may_be_any_of_the_three(text: str) -> None:
    program = "from ecsbatch.planning.fleet_file import read_fleet; print([server.id for server in read_fleet('-')])"
    piped = subprocess.run([sys.executable, "-c", program], input=text, capture_output=True, text=True, check=True)  # noqa: S603 - our own

    assert piped.stdout.strip() == str([A])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.txt", f"web-1\n{A.upper()}  # the gateway\nw\xfcrfel.2\n"),
        ("f.csv", f"id,name\n,web-1\n{A},\n,w\xfcrfel.2\n"),
        ("-", f"name,id\nweb-1,\n,{A}\nw\xfcrfel.2,\n"),
        ("f.jsonl", f'{{"name": "web-1"}}\n{{"id": "{A}"}}\n{{"name": "w\xfcrfel.2"}}\n'),
    ],
)
def test_a_list_may_name_servers_by_their_names(name: str, text: str) -> None:
    assert parse_fleet(text.encode(), name) == [Server("", name="web-1"), Server(A), Server("", name="w\xfcrfel.2")]


def test_a_table_of_names_alone_needs_no_ids() -> None:
    assert parse_fleet(b"name,az\nweb-1,az1\n", "f.csv") == [Server("", "az1", "web-1")]


BAD_LISTS: list[tuple[str, bytes, str]] = [
    ("f.txt", b"", "f.txt names no server; an empty list never means all."),
    ("f.txt", b"# nothing\n\n", "f.txt names no server; an empty list never means all."),
    ("f.csv", b"id,az\n", "f.csv names no server; an empty list never means all."),
    ("f.txt", f"{A}\n{B[:-1]}\n".encode(), f"f.txt, line 2: '{B[:-1]}' is no server id; give a UUID such as "),
    ("f.txt", b"web 1\n", "f.txt, line 1: 'web 1' is no server id; "),
    ("f.txt", b"web-1\n\nweb-1\n", "f.txt, line 3: web-1 stands in line 1 already; "),
    ("f.csv", b"id,name\nweb-1,web-1\n", "f.csv, line 2: 'web-1' is no server id; "),
    ("f.txt", f"{A} {B}\n".encode(), f"f.txt, line 1: '{A} {B[:23]}…' is no server id; "),
    ("f.txt", f"{A}\n\n{A.upper()}\n".encode(), f"f.txt, line 3: {A} stands in line 1 already; "),
    ("f.csv", f"id\n{A}\n{A}\n".encode(), f"f.csv, line 3: {A} stands in line 2 already; "),
    ("f.txt", b"\x7fELF\n\0\0", "f.txt, line 2: this is a binary file; "),
    ("f.txt", f"{A}\n# caf\xe9\n".encode("latin-1"), "f.txt, line 2: this is not UTF-8; "),
    ("f.csv", f"name|id\nx|{A}\n".encode(), "f.csv, line 1: the header has no column id ('name|id'); "),
    ("f.csv", f"name;id\nx;{A};\n".encode(), "f.csv, line 2: 3 cells under a header of 2; "),
    ("f.csv", b"", "f.csv, line 1: the header has no column id (''); "),
    ("f.csv", f"id,az\n{A}\n".encode(), "f.csv, line 2: 1 cells under a header of 2; "),
    ("f.csv", f'id,az\n{A},"az1\n'.encode(), "f.csv, line 3: this is no CSV (unexpected end of data); "),
    ("f.csv", b"id,az\n,az1\n", "f.csv, line 2: '' is no server id; "),
    ("f.jsonl", f'{{"id": "{A}"}}\n{{"id": \n'.encode(), "f.jsonl, line 2: this is no JSON ("),
    ("f.jsonl", b'["id"]\n', "f.jsonl, line 1: no id; "),
    ("f.jsonl", b'{"id": 5}\n', "f.jsonl, line 1: no id; "),
]


@pytest.mark.parametrize(("name", "data", "error"), BAD_LISTS)
def test_a_bad_list_is_one_clear_sentence_with_its_line(name: str, data: bytes, error: str) -> None:
    with pytest.raises(SelectionError) as caught:
        parse_fleet(data, name)

    assert str(caught.value).startswith(error)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=80), st.sampled_from(["f.txt", "f.csv", "f.jsonl", "-"]))
def test_whatever_a_file_holds_it_is_servers_or_one_sentence(data: bytes, name: str) -> None:
    try:
        servers = parse_fleet(data, name)
    except SelectionError as e:
        assert "\n" not in str(e)  # noqa: PT017  # both ends are fine, a third is not
    else:
        assert len({server.id or server.name for server in servers}) == len(servers) > 0


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "fleet.txt").write_text(A, encoding="utf-8")

    assert read_fleet(tmp_path / "fleet.txt") == [Server(A)]
    with pytest.raises(SelectionError, match=r"none\.txt cannot be read \(No such file or directory\); "):
        read_fleet(tmp_path / "none.txt")
    with pytest.raises(SelectionError, match=r"cannot be read \(Is a directory\); "):
        read_fleet(str(tmp_path))


def test_a_program_may_give_ids_or_servers() -> None:
    assert list(as_fleet([A, Server(B, "az1")])) == [Server(A), Server(B, "az1")]
    with pytest.raises(SelectionError, match="No server is selected"):
        as_fleet([])
    with pytest.raises(SelectionError, match="named 2 times"):
        as_fleet([A, Server(A, "az1")])
    with pytest.raises(SelectionError, match="named 2 times"):
        as_fleet([A, A.upper()])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([""], "'' is no server id: give 1 to 64 printable characters"),
        (["i" * 65], "is no server id"),
        ([A, "abc\ud800"], r"'abc\\ud800' is no server id"),
        ([Server("a\nb")], r"'a\\nb' is no server id"),
        (Fleet(["x\x00"]), "is no server id"),
        ([Server(A, "az\ud800")], r"'az\\ud800' is no text"),
        ([7], "7 is no server"),
        (A, "is one text: give a list"),
    ],
)
def test_what_cannot_be_an_id_is_named_at_the_door(given: Any, says: str) -> None:
    """Python's JSON reads halves of characters; in the store one would end the engine for everybody."""
    with pytest.raises(SelectionError, match=says):
        as_fleet(given)


def test_a_uuid_is_in_small_letters_and_other_ids_stay() -> None:
    assert list(as_fleet([A.upper(), Server("Web-1"), "i" * 64])) == [Server(A), Server("Web-1"), Server("i" * 64)]
    assert list(as_fleet(Fleet([A.upper(), B], ["az1", ""]))) == [Server(A, "az1"), Server(B)]
    assert as_fleet(fleet := Fleet([A, B])) is fleet


LISTING = [
    ServerView("1", status="ACTIVE", az="az1", name="web-1", tags=("role=web", "blue")),
    ServerView("2", status="ACTIVE", az="az2", name="web-22", tags=("role=web", "tier=a=b"), enterprise_project_id="e"),
    ServerView("3", status="SHUTOFF", az="az1", name="db-1", tags=("role=website",)),
    ServerView("4", found=False),
]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({}, "123"),
        ({"tags": ["role=web"]}, "12"),
        ({"tags": ["role=web", "tier=a=b"]}, "2"),
        ({"tags": ["role=web", "role=website"]}, ""),
        ({"tags": ["blue"]}, "1"),
        ({"tags": ["role"]}, ""),
        ({"name": "web-1"}, "1"),
        ({"name": "web-?"}, "1"),
        ({"name": "web-*"}, "12"),
        ({"name": "web"}, ""),
        ({"az": ["az1"]}, "13"),
        ({"az": ["az1", "az2"]}, "123"),
        ({"status": ["shutoff"]}, "3"),
        ({"status": ["ACTIVE"], "az": ["az2"]}, "2"),
        ({"enterprise_project": "e"}, "2"),
        ({"exclude": {"1", "3"}}, "2"),
    ],
)
def test_a_listing_is_filtered_exactly_and_by_all_filters(filters: dict[str, list[str]], ids: str) -> None:
    assert "".join(view.id for view in filter_views(LISTING, **filters)) == ids  # type: ignore[arg-type]


def test_a_listed_server_brings_its_zone_as_its_domain() -> None:
    assert from_view(LISTING[0], "eu") == Server("1", "az1", "web-1", "eu")


@pytest.mark.parametrize(
    ("view", "verdict"),
    [
        (ServerView(A, status="ACTIVE"), None),
        (ServerView(A, found=False), (SkipReason.NOT_FOUND, False)),
        (ServerView(A, status="ACTIVE", locked=True), (SkipReason.LOCKED, False)),
        (ServerView(A, status="SHUTOFF"), (SkipReason.NOT_ACTIVE, False)),
        (ServerView(A, status="SHUTOFF", locked=True), (SkipReason.NOT_ACTIVE, False)),
        (ServerView(A, status="SHELVED_OFFLOADED"), (SkipReason.NOT_ACTIVE, False)),
        (ServerView(A, status="REBOOT", task_state="rebooting"), (SkipReason.ALREADY_RESTARTING, True)),
        (ServerView(A, status="HARD_REBOOT"), (SkipReason.ALREADY_RESTARTING, True)),
        (ServerView(A, status="ACTIVE", task_state="reboot_pending_hard"), (SkipReason.ALREADY_RESTARTING, True)),
        (ServerView(A, status="REBOOT", locked=True), (SkipReason.ALREADY_RESTARTING, True)),
        (ServerView(A, status="ACTIVE", task_state="powering-off"), (SkipReason.NOT_ACTIVE, True)),
        (ServerView(A, status="SHUTOFF", task_state="powering-on"), (SkipReason.NOT_ACTIVE, True)),
        (ServerView(A, status="ERROR"), (SkipReason.NOT_ACTIVE, True)),
        (ServerView(A, status="UNKNOWN"), (SkipReason.NOT_ACTIVE, True)),
        (ServerView(A, status="MIGRATING"), (SkipReason.NOT_ACTIVE, True)),
        (ServerView(A, status=""), (SkipReason.NOT_ACTIVE, True)),
        (ServerView(A, status="A_NEW_WORD"), (SkipReason.NOT_ACTIVE, True)),
    ],
)
def test_only_a_resting_active_server_may_be_restarted(
    view: ServerView, verdict: tuple[SkipReason, bool] | None
) -> None:
    """What is down by nobody's choice, or on its way, takes a slot of the budget."""
    assert skip_reason(view) == verdict


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("view", "checked", "since", "verdict"),
    [
        (ServerView("a", status="ACTIVE", updated="2026-03-01T12:00:00Z"), True, None, None),
        (ServerView("a", status="ACTIVE", updated="2026-03-01T11:59:59Z"), True, NOON, None),
        (ServerView("a", status="ACTIVE", updated="2026-03-01T12:00:00Z"), True, NOON, ("restarted_recently", False)),
        (ServerView("a", status="ACTIVE", updated="2026-03-01T12:00:00Z"), False, NOON, ("restarted_recently", False)),
        (ServerView("a", status="REBOOT", updated="2026-03-01T12:00:00Z"), True, NOON, ("restarted_recently", True)),
        (ServerView("a", status="REBOOT", updated="2026-03-01T11:00:00Z"), True, NOON, ("already_restarting", True)),
        (ServerView("a", status="REBOOT", updated="2026-03-01T11:00:00Z"), False, NOON, None),
        (ServerView("a", status="ACTIVE", updated="yesterday"), True, NOON, None),
        (ServerView("a", status="ACTIVE", updated="2026-03-01T13:00:00"), True, NOON, None),
        (ServerView("a", found=False), True, NOON, ("not_found", False)),
    ],
)
def test_why_a_server_is_left_alone_just_before_its_turn(
    view: ServerView, since: float | None, verdict: tuple[str, bool] | None, *, checked: bool
) -> None:
    assert precheck(view, precheck=checked, updated_since=since) == verdict
