"""Whether a request has left: what the client hands to a sender of whatever make, and what it takes back from it."""

from __future__ import annotations

from collections.abc import Callable

from ecsbatch.ecs.sender import Answer, checked_headers
from ecsbatch.errors import NotSent
from ecsbatch.foreign import unlike


class Departure:
    """What a sender reports to of one request; once that is given up, no byte of it may leave any more.

    Attributes:
        sent: True where a byte may have left.
        refusal: the error by which the caller's ``on_sent`` forbade it, None where it did not.
    """

    def __init__(self, on_sent: Callable[[], None] | None) -> None:
        self.sent = False
        self.refusal: NotSent | None = None
        self._on_sent = on_sent
        self._open = True

    def mark(self) -> None:
        """Note that the first byte is about to leave; called by the sender.

        Raises:
            NotSent: the request was given up, or the caller forbids it.
        """
        if not self._open:
            raise NotSent("The request was given up: it must not be sent any more.")
        if not self.sent and self._on_sent is not None:
            try:
                self._on_sent()
            except NotSent as e:
                self.refusal = e
                raise
        self.sent = True

    def cut(self) -> None:
        """Let nothing more be sent."""
        self._open = False


def checked_answer(answer: object) -> Answer:
    """Return the answer that a sender of somebody else's has returned, checked to be one.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(answer, Answer):
        raise unlike(answer, "an Answer")
    # A sender that somebody else has written may put anything into the fields.
    _be(int, answer.status)
    _be(bytes, answer.body)
    checked_headers(answer.headers)
    return answer


def _be(kind: type[object], part: object) -> None:
    if not isinstance(part, kind):
        raise unlike(part, f"{kind.__name__} in its Answer")
