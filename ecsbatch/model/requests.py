"""A request to the cloud, as metrics and traces may tell of it; and which batch it is sent for."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from ecsbatch.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request as it may be told of: nothing in it is secret, and nothing names a server.

    Attributes:
        method: ``GET``, ``POST`` or ``PUT``.
        route: its path without ids; ``other`` where it is not known.
        host, port: where it goes.
    """

    method: str
    route: str
    host: str
    port: int


SENDING: Final[ContextVar[tuple[str, int] | None]] = ContextVar("sending", default=None)
"""The run and the number of the batch that is just being sent; None for all other requests."""
