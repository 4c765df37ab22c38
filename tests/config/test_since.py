"""A moment of the past is understood as people name it, by the clock on their wall."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ecsbatch.config.since import parse_since, parse_until

NOW = 1_772_360_000.0
"""2026-03-01 10:13:20 in UTC, 11:13:20 in Paris."""


@pytest.fixture(autouse=True)
def in_paris(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("2h", 7200),
        ("0.5s", 0.5),
        ("0", 0),
        ("10:00", 4400),
        (" 9:05 ", 7700),
        ("11:13:20", 0),
        ("11:14", 86_360),
        ("10:00Z", 800),
        ("11:00+01:00", 800),
        ("2026-03-01", 40_400),
        ("20260228", 126_800),
        ("2026-03-01T11:00", 800),
        ("2026-03-01 11:00:00", 800),
        ("2026-03-01T10:00:00Z", 800),
        ("2026-03-01T12:00:00+02:00", 800),
        ("9000000d", NOW),
        ("9" * 400 + "d", NOW),
    ],
)
def test_a_moment_is_understood(text: str, ago: float) -> None:
    assert parse_since(text, NOW) == NOW - ago


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2", "25:00", "10:60", "1000", "2026-02-30", "0001-01-01", "10:00 PM", "2026-03-01T", "-2h"],
)
def test_what_is_no_moment_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="how long ago such as"):
        parse_since(text, NOW)


@pytest.mark.parametrize("text", ["2026-03-02", "2026-03-01 11:14", "2999-01-01T00:00:00Z"])
def test_the_future_is_no_past(text: str) -> None:
    with pytest.raises(ValueError, match="it lies in the future"):
        parse_since(text, NOW)


@pytest.mark.parametrize(
    ("text", "ahead"),
    [
        ("11:13:21", 1),
        ("11:13:20", 86_400),
        ("10:00", 82_000),
        (" 23:30 ", 44_200),
        ("11:00Z", 2_800),
        ("2026-03-02", 46_000),
        ("2026-03-01 12:00", 2_800),
        ("2026-03-01T11:00:00Z", 2_800),
    ],
)
def test_a_moment_to_come_is_understood(text: str, ahead: float) -> None:
    assert parse_until(text, NOW) == NOW + ahead


@pytest.mark.parametrize("text", ["", "tomorrow", "2h", "25:00", "2026-02-30", "-2h", "9" * 400])
def test_what_is_no_moment_to_come_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="how long from now such as"):
        parse_until(text, NOW)


@pytest.mark.parametrize("text", ["2026-03-01", "2026-03-01 11:13:20", "1999-01-01T00:00:00Z"])
def test_the_past_is_no_future(text: str) -> None:
    with pytest.raises(ValueError, match="it lies in the past"):
        parse_until(text, NOW)
