"""Addresses at which something listens, as people write them."""

from __future__ import annotations

import pytest

from ecsbatch.config.addresses import is_loopback, parse_listen_address


@pytest.mark.parametrize(
    ("typed", "expected", "loopback"),
    [
        ("8080", ("127.0.0.1", 8080), True),
        ("0.0.0.0:80", ("0.0.0.0", 80), False),  # noqa: S104 - where a supervisor elsewhere asks
        ("[::1]:8080", ("::1", 8080), True),
        ("[0:0:0:0:0:0:0:1]:8080", ("::1", 8080), True),
        ("localhost:8080", ("localhost", 8080), True),
        ("127.8.9.1:1", ("127.8.9.1", 1), True),
        ("[::]:8080", ("::", 8080), False),
    ],
)
def test_an_address_is_read(typed: str, expected: tuple[str, int], *, loopback: bool) -> None:
    assert parse_listen_address(typed) == expected
    assert is_loopback(expected[0]) is loopback


@pytest.mark.parametrize("typed", ["", "web:80", "1.2.3.4", "1.2.3.4:0", "1.2.3.4:65536", "::1:8080", "[::1]", ":x"])
def test_an_address_that_is_none_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="an IP address and a port"):
        parse_listen_address(typed)
