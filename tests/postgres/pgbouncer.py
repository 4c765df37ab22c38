"""PgBouncer in front of a server, in transaction mode: whatever rests on session state is lost between transactions."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from .databases import place
from .server import PATIENCE, SOCKET, Process, ground, own

_CONFIG = """
[databases]
* = {server}

[pgbouncer]
listen_port = 5432
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
server_login_retry = 0.1
"""


def program() -> str:
    """Return where PgBouncer is; skip the test where it is missing, but not in CI."""
    found = shutil.which("pgbouncer", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
    if found is None:
        missing("pgbouncer")
    return found


def missing(package: str) -> None:
    """End a test that cannot be run without one of Debian's packages."""
    words = f"needs Debian's package {package}: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(words)
    pytest.skip(words)


class PgBouncer:
    """A pooler with all that Debian's version has by default, but the mode.

    Attributes:
        folder: has its socket and its log.
    """

    def __init__(self, url: str, *, pool_size: int = 5, users: Iterable[str] = ()) -> None:
        binary = program()
        self.folder = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir=ground()))
        self.folder.chmod(0o755)
        own(self.folder)
        config = self.folder / "pgbouncer.ini"
        at, given = place(url), urlsplit(url)
        host, port = (at.parent, at.suffix[1:]) if isinstance(at, Path) else at
        # It believes its clients, and proves to the server who they are.
        passwords = dict.fromkeys(users, "") | {given.username or "postgres": unquote(given.password or "")}
        lines = [f'"{unquote(user)}" "{password}"\n' for user, password in passwords.items()]
        (self.folder / "users").write_text("".join(lines), encoding="utf-8")
        server = f"host={host} port={port}"
        config.write_text(_CONFIG.format(server=server, folder=self.folder, pool_size=pool_size), encoding="utf-8")
        log = self.folder / "log"
        self._process = Process([binary, str(config)], log)
        until = time.monotonic() + PATIENCE
        while not self._listens():
            assert self._process.runs(), log.read_text(encoding="utf-8")
            assert time.monotonic() < until, log.read_text(encoding="utf-8")
            time.sleep(0.005)

    @property
    def socket(self) -> Path:
        """Return where it listens."""
        return self.folder / SOCKET

    def _listens(self) -> bool:
        # The file is there before anybody listens.
        with socket.socket(socket.AF_UNIX) as one:
            return one.connect_ex(str(self.socket)) == 0

    def url(self, url: str) -> str:
        """Return the address of the same database by way of it."""
        parts = urlsplit(url)
        query = f"host={quote(str(self.folder), safe='')}"
        return f"postgresql://{parts.username or 'postgres'}@/{parts.path[1:]}?{query}"

    def remove(self) -> None:
        """End it, with all connections, and delete its folder."""
        self._process.end(signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)
