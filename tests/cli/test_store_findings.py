"""What is to be thought of a store, from what was seen of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ecsbatch.cli.store_findings import StoreFinding, of_file, of_server, size
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.ownership import Exposure
from ecsbatch.store.address import PostgresAddress
from ecsbatch.store.facts import FileFacts, ServerFacts, Tables

FROZEN = Tables(3, 1, Freeze("ann", "power cut", 700.0), 1_000.0)
FILE = FileFacts(Path("/srv/restarts.db"), bytes=1_234_567, log=32_000, free=4096, tables=Tables(3, 7))
SERVER = ServerFacts(
    user="ops",
    version="16.4",
    seconds=0.0012,
    encrypted=True,
    ahead=0.4,
    standby=False,
    read_only=False,
    encoding="UTF8",
    fsync=True,
    standbys=0,
    waits_for_standbys=False,
    tells_timeline=True,
    bytes=81_920,
    usable=True,
    readable=True,
    writable=True,
    owner=False,
    tables=Tables(3, 7),
)
ADDRESS = PostgresAddress("postgresql://ops@db:5432/restarts", {}, "TLS, verified by the certificates of the system")


def amiss(findings: Any) -> list[StoreFinding]:
    return [each for each in findings if each.state != "ok"]


def test_a_file_that_is_well_is_told_of_in_numbers() -> None:
    findings = list(of_file(FILE, 3))

    assert amiss(findings) == []
    assert [(each.name, each.text) for each in findings] == [
        ("store", "/srv/restarts.db, 1.2 MB, 4.1 KB of it free, 32.0 KB of log"),
        ("tables", "schema 3, 7 runs"),
        ("whole", "every page can be read and is in its place"),
        ("rights", "nobody else may write it"),
    ]


@pytest.mark.parametrize(
    ("facts", "name", "state", "says"),
    [
        (FileFacts(Path("/srv/x.db"), there=False), "store", "warning", "the first run makes it"),
        (replace(FILE, tables=Tables(2)), "tables", "warning", "schema 2, this ecsbatch has 3: the next command"),
        (replace(FILE, tables=Tables(4)), "tables", "failed", "schema 4 of a newer ecsbatch"),
        (replace(FILE, tables=Tables(-1)), "tables", "failed", "another program's"),
        (replace(FILE, tables=Tables(0)), "tables", "warning", "none yet"),
        (replace(FILE, faults=["page 3 is never used"]), "whole", "failed", "page 3 is never used"),
        (
            replace(FILE, exposure=Exposure("/srv may be written by everybody")),
            "rights",
            "warning",
            "only where they are given again",
        ),
        (replace(FILE, tables=FROZEN), "freeze", "warning", "Frozen by ann 5m ago: power cut."),
    ],
)
def test_what_is_amiss_with_a_file_says_what_to_do(facts: FileFacts, name: str, state: str, says: str) -> None:
    (found,) = amiss(of_file(facts, 3))

    assert (found.name, found.state) == (name, state)
    assert says in found.text


def test_a_server_that_is_well_is_told_of() -> None:
    findings = list(of_server(SERVER, ADDRESS, 3))

    assert amiss(findings) == []
    assert [each.text for each in findings] == [
        "postgresql://ops@db:5432/restarts, PostgreSQL 16.4, answers in 1.2 ms",
        "TLS, verified by the certificates of the system",
        "schema 3, 7 runs, 81.9 KB",
        "role ops may read and write",
        "each is on the server's disk before it counts",
        "agrees with this machine's",
    ]


NO_TABLES = replace(SERVER, tables=Tables(0), bytes=0)


@pytest.mark.parametrize(
    ("facts", "name", "state", "says"),
    [
        (replace(SERVER, seconds=0.7), "store", "warning", "700.0 ms: a run may lose its lease"),
        (replace(SERVER, tables=Tables(2)), "tables", "failed", "have the owner of its tables run `ecsbatch store"),
        (replace(SERVER, readable=False, tables=Tables(None)), "rights", "failed", "may not read all tables"),
        (replace(SERVER, usable=False, readable=False, tables=Tables(None)), "rights", "failed", "may not read"),
        (replace(SERVER, writable=False), "rights", "warning", "may read, not write: enough for status, report"),
        (replace(SERVER, standby=True, writable=True), "rights", "warning", "it is a standby"),
        (replace(SERVER, read_only=True), "rights", "warning", "set to read only"),
        (replace(NO_TABLES, owner=False), "rights", "failed", "may not make the tables"),
        (replace(NO_TABLES, owner=True), "tables", "warning", "the first command that writes makes them"),
        (replace(SERVER, fsync=False), "commits", "warning", "fsync is off"),
        (replace(SERVER, tells_timeline=False), "commits", "warning", "role ops may not ask for the timeline"),
        (replace(SERVER, standbys=1), "commits", "warning", "1 standby may lack the last commits"),
        (replace(SERVER, ahead=-601), "clock", "warning", "10m01s behind this machine's"),
        (replace(SERVER, encoding="LATIN1"), "texts", "failed", "encoding UTF8"),
        (replace(SERVER, tables=FROZEN), "freeze", "warning", "`ecsbatch thaw` ends it."),
    ],
)
def test_what_is_amiss_with_a_server_says_what_to_do(facts: ServerFacts, name: str, state: str, says: str) -> None:
    found = {each.name: each for each in amiss(of_server(facts, ADDRESS, 3))}

    assert found[name].state == state
    assert says in found[name].text
    assert set(found) - {name} <= {"tables", "rights"}


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (replace(SERVER, standbys=2, waits_for_standbys=True), "on the server's disk, and a standby's, of 2"),
        (replace(SERVER, owner=True), "may read and write, and change tables"),
        (replace(SERVER, ahead=5), "the database's is 5s ahead of this machine's, and leases and quota go by it"),
    ],
)
def test_what_is_no_fault_is_told(facts: ServerFacts, says: str) -> None:
    findings = list(of_server(facts, ADDRESS, 3))

    assert amiss(findings) == []
    assert any(says in each.text for each in findings)


@pytest.mark.parametrize(
    ("encrypted", "now"), [(True, "sslmode=prefer. "), (False, "sslmode=prefer, not encrypted now. ")]
)
def test_a_weak_way_is_told_with_what_it_is_now(now: str, *, encrypted: bool) -> None:
    weak = replace(ADDRESS, protection="sslmode=prefer", warning="sslmode=prefer to db: who listens reads it")

    (found,) = amiss(of_server(replace(SERVER, encrypted=encrypted), weak, 3))

    assert (found.name, found.state) == ("line", "warning")
    assert found.text == f"{now}sslmode=prefer to db: who listens reads it."


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 KB"),
        (81_920, "81.9 KB"),
        (123_456, "123 KB"),
        (5 * 10**12, "5,000 GB"),
    ],
)
def test_a_size_has_the_digits_that_one_reads(number: int, text: str) -> None:
    assert size(number) == text
