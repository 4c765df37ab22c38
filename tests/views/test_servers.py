"""The list of servers that a command was about: safe to look at, and a fleet file again."""

from __future__ import annotations

import csv
import io
import json

import pytest

from ecsbatch.model.servers import Server, ServerView
from ecsbatch.planning.fleet_file import parse_fleet
from ecsbatch.views.servers import COLUMNS, servers_csv, servers_json, servers_jsonl, servers_table
from ecsbatch.views.text import cell

A, B = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
VIEWS = [
    ServerView(A, status="ACTIVE", az="az1", name='=HYPERLINK("http://x")', tags=("app=web", "@x")),
    ServerView(B, status="SHUTOFF", az="az2", name="web\x1b[31m\n2, b", locked=True),
]


def test_csv_and_json_lines_are_fleet_files() -> None:
    as_csv = parse_fleet(b"".join(servers_csv(VIEWS)), "x.csv")
    as_lines = parse_fleet(b"".join(servers_jsonl(VIEWS)), "x.jsonl")

    assert [(s.id, s.domain) for s in as_csv] == [(s.id, s.domain) for s in as_lines] == [(A, "az1"), (B, "az2")]
    assert as_lines[0] == Server(A, "az1", VIEWS[0].name)


def test_no_cell_is_a_formula_and_nothing_foreign_moves_a_cursor() -> None:
    rows = list(csv.reader(io.StringIO(b"".join(servers_csv(VIEWS)).decode())))
    table = b"".join(servers_table(VIEWS)).decode()

    assert tuple(rows[0]) == COLUMNS
    assert rows[1][2].startswith("'=")
    assert all(cell.isprintable() and not cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert all(line.isprintable() for line in table.splitlines())
    assert len(table.splitlines()) == 3


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("  =1+1", "  '=1+1"),
        (' "=1+1', " \"'=1+1"),
        ("\u00a0=1+1", "\N{REPLACEMENT CHARACTER}=1+1"),
        ("web;=1+1", "web;'=1+1"),
        ("web, -2", "web, '-2"),
        ("a|@b;+c", "a|'@b;'+c"),
        ("=a;=b", "'=a;'=b"),
        ("app=web tier=2-b", "app=web tier=2-b"),
        ("e-mail", "e-mail"),
        ("Ecs.0605: locked; by somebody", "Ecs.0605: locked; by somebody"),
        ("\x9b31m\x1b[2J", "\N{REPLACEMENT CHARACTER}31m\N{REPLACEMENT CHARACTER}[2J"),
        (-3, -3),
        (None, ""),
    ],
)
def test_a_cell_begins_no_formula_wherever_a_spreadsheet_splits_it(value: object, shown: object) -> None:
    assert cell(value) == shown


def test_json_is_one_object_and_says_what_would_be_skipped() -> None:
    told = json.loads(b"".join(servers_json(VIEWS)))

    assert told["total"] == 2
    assert [server["skip"] for server in told["servers"]] == ["", "not_active"]
    assert told["servers"][0]["tags"] == ["app=web", "@x"]
    assert json.loads(b"".join(servers_json([]))) == {"total": 0, "servers": []}
