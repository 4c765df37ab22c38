"""What errors of a PostgreSQL server mean: the driver's own words, as they were seen, and what people are told."""

from __future__ import annotations

import pytest

from ecsbatch.store.postgres_errors import Retry, trouble

AT = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '

SEEN = [
    # While a connection is made there is no SQLSTATE.
    (None, f"{AT}Connection refused\n\tIs the server running on that host?", "cannot be reached", Retry.IN_USE),
    (
        None,
        'connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory\n\tIs',
        "cannot be reached",
        Retry.IN_USE,
    ),
    (None, "connection timeout expired", "gives no answer", Retry.IN_USE),
    (None, "no answer for 10 s", "gives no answer", Retry.IN_USE),
    (
        None,
        "failed to resolve host 'db.invalid': [Errno -2] Name or service not known",
        "has a host whose name is not known",
        Retry.IN_USE,
    ),
    (
        None,
        f'{AT}FATAL:  password authentication failed for user "ops"',
        "does not accept our password",
        Retry.NEVER,
    ),
    (None, f"{AT}fe_sendauth: no password supplied", "wants a password", Retry.NEVER),
    (None, 'connection is bad: invalid port number: "99999"', "has an address that cannot be used", Retry.NEVER),
    (None, 'connection is bad: invalid sslmode value: "maybe"', "has an address that cannot be used", Retry.NEVER),
    (None, f'{AT}FATAL:  database "fleet" does not exist', "does not exist", Retry.NEVER),
    (None, f'{AT}FATAL:  role "ops" does not exist', "does not let us in", Retry.NEVER),
    (
        None,
        f'{AT}FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "ops", database "fleet", no encryption',
        "does not let us in",
        Retry.NEVER,
    ),
    (
        None,
        f'{AT}server certificate for "db.internal" does not match host name "10.0.0.1"',
        "shows a certificate of another name",
        Retry.NEVER,
    ),
    (
        None,
        f"{AT}SSL error: certificate verify failed",
        "shows a certificate that is not trusted here",
        Retry.NEVER,
    ),
    (
        None,
        f'{AT}root certificate file "/home/a/.postgresql/root.crt" does not exist\nEither provide the file, or change',
        "shows a certificate that is not trusted here",
        Retry.NEVER,
    ),
    (None, f"{AT}server does not support SSL, but SSL was required", "offers no TLS", Retry.NEVER),
    (None, f"{AT}received invalid response to SSL negotiation: H", "is no PostgreSQL server", Retry.NEVER),
    (None, f"{AT}FATAL:  the database system is starting up", "is not ready", Retry.IN_USE),
    (None, f"{AT}FATAL:  the database system is not yet accepting connections", "is not ready", Retry.IN_USE),
    (None, f"{AT}FATAL:  sorry, too many clients already", "has no connection to spare", Retry.IN_USE),
    (
        None,
        f"{AT}FATAL:  unsupported startup parameter in options: search_path",
        "is behind a pooler that takes no options",
        Retry.NEVER,
    ),
    ("08P01", "server login has been failing, try again later", "is not reached by its pooler", Retry.IN_USE),
    ("08P01", "query_wait_timeout", "is not reached by its pooler", Retry.IN_USE),
    (None, f"{AT}FATAL:  no such user: ops", "does not accept our password", Retry.NEVER),
    (None, f"{AT}FATAL:  etwas anderes ging schief", "cannot be reached", Retry.IN_USE),
    # While one is used
    (
        None,
        "consuming input failed: server closed the connection unexpectedly\n\tThis probably means the server",
        "broke off the connection",
        Retry.IN_USE,
    ),
    (None, "the connection is lost", "broke off the connection", Retry.IN_USE),
    (None, "consuming input failed: could not receive data: Connection timed out", "gives no answer", Retry.IN_USE),
    ("57P01", "terminating connection due to administrator command", "is not ready", Retry.IN_USE),
    ("57P03", "das Datenbanksystem startet", "is not ready", Retry.IN_USE),
    (
        "25P03",
        "terminating connection due to idle-in-transaction timeout",
        "broke off the connection",
        Retry.IN_USE,
    ),
    ("40P01", "deadlock detected", "was kept busy by other transactions", Retry.ALWAYS),
    (
        "40001",
        "could not serialize access due to concurrent update",
        "was kept busy by other transactions",
        Retry.ALWAYS,
    ),
    (
        "55P03",
        "canceling statement due to lock timeout",
        "was kept by another process, which has not ended its transaction",
        Retry.ALWAYS,
    ),
    ("57014", "canceling statement due to statement timeout", "was too slow", Retry.IN_USE),
    ("25006", "cannot execute INSERT in a read-only transaction", "takes no writes", Retry.IN_USE),
    ("42501", "permission denied for table runs", "denies us a right", Retry.NEVER),
    ("42P01", 'relation "runs" does not exist', "lacks a table, or a part of one", Retry.NEVER),
    ("53100", 'could not extend file "base/1": No space left on device', "has no space left on its disk", Retry.NEVER),
    ("XX001", "invalid page in block 3 of relation base/1", "is damaged, or its disk is", Retry.NEVER),
    ("22021", 'invalid byte sequence for encoding "UTF8"', "cannot hold one of the texts", Retry.NEVER),
    ("42601", 'syntax error at or near "SELEC"\nLINE 1: SELEC 1', "cannot be used", Retry.NEVER),
]


@pytest.mark.parametrize(("sqlstate", "text", "what", "retry"), SEEN)
def test_an_error_is_told_in_one_line_and_tried_again_where_that_helps(
    sqlstate: str | None, text: str, what: str, retry: Retry
) -> None:
    found = trouble(sqlstate, "OperationalError", text)

    assert (found.what, found.retry) == (what, retry)
    told = found.sentence("postgresql://host/fleet")
    assert told.startswith(f"The store postgresql://host/fleet {what} (")
    assert "\n" not in told
    assert told.endswith(".")
    assert "failed: " not in told


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{AT}Connection refused\n\tIs the server", "connection refused"),
        (f'{AT}FATAL:  password authentication failed for user "ops"', 'password authentication failed for user "ops"'),
        (f"{AT}SSL error: certificate verify failed", "SSL error: certificate verify failed"),
        ("x" * 500, "x" * 159 + "…"),
        ("a \x1b[31mred\x1b[0m word", "a red word"),
    ],
)
def test_the_reason_is_the_drivers_own_without_what_it_always_says(text: str, why: str) -> None:
    found = trouble(None, "OperationalError", text)

    assert found.why == why
    assert found.waits_for == f"the database ({why})"


def test_who_has_waited_is_told_for_how_long() -> None:
    found = trouble(None, "OperationalError", f"{AT}Connection refused")

    assert found.sentence("s", 300.04) == (
        "The store s cannot be reached (connection refused), for 300.0 s: "
        "start the database, or correct host and port, then resume."
    )


def test_what_is_no_error_of_a_connection_is_not_tried_again() -> None:
    assert trouble(None, "ProgrammingError", "the query has 2 placeholders").retry is Retry.NEVER
    assert trouble(None, "DataError", "PostgreSQL text fields cannot contain NUL (0x00) bytes").retry is Retry.NEVER
