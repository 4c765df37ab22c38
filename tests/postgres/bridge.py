"""A line between a client and its server that a test cuts, holds up and slows down."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .server import bound

T = TypeVar("T")

PIECE: Final = 65536

_RESET: Final = struct.pack("ii", 1, 0)
"""As `SO_LINGER`: who closes such a socket resets the connection."""


class Bridge:
    """Listens at a port of 127.0.0.1 and leads to a server's socket; each line is carried both ways by a thread.

    Attributes:
        port: where clients connect, as long as the bridge stands.
        leads_to: the server's socket, or its host and port; what is set later holds for new connections.
        broken: how many connections have ended in another way than by the client's closing.
    """

    def __init__(self, leads_to: Path | tuple[str, int]) -> None:
        self.leads_to = leads_to
        self.broken = 0
        self._lines: set[_Line] = set()
        self._listener: asyncio.Server | None = None
        self._trap: _Trap | None = None
        self._delay = 0.0
        # It is bound but does not listen: while the line is cut the port is refused, and nobody else gets it.
        self._kept = bound()
        self.port: int = self._kept.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._passing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"bridge {self.port}", daemon=True)
        self._thread.start()
        self._do(self._listen())

    def url(self, url: str) -> str:
        """Return the address of the same database by way of this bridge."""
        parts = urlsplit(url)
        who, at, _ = parts.netloc.rpartition("@")
        query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name not in ("host", "port")])
        return urlunsplit(parts._replace(netloc=f"{who}{at}127.0.0.1:{self.port}", query=query))

    @property
    def lines(self) -> int:
        """How many connections it carries."""
        return len(self._lines)

    def cut(self) -> None:
        """Reset all connections, and refuse new ones until it is healed."""
        self._do(self._cut())

    def reset(self) -> None:
        """Reset all connections; new ones are carried."""
        self._do(self._reset())

    def black_hole(self) -> None:
        """Let nothing pass in either direction and say so to nobody: neither bytes, nor that one end has closed."""
        self._loop.call_soon_threadsafe(self._passing.clear)
        self._do(asyncio.sleep(0))

    def heal(self, *, lost: bool = False) -> None:
        """Carry again. What was sent into the black hole arrives now, as TCP sends it again, or is lost and reset."""
        self._do(self._heal(lost=lost))

    def delay(self, seconds: float) -> None:
        """Let every piece, in either direction, arrive that much later."""
        self._delay = seconds

    def cut_at(self, text: bytes, *, answered: bool) -> None:
        """Reset the next connection that sends this text: with the request lost, or carried out and its answer lost."""
        self._trap = _Trap(text, answered)

    def close(self) -> None:
        """End all connections and free the port."""
        if self._thread.is_alive():
            self._do(self._cut())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._kept.close()

    def __enter__(self) -> Self:
        """Return it; the port is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    # On its own thread

    def _do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._carry, sock=bound(self.port))

    async def _reset(self) -> None:
        lines = [line.end() for line in list(self._lines)]
        await asyncio.gather(*lines)

    async def _cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._reset()

    async def _heal(self, *, lost: bool) -> None:
        if lost:
            await self._reset()
        self._passing.set()
        await self._listen()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(writer)
        self._lines.add(line)
        try:
            # Whoever ends the line has cancelled it, which is nothing that asyncio should report.
            with contextlib.suppress(asyncio.CancelledError):
                await self._passing.wait()
                await self._join(line, reader, writer)
        except* OSError:
            self.broken += 1
        finally:
            self._lines.discard(line)
            line.reset()

    async def _join(self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self.leads_to, Path):
            answers, requests = await asyncio.open_unix_connection(self.leads_to)
        else:
            answers, requests = await asyncio.open_connection(*self.leads_to)
        line.writers.append(requests)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._forward(line, reader, requests))
            both.create_task(self._back(line, answers, writer))

    async def _forward(self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await self._next(reader):
            if self._trap is not None and self._trap.text in piece:
                line.deaf, answered, self._trap = True, self._trap.answered, None
                if not answered:
                    raise ConnectionResetError
            writer.write(piece)
            await writer.drain()
        writer.write_eof()

    async def _back(self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await self._next(reader):
            if line.deaf:
                raise ConnectionResetError
            writer.write(piece)
            await writer.drain()
        writer.write_eof()

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        piece = await reader.read(PIECE)
        if self._delay:
            await asyncio.sleep(self._delay)
        await self._passing.wait()
        return piece


class _Line:
    """A client's connection and the server's behind it.

    Attributes:
        writers: the client's side, then the server's.
        deaf: the next answer resets it.
    """

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers = [client]
        self.deaf = False
        self._task = asyncio.current_task()

    def reset(self) -> None:
        for writer in self.writers:
            one = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def end(self) -> None:
        self.reset()
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])


class _Trap:
    def __init__(self, text: bytes, answered: bool) -> None:  # noqa: FBT001 - private
        self.text = text
        self.answered = answered
