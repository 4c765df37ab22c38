"""Addresses of this machine at which something listens: ``127.0.0.1:8080``, ``[::1]:8080``, or a port alone."""

from __future__ import annotations

import ipaddress
from typing import Final

LISTEN: Final = "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080"

_LAST_PORT: Final = 65_535


def parse_listen_address(text: str) -> tuple[str, int]:
    """Return the IP address and the port; a port alone is one of this machine alone.

    Raises:
        ValueError: it is no such address.
    """
    host, _, digits = text.strip().rpartition(":")
    host = host or "127.0.0.1"
    bare = host.removeprefix("[").removesuffix("]")
    good = digits.isascii() and digits.isdigit() and 1 <= int(digits) <= _LAST_PORT
    try:
        # As browsers write it, who name what they ask by it.
        short = ipaddress.ip_address(bare).compressed
    except ValueError:
        short = bare
        good = good and bare == "localhost"
    if not good or (":" in bare and host == bare):
        raise ValueError(LISTEN)
    return short, int(digits)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a host that `parse_listen_address` has returned."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback
