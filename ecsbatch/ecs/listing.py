"""A listing of servers, page by page (ListServersDetails): what it can filter by, and where it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, TypedDict, get_type_hints

from ecsbatch.ecs.auth.schemes import canonical_query
from ecsbatch.ecs.read_retry import Contradiction
from ecsbatch.ecs.wire import ListingPage
from ecsbatch.errors import ConfigError, UnknownAnswer

MAX_PAGE: Final = 1000
"""Rows of a listing's page (API reference, ListServersDetails)."""

MOST_ROWS: Final = 2_000_000
"""Rows after which a listing counts as endless whatever the cloud says how many there are."""


class Filters(TypedDict, total=False):
    """What ListServersDetails can filter by. ``tags`` is one ``key=value`` or ``key``; ``name`` may be a part of it."""

    name: str
    status: str
    tags: str
    not_tags: str
    flavor: str
    ip: str
    ip_eq: str
    reservation_id: str
    enterprise_project_id: str


_FILTERS: Final = frozenset(get_type_hints(Filters))


def listing_query(limit: int, filters: Filters) -> list[tuple[str, str]]:
    """Return the query of a listing, without its marker; an empty filter is left out.

    Raises:
        ConfigError: the API does not have a filter, or the page is too small or too large.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise ConfigError(f"A page has 1 to {MAX_PAGE} servers, not {limit}.")
    if unknown := sorted(set(filters) - _FILTERS):
        raise ConfigError(f"The API cannot filter servers by {', '.join(unknown)}.")
    chosen = [("not-tags" if name == "not_tags" else name, str(value)) for name, value in filters.items() if value]
    try:
        canonical_query(chosen)
    except UnicodeEncodeError as e:
        raise ConfigError("A filter holds characters that are no text: check the terminal's encoding.") from e
    return [("limit", str(limit)), *chosen]


async def pages_of(page: Callable[[str], Awaitable[ListingPage]], limit: int) -> AsyncGenerator[ListingPage]:
    """Yield a listing's pages; it either ends or raises.

    Args:
        page: gets the page behind the server with this id; "" for the first one.
        limit: rows per page.

    Raises:
        CloudError: a page cannot be had, or they go round in circles or have no end.
    """
    markers: set[str] = set()
    seen, most, marker = 0, 0, ""
    while True:
        shown = await page(marker)
        yield shown
        most = most or most_rows(shown, limit)
        seen += len(shown.servers)
        if seen > most:
            raise Contradiction(
                f"The listing has no end: it has shown {seen:,} servers, far more than it counts. Nothing is "
                "planned: check the endpoint and whatever stands before it.",
                answered=True,
            ).about("endpoint")
        # Where a cloud sends pages shorter than `limit`, its count still shows that there is more.
        if not shown.servers or (len(shown.servers) < limit and seen >= (shown.count or 0)):
            return
        marker = shown.servers[-1].id
        if marker in markers:
            raise UnknownAnswer("The listing goes round in circles: the cloud does not page by marker.", answered=True)
        markers.add(marker)


def most_rows(first: ListingPage, limit: int) -> int:
    """Return after how many rows a listing counts as endless: a fleet may grow while it is read, but not double."""
    # A count of just this page's rows may be the page's own and not the fleet's.
    return MOST_ROWS if first.count in {None, len(first.servers)} else min(2 * (first.count or 0) + limit, MOST_ROWS)
