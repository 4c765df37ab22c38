"""Where a check may go: to a server's own address, and not to this machine or its neighbours by the cloud's word.

What the cloud calls a server's address may be anything, also what is not its: a check that connects to it from here
would reach what only this machine may reach, such as the metadata service with its keys.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress

from ecsbatch.model.servers import Server

AddressOf = Callable[[Server], str]
"""Returns the host or IP address at which a server can be reached, "" where that is not known."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotHealthy(Exception):
    """A server did not pass its check this time; the text says why."""


def own_address(server: Server) -> str:
    """Return a server's address as the cloud told it, whatever it is."""
    return server.address


def foreign_address(server: Server) -> str:
    """Return a server's address as the cloud told it, where that may be the address of another machine.

    Raises:
        NotHealthy: it may not, and is not asked.
    """
    if server.address and (why := why_not_asked(server.address)):
        raise NotHealthy(f"it is not asked: the cloud's address for it is {why}")
    return server.address


def why_not_asked(address: str) -> str:
    """Return why an address is not the one of a server in a cloud; "" where it may be."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "no IP address"
    if getattr(found, "scope_id", None):
        return f"{address.partition('%')[0]} with a zone of this machine"
    return _why_not(found)


def _why_not(address: IpAddress) -> str:
    inner = _wrapped(address)
    if inner is not None:
        return why if (why := _why_not(inner)) else ""
    kinds = {
        "this machine's own (loopback)": address.is_loopback,
        "link-local": address.is_link_local,
        "none (unspecified)": address.is_unspecified,
        "of a group (multicast)": address.is_multicast,
        "reserved": address.is_reserved,
    }
    return next((f"{address}, which is {kind}" for kind, holds in kinds.items() if holds), "")


def _wrapped(address: IpAddress) -> IpAddress | None:
    """Return the IPv4 address that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in ipaddress.IPv6Network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def is_this_machine(host: str) -> bool:
    """Return True where a host is this machine by its name or address alone."""
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost"


def why_not_named(host: str) -> str:
    """Return why a host that a server's name or id has made up is not asked; "" where it may be."""
    if host == "localhost" or host.endswith(".localhost"):
        return "this machine"
    with suppress(OSError, ValueError):
        # As the system reads them: 2130706433 and 0x7f.1 are addresses too.
        return _why_not(ipaddress.IPv4Address(socket.inet_aton(host)))
    with suppress(ValueError):
        return why_not_asked(str(ipaddress.ip_address(host)))
    return ""
