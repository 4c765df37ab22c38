"""What errors of a PostgreSQL server mean: a sentence for people, and whether to try again.

Pure functions of what the driver tells: the SQLSTATE, where the server gave one, the name of the driver's class, and
the text. A server that refuses a connection gives no SQLSTATE that the driver would hand on, so then the text decides;
where it is in a language that we do not know, the sentence is a general one.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.text import one_line, truncate

_LONGEST: Final = 160
"""Characters of a foreign text that a sentence repeats."""


_FULL: Final = "has no connection to spare"


class Retry(Enum):
    """When it is worth to try again."""

    NEVER = "never"
    """Somebody has to mend it first."""

    IN_USE = "in use"
    """Where the database was usable before: then it comes back by itself, and one that never was does not."""

    ALWAYS = "always"
    """Others were in the way, and will not be for long."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a database server.

    Attributes:
        what: is wrong, as what a sentence says of the store.
        why: as the server or the driver puts it, in one line.
        remedy: what to do about it.
        retry: when it is worth to try again.
    """

    what: str
    why: str
    remedy: str
    retry: Retry

    @property
    def is_full(self) -> bool:
        """Tell whether there is no connection to spare."""
        return self.what == _FULL

    @property
    def waits_for(self) -> str:
        """Return what somebody waits for who tries again."""
        return f"the database ({self.why})" if self.why else "the database"

    def sentence(self, store: str, waited: float | None = None) -> str:
        """Return the sentence about a store; ``waited``: the seconds for which one that was in use was waited for."""
        why = f" ({self.why})" if self.why else ""
        if waited is None:
            return f"The store {store} {self.what}{why}: {self.remedy}."
        lasted = f", for {waited:.1f} s" if waited >= 1 else ""
        return f"The store {store} {self.what}{why}{lasted}: {self.remedy}, then resume."


@dataclass(frozen=True, slots=True)
class _Kind:
    what: str
    remedy: str
    retry: Retry
    states: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


_KINDS: Final = (
    # While it was in use
    _Kind(
        "was kept busy by other transactions",
        "try again",
        Retry.ALWAYS,
        states=("40001", "40P01"),
    ),
    _Kind(
        "was kept by another process, which has not ended its transaction",
        "end that one or let it go on",
        Retry.ALWAYS,
        states=("55P03",),
    ),
    _Kind(
        "was too slow",
        "look at what else keeps the server busy",
        Retry.IN_USE,
        states=("57014",),
    ),
    _Kind(
        "takes no writes",
        "name the primary server, not a standby, and a database and a role that are not set to read only",
        Retry.IN_USE,
        states=("25006",),
        texts=("session is read-only", "server is in hot standby mode", "cannot execute .* read-only transaction"),
    ),
    _Kind(
        "has no space left on its disk",
        "make room there",
        Retry.NEVER,
        states=("53100",),
    ),
    _Kind(
        _FULL,
        "raise the server's max_connections, or put a pooler before it",
        Retry.IN_USE,
        states=("53300",),
        texts=(
            "too many clients",
            "too many connections",
            "remaining connection slots",
            "no more connections allowed",
        ),
    ),
    _Kind(
        "is damaged, or its disk is",
        "restore it from a copy",
        Retry.NEVER,
        states=("58030", "XX001", "XX002"),
    ),
    _Kind(
        "denies us a right",
        "have its owner grant it",
        Retry.NEVER,
        states=("42501",),
    ),
    _Kind(
        "lacks a table, or a part of one",
        "have its owner create or upgrade the tables, or choose another database",
        Retry.NEVER,
        states=("42P01", "42703", "42883", "3F000"),
    ),
    _Kind(
        "cannot hold one of the texts",
        "use a database with encoding UTF8",
        Retry.NEVER,
        states=("22021", "22P05"),
    ),
    # While a connection was made
    _Kind(
        "does not exist",
        "create the database, or name another one",
        Retry.NEVER,
        states=("3D000",),
        texts=('database ".*" does not exist', "no such database"),
    ),
    _Kind(
        "does not accept our password",
        "give the right user and password",
        Retry.NEVER,
        states=("28P01",),
        texts=(
            "password authentication failed",
            "no such user",
            "sasl authentication failed",
        ),
    ),
    _Kind(
        "wants a password",
        "give it in PGPASSWORD, or in a password file that nobody else may read (~/.pgpass, chmod 600)",
        Retry.NEVER,
        texts=("no password supplied", "password is empty"),
    ),
    _Kind(
        "has an address that cannot be used",
        "correct it",
        Retry.NEVER,
        texts=(r"invalid (port number|integer value|\w+ value)\b.*: *\"",),
    ),
    _Kind(
        "does not let us in",
        "have its owner admit this user from this machine",
        Retry.NEVER,
        states=("28",),
        texts=(
            "no pg_hba.conf entry",
            "pg_hba.conf rejects",
            'role ".*" does not exist',
            "is not permitted to log in",
            "authentication failed",
            "is not currently accepting connections",
        ),
    ),
    _Kind(
        "shows a certificate of another name",
        "name the host as its certificate does",
        Retry.NEVER,
        texts=("does not match host name", "hostname mismatch", "ip address mismatch"),
    ),
    _Kind(
        "shows a certificate that is not trusted here",
        "name the certificate of its authority as sslrootcert",
        Retry.NEVER,
        texts=("certificate verify failed", "root certificate file", "self-signed certificate"),
    ),
    _Kind(
        "offers no TLS",
        "turn it on there, or choose another sslmode for a network that you trust",
        Retry.NEVER,
        texts=("server does not support ssl",),
    ),
    _Kind(
        "is behind a pooler that takes no options",
        "leave them out of the address, and out of PGOPTIONS",
        Retry.NEVER,
        texts=("unsupported startup parameter",),
    ),
    _Kind(
        "is no PostgreSQL server",
        "correct host and port",
        Retry.NEVER,
        texts=("invalid response to (ssl|gss) negotiation", "expected authentication request from server"),
    ),
    _Kind(
        "has a host whose name is not known",
        "correct its name, or mend the name service",
        Retry.IN_USE,
        texts=("failed to resolve host", "could not translate host name"),
    ),
    _Kind(
        "gives no answer",
        "start the database, or correct host and port",
        Retry.IN_USE,
        texts=("timeout expired", "connection timed out", "no answer"),
    ),
    _Kind(
        "cannot be reached",
        "start the database, or correct host and port",
        Retry.IN_USE,
        texts=(
            "connection refused",
            "no such file or directory",
            "network is unreachable",
            "no route to host",
            "host is down",
        ),
    ),
    _Kind(
        "is not reached by its pooler",
        "start the database, or correct the pooler's settings",
        Retry.IN_USE,
        texts=(
            "query_wait_timeout",
            "server_login_retry",
            "server login",
            "cannot connect to server",
            "server conn crash",
        ),
    ),
    _Kind(
        "is not ready",
        "wait until it has started",
        Retry.IN_USE,
        states=("57P",),
        texts=("is starting up", "is shutting down", "in recovery mode", "not yet accepting connections"),
    ),
    _Kind(
        "broke off the connection",
        "look at its log",
        Retry.IN_USE,
        states=("08", "25P03", "25P04", "53200"),
        texts=(
            "closed the connection",
            "connection reset",
            "connection is closed",
            "connection is lost",
            "terminating connection",
            "consuming input failed",
            "eof detected",
        ),
    ),
)

_GENERAL: Final = _Kind("cannot be used", "mend that", Retry.NEVER)
_NO_STATE: Final = _Kind("cannot be reached", "look at the database and its log", Retry.IN_USE)
"""What has no SQLSTATE and no text that we know was said of a connection."""

_PREAMBLES: Final = re.compile(
    r"^.*\bfailed: (?=\S)|^(connection (failed|error)|consuming input failed): ", re.IGNORECASE
)
_LEVELS: Final = re.compile(r"^(fatal|error|panic): +", re.IGNORECASE)


def trouble(sqlstate: str | None, kind: str, text: str) -> Trouble:
    """Return what an error means.

    Args:
        sqlstate: the server's code, None where there is none.
        kind: the name of the driver's class.
        text: the driver's own words.
    """
    found = _kind(sqlstate, kind, text)
    return Trouble(found.what, _reason(text), found.remedy, found.retry)


def _kind(sqlstate: str | None, kind: str, text: str) -> _Kind:
    if sqlstate:
        matching = [(state, each) for each in _KINDS for state in each.states if sqlstate.startswith(state)]
        # PgBouncer tells all of its own by the code for breaches of the protocol.
        if matching and sqlstate != "08P01":
            return max(matching, key=lambda pair: len(pair[0]))[1]
    words = text.lower()
    for each in _KINDS:
        if any(re.search(pattern, words) for pattern in each.texts):
            return each
    if sqlstate and sqlstate.startswith("08"):
        return _NO_STATE
    return _NO_STATE if not sqlstate and kind in {"OperationalError", "InterfaceError", "InternalError"} else _GENERAL


def _reason(text: str) -> str:
    """Return the first line of a driver's text without what it always begins with."""
    line = one_line(text.strip().partition("\n")[0])
    line = _LEVELS.sub("", _PREAMBLES.sub("", line)).strip().rstrip(".:")
    return truncate(line[:1].lower() + line[1:] if line[1:2].islower() else line, _LONGEST)
