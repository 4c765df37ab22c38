"""Calls code of other people: checks, gates, ways to sign, senders. Read `asked` first.

Such code may raise anything at any time, the errors by which a loop ends its tasks included, or never return. So it
runs in a task of its own: a CancelledError that it raises is not taken for a cancellation of the engine, and code that
swallows its cancellation is left behind. Whatever it does, its caller gets a good answer or `Broke`, which says why
not. Only a KeyboardInterrupt goes through: it comes from a person, not from the code.

What blocks the thread itself cannot be bounded; nothing in an event loop can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from inspect import isawaitable
from typing import Any, Final, TypeVar, cast

from ecsbatch.model.text import one_line, truncate

T = TypeVar("T")

MOMENT: Final = 1.0
"""Seconds in which foreign code that is cancelled may let go of what it holds; then nobody waits for it any more."""

_CANCELLED: Final = "it was cancelled"

_LEFT_BEHIND: Final[set[asyncio.Task[Any]]] = set()
"""Tasks that did not end when they were cancelled, kept here: a loop keeps no task alive, and warns of a lost one."""


class Broke(Exception):
    """Foreign code gave no answer that can be used; its text says why, without a full stop.

    Attributes:
        reason: the same text, in full length.
        error: what the code raised; None: nothing.
        late: True where it gave no answer in time.
    """

    def __init__(self, reason: str, error: BaseException | None = None, *, late: bool = False) -> None:
        super().__init__(truncate(reason))
        self.reason = reason
        self.error = error
        self.late = late


def called(call: Callable[[], object], read: Callable[[Any], T]) -> T:
    """Call what answers at once, and return what ``read`` makes of the answer.

    Args:
        call: the call.
        read: makes what is wanted of the answer; where it is of the wrong kind, it raises `unlike`.

    Raises:
        Broke: there was no good answer.
    """
    try:
        answer = call()
        try:
            return read(answer)
        except BaseException:
            # Asked only here: what kind a good answer is, its reader knows.
            if asyncio.iscoroutine(answer):
                answer.close()
            raise
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # noqa: BLE001 - whatever foreign code raises is its own trouble
        raise Broke(reason_of(e), e) from None


async def asked(
    call: Callable[[], object],
    read: Callable[[Any], T],
    within: float,
    *,
    given_up: Callable[[], None] | None = None,
    context: Context | None = None,
) -> T:
    """Call what answers by an awaitable, wait for it, and return what ``read`` makes of the answer.

    A cancellation of ours goes through, once the code has had a moment to end. A future that it returns may be shared
    with others: it is waited for and never cancelled.

    Args:
        call: the call; it returns the awaitable.
        read: as in `called`.
        within: seconds to wait at the most.
        given_up: called where nobody waits any more, before the code is cancelled.
        context: the context variables that the code sees; None: the caller's.

    Raises:
        Broke: there was no good answer in time.
    """
    task = asyncio.create_task(_kept(call, read), name="foreign", context=context)
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
        answer: T | Broke = Broke(_CANCELLED)
    else:
        answer = task.result()
    if not isinstance(answer, Broke):
        return answer
    raise Broke(f"no answer within {within:g} s", late=True) if late else answer


async def ours(call: Callable[[], Awaitable[T]], within: float) -> T:
    """Call what is our own, as `asked` calls what is not, but in the caller's task: a task of its own costs 60 us.

    For code that ends as soon as it is cancelled, and returns what it says it does.

    Raises:
        Broke: there was no answer in time.
    """
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    cancelled, deadline = task.cancelling(), asyncio.timeout(within)
    try:
        async with deadline:
            return await call()
    except asyncio.CancelledError as e:
        if task.cancelling() > cancelled:
            raise
        # What it waited for was cancelled, such as the search for a name when the client is closed.
        raise Broke(_CANCELLED, e) from None
    except Exception as e:  # noqa: BLE001 - aiohttp is below it
        if deadline.expired():
            raise Broke(f"no answer within {within:g} s", late=True) from None
        raise Broke(reason_of(e), e) from None


async def _kept(call: Callable[[], object], read: Callable[[Any], T]) -> T | Broke:
    """Run the code; return what it raises, so that nothing leaves its own task."""
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
    """Cancel a task and wait a moment; one that does not end is left behind, where it does no harm."""
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
    """Make the error of an answer of the wrong kind; ``wanted`` names the right one."""
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
