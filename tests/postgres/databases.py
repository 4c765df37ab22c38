"""Where databases are made: each test has a new one, a copy of a template in milliseconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit, urlunsplit


def at(url: str, database: str) -> str:
    """Return the address of another database at the same server."""
    # `urlunsplit` drops the slashes where there is no host, as with a socket in the query.
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc="-", path=f"/{database}")).replace("//-", f"//{parts.netloc}", 1)


def place(url: str) -> Path | tuple[str, int]:
    """Return where a server listens: its socket, or its host and port."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    host, port = parts.hostname or query.get("host", "127.0.0.1"), parts.port or int(query.get("port", 5432))
    return Path(host) / f".s.PGSQL.{port}" if host.startswith("/") else (host, port)


class Databases:
    """A server on which databases may be made.

    Attributes:
        url: of its database ``postgres``, or another that is always there.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._made = 0
        self._templates: dict[object, str] = {}

    def create(self, template: str = "template0") -> str:
        """Make a database, empty or as another one is; return its address."""
        self._made += 1
        name = f"ecsbatch_test_{os.getpid()}_{self._made}"
        # By files it takes a third of the time that it takes by the log.
        self._do(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return at(self.url, name)

    def create_like(self, fill: Callable[[str], None]) -> str:
        """Make a database that is as another was left by a function, which is called once with the address of that."""
        if fill not in self._templates:
            url = self.create()
            self._templates[fill] = urlsplit(url).path[1:]
            fill(url)
        return self.create(self._templates[fill])

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        self._do(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    def drop_templates(self) -> None:
        """Drop what others were copies of."""
        while self._templates:
            self.drop(at(self.url, self._templates.popitem()[1]))

    def _do(self, statement: str) -> None:
        import psycopg  # noqa: PLC0415 - most tests need none of it

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())
