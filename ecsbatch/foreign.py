"""The one way in which code of other people is called: checks, gates, ways to sign, senders.

Such code may raise anything at any time, the errors by which a loop ends its tasks included, or never return. So it
runs in a task of its own: a CancelledError out of it is its own word and not a cancellation of the engine, and one
that swallows its cancellation is left behind. Whatever it does, its caller gets a good answer or `Broke`, which says
why not. A KeyboardInterrupt alone goes through: it is a person's word, not the code's.

What blocks the thread itself cannot be bounded; nothing in an event loop can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, Final, TypeVar, cast

from ecsbatch.model.text import one_line, truncate

T = TypeVar("T")

MOMENT: Final = 1.0
"""Seconds in which foreign code that is cancelled may let go of what it holds; then nobody waits for it any more."""

_LEFT_BEHIND: Final[set[asyncio.Task[Any]]] = set()
"""Tasks that did not end when they were cancelled: a loop keeps no task alive, and complains of one that was lost."""


class Broke(Exception):
    """Foreign code gave no answer that can be used; its text says why, without a full stop.

    Attributes:
        reason: the same, however long.
        error: what the code raised, if it did.
        late: it gave no answer in time.
    """

    def __init__(self, reason: str, error: BaseException | None = None, *, late: bool = False) -> None:
        super().__init__(truncate(reason))
        self.reason = reason
        self.error = error
        self.late = late


def called(call: Callable[[], object], read: Callable[[Any], T]) -> T:
    """Call what answers at once; ``read`` makes what is wanted of the answer, or raises `unlike`.

    Raises:
        Broke: no good answer.
    """
    try:
        answer = call()
        if asyncio.iscoroutine(answer):
            answer.close()
        return read(answer)
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # noqa: BLE001 - whatever foreign code raises is its own trouble
        raise Broke(reason_of(e), e) from None


async def asked(
    call: Callable[[], object], read: Callable[[Any], T], within: float, *, given_up: Callable[[], None] | None = None
) -> T:
    """Call what answers by an awaitable, and wait for it at most ``within`` seconds; see `called`.

    A cancellation of ours goes through, once the code has had a moment to end. A future that it gives back may be
    shared with others: it is waited for and never cancelled.

    Args:
        call: the call.
        read: makes what is wanted of the answer.
        within: seconds.
        given_up: told at the instant from which nobody waits any more, before the code is cancelled.

    Raises:
        Broke: no good answer in time.
    """
    task = asyncio.create_task(_kept(call, read), name="foreign")
    late = False
    try:
        await asyncio.wait((task,), timeout=within)
        late = not task.done()
        if late:
            await _end(task, given_up)
    except asyncio.CancelledError:
        await _end(task, given_up)
        raise
    if not task.done() or task.cancelled() or task.exception() is not None:
        said: T | Broke = Broke("it was cancelled")
    else:
        said = task.result()
    if not isinstance(said, Broke):
        return said
    raise Broke(f"no answer within {within:g} s", late=True) if late else said


async def _kept(call: Callable[[], object], read: Callable[[Any], T]) -> T | Broke:
    """Keep whatever the code does inside its own task."""
    try:
        return read(await _awaited(call()))
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # noqa: BLE001 - a CancelledError, GeneratorExit or SystemExit of its own included
        return Broke(reason_of(e), e)


async def _awaited(answer: object) -> object:
    if not isawaitable(answer):
        raise unlike(answer, "something to await")
    if not asyncio.isfuture(answer):
        return await answer
    future = cast("asyncio.Future[object]", answer)
    if future.get_loop() is not asyncio.get_running_loop():
        raise unlike(answer, "a future of this event loop")
    await asyncio.wait((future,))
    return future.result()


async def _end(task: asyncio.Task[Any], given_up: Callable[[], None] | None) -> None:
    """Cancel, and wait a moment; what does not end is left behind, where it can harm nobody."""
    if task.done():
        return
    if given_up is not None:
        given_up()
    task.cancel()
    try:
        await asyncio.wait((task,), timeout=MOMENT)
    finally:
        if not task.done():
            _LEFT_BEHIND.add(task)
            task.add_done_callback(_LEFT_BEHIND.discard)


def unlike(answer: object, wanted: str) -> TypeError:
    """Make the error of an answer of the wrong kind."""
    kind = "None" if answer is None else f"a {one_line(type(answer).__name__)}"
    return TypeError(f"it gave back {kind}, not {wanted}")


def reason_of(error: BaseException) -> str:
    """Return what an error of foreign code says, in one line without a full stop; its name where it says nothing."""
    name = one_line(type(error).__name__)
    try:
        text = one_line(str(error)).strip().rstrip(".")
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - its text is foreign code too
        return name
    if not text:
        return name
    return text if isinstance(error, Exception) else f"{name}: {text}"
