"""A store's URL: of which kind, whether a password stands in it, and what is shown of it."""

from __future__ import annotations

import pytest

from ecsbatch.model.store_url import has_password, hidden, kind_of, secrets_in, shown, well_formed


@pytest.mark.parametrize(
    ("url", "kind", "told"),
    [
        ("memory:", "memory", "memory:"),
        ("sqlite:////home/me@work/a:b.db", "sqlite", "sqlite:////home/me@work/a:b.db"),
        ("postgresql://", "postgres", "postgresql://"),
        ("postgres://u@h/db", "postgres", "postgres://u@h/db"),
        ("postgresql://u:@h/db", "postgres", "postgresql://u@h/db"),
        (
            "postgresql://u@h1:5432,[::1]:5433/db?sslmode=require",
            "postgres",
            "postgresql://u@h1:5432,[::1]:5433/db?sslmode=require",
        ),
        ("postgresql:///db?host=/var/run/postgresql", "postgres", "postgresql:///db?host=/var/run/postgresql"),
        ("postgresql:///?service=fleet", "postgres", "postgresql:///?service=fleet"),
        ("postgresql://h:5432/db?application_name=me@work", "postgres", "postgresql://h:5432/db?***"),
        ("postgresql://h/db?unheard=of", "postgres", "postgresql://h/db?***"),
        ("host=h dbname=db", None, "host:***"),
        ("mysql://u@h/db", None, "mysql://***@h/db"),
    ],
)
def test_what_has_no_password_is_shown_but_for_what_nobody_knows(url: str, kind: str | None, told: str) -> None:
    assert (kind_of(url), has_password(url), shown(url)) == (kind, False, told)


WITH_PASSWORD = [
    ("postgresql://u:CANARY@h/db", "postgresql://u@h/db"),
    ("postgres://u:CANARY@h/db", "postgres://u@h/db"),
    ("postgresql://:CANARY@h/db", "postgresql://@h/db"),
    ("postgresql://u:CAN%41RY@h/db?sslmode=require", "postgresql://u@h/db?sslmode=require"),
    ("postgresql://u:CANARY@h1:1,h2:2/db", "postgresql://u@h1:1,h2:2/db"),
    ("postgresql://u@h/db?password=CANARY", "postgresql://u@h/db?***"),
    ("postgresql://u@h/db?port=5&p%61ssword=CANARY", "postgresql://u@h/db?port=5&***"),
    ("postgresql://u@h/db?sslpassword=CANARY", "postgresql://u@h/db?***"),
    ("postgresql+psycopg://u:CANARY@h/db", "postgresql+psycopg://***@h/db"),
    ("POSTGRESQL://u:CANARY@h/db", "POSTGRESQL://***@h/db"),
    # What has to be escaped and is not.
    ("postgresql://u:C@NARY@h/db", "postgresql://***@h/db"),
    ("postgresql://u:CA/CANARY@h/db", "postgresql://***@h/db"),
    ("postgresql://u:CA?CANARY#@h", "postgresql://***@h"),
    ("postgresql://u:CANARY", "postgresql://u:***"),
    ("postgresql://u:CANARY/db", "postgresql://u:***"),
    ("postgresql:u:CANARY", "postgresql:***"),
    # As libpq takes it, and we do not.
    ("host=h password=CANARY dbname=db", "host:***"),
    ("host=h password = 'CANARY'", "host:***"),
    ("password=CANARY", "password:***"),
]


@pytest.mark.parametrize(("url", "told"), WITH_PASSWORD)
def test_a_password_is_found_and_not_shown(url: str, told: str) -> None:
    assert has_password(url)
    assert shown(url) == told
    assert hidden(f"Traceback: {url!r}, {secrets_in(url)}", ["", url]).count("CANARY") == 0


def test_a_password_is_hidden_as_it_stands_and_as_it_is_sent() -> None:
    assert secrets_in("postgresql://u:p%40ss@h/db?password=x%20y") == ["p%40ss", "x%20y", "p@ss", "x y"]


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("postgresql://u:p@h:5432,h2/db?sslmode=require", True),
        ("postgresql://%2Fvar%2Frun/db", True),
        ("postgresql://u:p@ss@h/db", False),
        ("postgresql://u:p/ss@h/db", False),
        ("postgresql://h:port/db", False),
        ("postgresql://" + "a," * 200 + "a:", True),
    ],
)
def test_a_url_that_could_be_parted_in_two_ways_is_not_well_formed(url: str, *, plain: bool) -> None:
    assert well_formed(url) == plain
