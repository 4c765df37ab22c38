"""URLs of stores: of which kind one is, whether a password stands in it, and how it is shown without. Pure.

What libpq makes of a PostgreSQL URL says `ecsbatch.store.address`; here one is only looked at, so that a password in it
is found and hidden where no driver is installed, and in what no driver would understand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote

from ecsbatch.model.text import without_password

StoreKind: TypeAlias = Literal["sqlite", "memory", "postgres"]

FORMS: Final = "sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host/database"
"""What a store can be opened by, for an error's text."""

UNSEEN_WAYS: Final = (
    "keep it in a password file (~/.pgpass or what PGPASSFILE names, chmod 600) or in PGPASSWORD, "
    "or the whole URL in ECSBATCH_STORE"
)
"""Where a password is not seen by others, worded to follow a colon."""

_SECRET: Final = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})
"""Parameters of libpq that are secrets."""

_SHOWN: Final = frozenset(
    {"host", "hostaddr", "port", "dbname", "user", "service", "application_name", "connect_timeout"}
    | {"target_session_attrs", "load_balance_hosts", "sslmode", "sslrootcert", "sslcert", "sslkey", "passfile"}
)
"""Parameters of libpq that can be shown."""

_SCHEME: Final = re.compile(r"postgres(ql)?(\+\w+)?:(//)?", re.IGNORECASE)
_WORDS: Final = re.compile(rf"(?:^|\s)({'|'.join(sorted(_SECRET))})\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE)
_PLACES: Final = re.compile(r"(?:(?:\[[0-9A-Za-z:.%_-]+\]|[^\s,:/@\[\]=]*)(?::[0-9]*)?(?:,|(?=/|$)))*(?:/[^\s/@:]*)?")
"""Hosts with their ports, and the database."""


def kind_of(url: str) -> StoreKind | None:
    """Return of which kind the store of a URL is, None for none that is known."""
    if url == "memory:":
        return "memory"
    if url.startswith(("postgresql://", "postgres://")):
        return "postgres"
    return "sqlite" if url.startswith("sqlite:///") else None


def has_password(url: str) -> bool:
    """Return True where a password stands in a store's URL, or may: what is malformed counts as if it did."""
    return bool(secrets_in(url))


def secrets_in(url: str) -> list[str]:
    """Return what is secret in a store's URL or in libpq's ``key=value`` form, as it stands there and decoded."""
    found = list(_secrets(url))
    return list(dict.fromkeys([*found, *map(unquote, found)]))


def _secrets(url: str) -> Iterator[str]:
    scheme = _SCHEME.match(url)
    if scheme is None:
        if "://" not in url:
            yield from (value.strip("'") for _, value in _WORDS.findall(url))
        return
    head, _, query = url[scheme.end() :].partition("?")
    if "@" not in head and "@" in query and not all("=" in item for item in query.split("&")):
        # A password with a question mark in it, which nobody can tell from a query.
        head, query = f"{head}?{query}", ""
    user, at, _ = head.rpartition("@")
    if not at and not (scheme[3] and _PLACES.fullmatch(head)):
        user = head
    if password := user.partition(":")[2]:
        yield password
    for key, value in map(_item, query.split("&")):
        if value and unquote(key).lower() in _SECRET:
            yield value


def _item(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def shown(url: str) -> str:
    """Return a store's URL as it may be shown: without a password, and without what may be one."""
    if kind_of(url) != "postgres" or not well_formed(url):
        return without_password(url)
    scheme, _, rest = url.partition("://")
    head, asks, query = rest.partition("?")
    user, at, places = head.rpartition("@")
    items = [item if unquote(_item(item)[0]) in _SHOWN and "@" not in item else "***" for item in query.split("&")]
    return f"{scheme}://{user.partition(':')[0]}{at}{places}{asks}{'&'.join(items) if asks else ''}"


def well_formed(url: str) -> bool:
    """Return True where a PostgreSQL URL can be parted in one way only: nothing in it had to be escaped and was not."""
    user, _, places = url.partition("://")[2].partition("?")[0].rpartition("@")
    return not {"@", "/"}.intersection(user) and _PLACES.fullmatch(places) is not None


def hidden(text: str, urls: Sequence[str]) -> str:
    """Return a text without the secrets of some stores' URLs."""
    for secret in sorted((each for url in urls for each in secrets_in(url)), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
