"""What is to be thought of a store, from what was seen of it: findings, each with what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.text import counted, printable
from ecsbatch.policy.frozen import freeze_notice
from ecsbatch.views.text import format_span, paragraph

if TYPE_CHECKING:
    from ecsbatch.store.address import PostgresAddress
    from ecsbatch.store.facts import FileFacts, ServerFacts, Tables
    from ecsbatch.store.opening import StoreLook

State = Literal["ok", "warning", "failed", "not tried"]

_OFF: Final = 2.0
"""Seconds that two clocks may differ without a word."""

_OFF_WARNED: Final = 60.0

_SLOW: Final = 0.5
"""Seconds of an answer from which on a lease of four seconds, renewed each second, is at risk."""

_COLUMN: Final = 20
"""Where the text of a finding begins."""

_UNITS: Final = ("bytes", "KB", "MB", "GB")


@dataclass(frozen=True, slots=True)
class StoreFinding:
    """What one look came to; what is not ok says what to do."""

    name: str
    state: State
    text: str


class _Ways(NamedTuple):
    """How tables come to be ours: what makes them, what upgrades them, and how bad it is that they are older."""

    make: str
    upgrade: str
    older: State


_OWNER: Final = "have the owner of its tables run `ecsbatch store upgrade`, or --print it"
_WRITES: Final = "the first command that writes makes them"
_OF_FILES: Final = _Ways(_WRITES, "the next command that writes upgrades it and keeps a copy", "warning")
_OF_OWNERS: Final = _Ways(f"{_WRITES}, or `ecsbatch store upgrade`", _OWNER, "failed")
_OF_OTHERS: Final = _Ways("have their owner run `ecsbatch store upgrade`", _OWNER, "failed")


def finding_lines(findings: Sequence[StoreFinding], width: int) -> list[str]:
    """Return findings as lines for people."""
    labels = [f"{each.state:11}{each.name}" for each in findings]
    column = max([_COLUMN, *(len(label) + 2 for label in labels)])
    told = zip(labels, findings, strict=True)
    return [line.rstrip() for label, each in told for line in paragraph(label, each.text, width, column)]


def of_seen(seen: StoreLook, schema: int) -> Iterator[StoreFinding]:
    """Judge a store by what was seen of it, as the two functions below do."""
    if seen.server is not None and seen.address is not None:
        yield from of_server(seen.server, seen.address, schema)
    elif seen.file is not None:
        yield from of_file(seen.file, schema)


def of_file(facts: FileFacts, schema: int) -> Iterator[StoreFinding]:
    """Judge a store in a file.

    Args:
        facts: what was seen.
        schema: the version of tables that this program writes.
    """
    if not facts.there:
        yield StoreFinding("store", "warning", f"there is no {facts.path} yet: the first run makes it.")
        return
    log = f", {size(facts.log)} of log" if facts.log else ""
    free = f", {size(facts.free)} of it free" if facts.free else ""
    yield StoreFinding("store", "ok", f"{facts.path}, {size(facts.bytes)}{free}{log}")
    yield from _tables(facts.tables, schema, _OF_FILES)
    if facts.faults:
        what = printable("; ".join(facts.faults))
        yield StoreFinding("whole", "failed", f"the file is damaged ({what}): end all runs on it, and restore a copy.")
    else:
        yield StoreFinding("whole", "ok", "every page can be read and is in its place")
    if facts.exposure is None:
        yield StoreFinding("rights", "ok", "nobody else may write it")
    else:
        again = "the gate and the cmd: or url: check of a run there run only where they are given again"
        yield StoreFinding("rights", "warning", f"{facts.exposure}: {again}.")
    yield from _frozen(facts.tables)


def of_server(facts: ServerFacts, address: PostgresAddress, schema: int) -> Iterator[StoreFinding]:
    """Judge a store at a PostgreSQL server.

    Args:
        facts: what was seen.
        address: how it was connected to.
        schema: the version of tables that this program writes.
    """
    answers = f"{address.name}, PostgreSQL {facts.version}, answers in {facts.seconds * 1000:.1f} ms"
    if facts.seconds >= _SLOW:
        yield StoreFinding("store", "warning", f"{answers}: a run may lose its lease of four seconds; put it nearer.")
    else:
        yield StoreFinding("store", "ok", answers)
    yield _line(address, encrypted=facts.encrypted)
    yield from _tables(facts.tables, schema, _OF_OWNERS if facts.owner else _OF_OTHERS, f", {size(facts.bytes)}")
    yield _rights(facts)
    yield from _commits(facts)
    yield _clock(facts.ahead)
    if facts.encoding != "UTF8":
        yield StoreFinding("texts", "failed", f"its encoding is {facts.encoding}: make a database with encoding UTF8.")
    yield from _frozen(facts.tables)


def _line(address: PostgresAddress, *, encrypted: bool) -> StoreFinding:
    now = "" if encrypted or not address.warning else ", not encrypted now"
    if address.warning:
        return StoreFinding("line", "warning", f"{address.protection}{now}. {address.warning}.")
    return StoreFinding("line", "ok", address.protection)


def _tables(tables: Tables, schema: int, ways: _Ways, more: str = "") -> Iterator[StoreFinding]:
    version = tables.version
    if version is None:
        yield StoreFinding("tables", "not tried", "Their version cannot be read, see rights.")
    elif version < 0:
        yield StoreFinding("tables", "failed", "they are another program's: choose another store.")
    elif not version:
        yield StoreFinding("tables", "warning", f"there are none yet: {ways.make}.")
    elif version > schema:
        text = f"schema {version} of a newer ecsbatch, this one reads up to {schema}: update ecsbatch."
        yield StoreFinding("tables", "failed", text)
    elif version < schema:
        yield StoreFinding("tables", ways.older, f"schema {version}, this ecsbatch has {schema}: {ways.upgrade}.")
    else:
        yield StoreFinding("tables", "ok", f"schema {version}, {counted(tables.runs or 0, 'run')}{more}")


def _rights(facts: ServerFacts) -> StoreFinding:
    who = f"role {printable(facts.user)}"
    none_yet = not facts.tables.version and facts.tables.version is not None
    if not facts.usable or not facts.readable:
        return StoreFinding("rights", "failed", f"{who} may not read all tables: have their owner grant it.")
    if facts.standby:
        return StoreFinding("rights", "warning", "it is a standby: it can be read, nothing can be restarted with it.")
    if facts.read_only:
        return StoreFinding("rights", "warning", f"{who} is set to read only: nothing can be restarted with it.")
    if none_yet and not facts.owner:
        text = f"{who} may not make the tables: have their owner run `ecsbatch store upgrade`, or --print it."
        return StoreFinding("rights", "failed", text)
    if not facts.writable:
        text = f"{who} may read, not write: enough for status, report, explain, audit and runs, not to restart."
        return StoreFinding("rights", "warning", text)
    return StoreFinding("rights", "ok", f"{who} may read and write{', and change tables' if facts.owner else ''}")


def _commits(facts: ServerFacts) -> Iterator[StoreFinding]:
    forgets = facts.standbys and not facts.waits_for_standbys
    if not facts.fsync:
        text = "fsync is off: a power cut there loses what was acknowledged, and may damage all. Turn it on."
        yield StoreFinding("commits", "warning", text)
    if forgets:
        who = counted(facts.standbys, "standby")
        text = f"{who} may lack the last commits when promoted: set synchronous_standby_names there."
        yield StoreFinding("commits", "warning", text)
    if not facts.tells_timeline and not facts.standby:
        text = (
            f"role {printable(facts.user)} may not ask for the timeline: a failover that forgets commits is not "
            "noticed. Grant it pg_current_wal_lsn() and pg_walfile_name(pg_lsn)."
        )
        yield StoreFinding("commits", "warning", text)
    if facts.fsync and not forgets and not facts.standby:
        standbys = f", and a standby's, of {facts.standbys}" if facts.standbys else ""
        yield StoreFinding("commits", "ok", f"each is on the server's disk{standbys} before it counts")


def _clock(ahead: float) -> StoreFinding:
    if abs(ahead) <= _OFF:
        return StoreFinding("clock", "ok", "agrees with this machine's")
    where = "ahead of" if ahead > 0 else "behind"
    text = f"the database's is {format_span(abs(ahead))} {where} this machine's, and leases and quota go by it"
    if abs(ahead) < _OFF_WARNED:
        return StoreFinding("clock", "ok", text)
    return StoreFinding("clock", "warning", f"{text}: set both (NTP).")


def _frozen(tables: Tables) -> Iterator[StoreFinding]:
    if tables.frozen is not None:
        yield StoreFinding("freeze", "warning", f"{freeze_notice(tables.frozen, tables.now)} `ecsbatch thaw` ends it.")


def size(number: int) -> str:
    """Write a number of bytes as one reads it: ``512 bytes``, ``1.2 MB``, ``340 MB``."""
    power = min((len(str(number)) - 1) // 3, len(_UNITS) - 1)
    part = number / 1000**power
    return f"{part:,.0f} {_UNITS[power]}" if not power or part >= 100 else f"{part:.1f} {_UNITS[power]}"  # noqa: PLR2004 - digits
