"""Server-sent events: each viewer has a short queue of its own, and nobody waits for one who reads slowly.

Who reads too slowly loses what waits for him and gets all anew, once he reads again. Who does not read at all is gone
after some seconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import web

MOST_VIEWERS: Final = 64
"""Streams of a process, of all its runs together."""

MOST_FRAMES: Final = 16
"""Messages that wait for one viewer."""

MOST_BYTES: Final = 1 << 20
"""Bytes of them together."""

HEARTBEAT: Final = 5.0
"""Seconds after which something is sent where nothing happens: whoever is gone is noticed, and no proxy hangs up.

A page that hears nothing for 12 s (``SILENCE`` in page.js) says that it is not connected.
"""

STALLED: Final = 30.0
"""Seconds that a viewer has to take a message."""

_RETRY: Final = b"retry: 2000\n\n"
_BEAT: Final = b"event: beat\ndata: {}\n\n"
"""A page cannot see a comment, and would not know whether anybody is there still."""


def event_frame(event: str, data: bytes, number: int | None = None) -> bytes:
    """Return a message of an event stream; ``data`` has no line's end in it."""
    numbered = b"" if number is None else b"id: %d\n" % number
    return b"%bevent: %b\ndata: %b\n\n" % (numbered, event.encode(), data)


class Viewer:
    """One stream.

    Attributes:
        after: the number of the last event that the viewer has seen before, 0 for none.
        current: he has been told all, so that what changes is enough.
    """

    def __init__(self, after: int = 0) -> None:
        """Begin with nothing told."""
        self.after = after
        self.current = False
        self._frames = deque[bytes]()
        self._size = 0
        self._reads = False
        self._closed = False
        self._news = asyncio.Event()
        self._emptied = asyncio.Event()

    @property
    def wants_all(self) -> bool:
        """True where everything is to be told, and it would be read now."""
        return self._reads and not self.current and not self._frames and not self._closed

    def begin(self, frame: bytes) -> None:
        """Tell everything, however much it is."""
        self.current = True
        self._append(frame)

    def put(self, frame: bytes) -> None:
        """Tell what has changed to one who is current, unless too much waits for him already."""
        if not self.current or self._closed:
            return
        if len(self._frames) >= MOST_FRAMES or self._size + len(frame) > MOST_BYTES:
            self._frames.clear()
            self._size = 0
            self.current = False
            return
        self._append(frame)

    def say(self, frame: bytes) -> None:
        """Tell something short that anybody is to hear, whatever else he knows."""
        if len(self._frames) < MOST_FRAMES and not self._closed:
            self._append(frame)

    def close(self, last: bytes = b"") -> None:
        """End the stream behind what waits, and ``last``."""
        if last:
            self.say(last)
        self._closed = True
        self._news.set()

    async def next(self, patience: float = HEARTBEAT) -> bytes | None:
        """Return the next message, b"" where nothing came for so many seconds, None at the end."""
        self._reads = True
        try:
            if not self._frames and not self._closed:
                self._news.clear()
                async with asyncio.timeout(patience):
                    await self._news.wait()
        except TimeoutError:
            return b""
        finally:
            self._reads = False
        if not self._frames:
            self._emptied.set()
            return None if self._closed else b""
        frame = self._frames.popleft()
        self._size -= len(frame)
        return frame

    async def read_to_its_end(self) -> None:
        """Wait until all has been read of a stream that is closed."""
        await self._emptied.wait()

    def leave(self) -> None:
        """Nobody reads it any more."""
        self._closed = True
        self._emptied.set()

    def _append(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._size += len(frame)
        self._news.set()


class Seats:
    """How many streams there are in a process, and how many there may be."""

    def __init__(self, most: int = MOST_VIEWERS) -> None:
        """Have none taken."""
        self.taken = 0
        self._most = most

    def take(self) -> bool:
        """Take one; False where all are taken."""
        if self.taken >= self._most:
            return False
        self.taken += 1
        return True

    def free(self) -> None:
        """Give one back."""
        self.taken -= 1


class Audience:
    """All who watch one thing."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._viewers: set[Viewer] = set()
        self._somebody = asyncio.Event()
        self._notice = b""

    def __len__(self) -> int:
        return len(self._viewers)

    def __iter__(self) -> Iterator[Viewer]:
        return iter(tuple(self._viewers))

    def join(self, viewer: Viewer) -> None:
        """Begin to tell somebody."""
        self._viewers.add(viewer)
        self._somebody.set()
        if self._notice:
            viewer.say(self._notice)

    def leave(self, viewer: Viewer) -> None:
        """Tell somebody no more."""
        viewer.leave()
        self._viewers.discard(viewer)
        if not self._viewers:
            self._somebody.clear()

    async def some(self) -> None:
        """Wait until there is somebody."""
        await self._somebody.wait()

    @property
    def are_current(self) -> bool:
        """True where somebody needs what changes."""
        return any(viewer.current for viewer in self._viewers)

    def put(self, frame: bytes) -> None:
        """Tell all who are current."""
        for viewer in self:
            viewer.put(frame)

    def notice(self, frame: bytes, *, stays: bool) -> None:
        """Tell all; ``stays``: those who come later, too."""
        self._notice = frame if stays else b""
        for viewer in self:
            viewer.say(frame)

    def wanting(self) -> dict[int, list[Viewer]]:
        """Return who is to be told everything, by the last event that they have seen."""
        found: dict[int, list[Viewer]] = {}
        for viewer in self:
            if viewer.wants_all:
                found.setdefault(viewer.after, []).append(viewer)
        return found

    def close(self, last: bytes = b"") -> None:
        """End all streams."""
        for viewer in self:
            viewer.close(last)


async def read_by_all(viewers: Iterable[Viewer], patience: float) -> None:
    """Wait until streams that were closed have been read, for so many seconds at most."""
    ends = [asyncio.ensure_future(viewer.read_to_its_end()) for viewer in viewers]
    if ends:
        _, late = await asyncio.wait(ends, timeout=patience)
        for end in late:
            end.cancel()


async def send_events(request: web.BaseRequest, response: web.StreamResponse, viewer: Viewer) -> None:
    """Send a viewer's messages until they end, or nobody takes them any more."""
    try:
        await _write(response, _RETRY)
        while (frame := await viewer.next()) is not None:
            await _write(response, frame or _BEAT)
        await _write(response, b"")
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        return


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(STALLED):
        await response.write(data)
