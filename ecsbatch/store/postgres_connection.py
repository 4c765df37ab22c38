"""A connection to a PostgreSQL server on which nothing waits for ever.

A server may stand still, and a line may swallow what is sent, also behind a pooler that the kernel's own time-outs do
not see through. So each wait for bytes has an end here, and any other thread may end all of them at once. Nothing
rests on the state of a session: no prepared statements, no settings but those of a transaction.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any, Final, TypeVar

import psycopg
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict

from ecsbatch.errors import ConfigError, Invalid

T = TypeVar("T")

DEADLINE: Final = 10.0
"""Seconds without a byte after which a connection is given up."""

_CONNECT: Final = 3
"""How many deadlines may pass until there is a connection: there may be several hosts, and a slow name service."""

_LOOK: Final = 0.1
"""Seconds between two looks whether a wait is to end."""


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time, or somebody has ended the wait."""


Answers = list[list[tuple[Any, ...]]]
"""The rows of each statement that returns any."""


class PostgresConnection:
    """A connection that its owner opens, and opens again where it was lost; used by one thread at a time.

    What fails raises the driver's errors, and leaves it closed: what was begun on it is undone by the server, and what
    comes after it fails in the same way until it is opened again.

    Attributes:
        deadline: seconds without a byte after which it is given up.
    """

    def __init__(
        self, conninfo: str, *, deadline: float = DEADLINE, is_cut: Callable[[], bool] = lambda: False
    ) -> None:
        """Take the address.

        Args:
            conninfo: as libpq takes it, with or without a password.
            deadline: seconds without a byte after which it is given up.
            is_cut: returns True, on any thread, where all waits are to end at once.

        Raises:
            ConfigError: the address cannot be read.
        """
        self.deadline = deadline
        self._settings = _settings(conninfo, deadline)
        self._is_cut = is_cut
        self._driver: _Watched | None = None
        self._failure: psycopg.Error | None = None

    def open(self) -> bool:
        """Connect where there is no connection; return whether that was needed."""
        if self._driver is not None:
            return False
        driver = self._connected()
        driver.deadline, driver.is_cut = lambda: self.deadline, self._is_cut
        driver.adapters.register_loader("numeric", _NumberLoader)
        self._driver, self._failure = driver, None
        return True

    def ask(self, text: str) -> Answers:
        """Send statements as one message, and return their rows; the text must not hold what others have written."""
        cursor = self._run(lambda driver: driver.execute(text.encode()))
        answers: Answers = []
        while True:
            if cursor.description is not None:
                answers.append(cursor.fetchall())
            if not cursor.nextset():
                return answers

    def execute(self, text: str, values: Mapping[str, Any] | None = None) -> psycopg.Cursor[Any]:
        """Run a statement with values, ``%(like_this)s``.

        Raises:
            Invalid: one of them is no text that can be sent; nothing is lost by that.
        """
        _refuse_unsendable(values or {})
        return self._run(lambda driver: driver.execute(text.encode(), values or None))

    def execute_many(self, text: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """Run a statement for each row; return how many rows it changed in all.

        Raises:
            Invalid: one of them has a text that cannot be sent; nothing is lost by that.
        """
        rows = list(rows)
        for row in rows:
            _refuse_unsendable(row)

        def run(driver: _Watched) -> int:
            cursor = driver.cursor()
            cursor.executemany(text.encode(), rows)
            return max(cursor.rowcount, 0)

        return self._run(run)

    def close(self) -> None:
        """Close it; a transaction in progress is undone."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    def _run(self, do: Callable[[_Watched], T]) -> T:
        if self._driver is None:
            # It is never opened here: half a transaction would be done without the other half.
            raise self._failure or NoAnswer("the connection is lost")
        try:
            return do(self._driver)
        except psycopg.Error as e:
            self._failure = e
            self.close()
            raise
        except BaseException:
            self.close()
            raise

    def _connected(self) -> _Watched:
        """Connect on a thread of its own: a name service cannot be hurried, but need not be waited for."""
        future: Future[_Watched] = Future()
        threading.Thread(target=_connect, args=(self._settings, future), name="ecsbatch-connect", daemon=True).start()
        until = time.monotonic() + _CONNECT * self.deadline
        while not future.done():
            wait_for([future], _LOOK)
            if not future.done() and (self._is_cut() or time.monotonic() >= until):
                future.add_done_callback(_close)
                raise NoAnswer("no answer from the name service or the host")
        return future.result()


def _refuse_unsendable(values: Mapping[str, Any]) -> None:
    """Refuse a text that the driver would refuse in mid-transaction, with all that others have written in it.

    Half of a surrogate pair has no bytes, and PostgreSQL holds no zero byte.
    """
    for name, value in values.items():
        if isinstance(value, str) and not _is_sendable(value):
            raise Invalid(
                f"A text cannot be stored ({name} = {value!r}): give one without half characters and zero bytes.",
                field=name,
                expected="a text without half characters and zero bytes",
            )


def _is_sendable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


class _Watched(psycopg.Connection[tuple[Any, ...]]):
    """The driver's connection, whose waits have an end.

    Attributes:
        deadline: returns the seconds without a byte after which a wait ends.
        is_cut: returns True where all waits are to end at once.
    """

    deadline: Callable[[], float] = staticmethod(lambda: DEADLINE)
    is_cut: Callable[[], bool] = staticmethod(lambda: False)

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait as the driver does, which looks up some times a second."""
        return super().wait(self._bounded(gen), *args, **options)

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        deadline = self.deadline()
        until = time.monotonic() + deadline
        ready: Any = None
        while True:
            try:
                wanted = gen.send(ready)
            except StopIteration as end:
                return end.value
            ready = yield wanted
            if ready:
                until = time.monotonic() + deadline
            elif self.is_cut() or time.monotonic() >= until:
                raise NoAnswer(f"no answer for {deadline:.0f} s")


class _NumberLoader(Loader):
    """Reads a number of any size, as a sum of whole numbers is one, as SQLite would give it."""

    def load(self, data: Any) -> int | float:
        """Return a whole number as such."""
        text = bytes(data)
        return int(text) if text.lstrip(b"-").isdigit() else float(text)


def _connect(settings: dict[str, Any], future: Future[_Watched]) -> None:
    try:
        future.set_result(_Watched.connect(autocommit=True, prepare_threshold=None, **settings))
    except UnicodeError as e:
        future.set_exception(psycopg.OperationalError(f"failed to resolve host: {e}"))
    except BaseException as e:  # noqa: BLE001 - it is told to whom it waits for
        future.set_exception(e)


def _settings(conninfo: str, deadline: float) -> dict[str, Any]:
    """Return an address as settings, with ours where it has none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        given = conninfo_to_dict(conninfo)
    except psycopg.Error:
        # The driver's own words repeat it, with the password.
        raise ConfigError(
            "The store's address is none that PostgreSQL understands: give postgresql://user@host:port/database."
        ) from None
    ours: dict[str, Any] = {
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": int(deadline * 1000),
        "client_encoding": "UTF8",
        "fallback_application_name": "ecsbatch",
    }
    if not os.environ.get("PGCONNECT_TIMEOUT"):
        ours["connect_timeout"] = max(2, min(5, int(deadline)))
    return {**ours, **given}


def _close(future: Future[_Watched]) -> None:
    if future.exception() is None:
        future.result().close()
