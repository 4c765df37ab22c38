"""What is to be said of servers beyond how they ended: why, the cloud's code and words, the host that they are on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ecsbatch.model.events import RunFinished, RunResumed, ServerEvent
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Stage
from ecsbatch.model.text import MAX_TEXT, printable, without_code

_ALL_TEXT: Final = 1_000_000
"""Characters that all messages together have at most, beyond the least of each."""
_LEAST: Final = 60

_OF_MANY: Final = (RunResumed, RunFinished)
"""Events that change the outcomes of servers which they do not name."""

Detail = tuple[str, str, str, str]
"""Reason, code, message and host of one server."""

_NOTHING: Final[Detail] = ("", "", "", "")


class Details:
    """Collects them from a run's events. Call `apply` with each event behind the state's own."""

    def __init__(self, state: RolloutState) -> None:
        """Begin before the first event of a state."""
        self._state = state
        self._known: dict[int, Detail] = {}
        self._unread: set[int] = set()
        self._news: set[int] = set()

    def apply(self, recorded: Recorded) -> None:
        """Take the next event in."""
        event = recorded.event
        if isinstance(event, ServerEvent):
            i = self._state.plan.fleet.find(event.server)
            if event.reason or event.code or event.message or event.host or i in self._known or i in self._unread:
                self._unread.add(i)
        elif isinstance(event, _OF_MANY):
            self._unread.update(self._known)

    def table(self) -> dict[str, Any]:
        """Return all rows: ``at`` indexes, ``what`` into ``values`` of ``reason``, ``code``, ``message``, ``host``."""
        self._read()
        return self._rows(i for i in sorted(self._known) if any(self._known[i]))

    def fresh(self) -> dict[str, Any] | None:
        """Return the rows that are new, or have changed, since the last call; None where there are none.

        A row without a text takes back what was told of a server before.
        """
        self._read()
        news, self._news = sorted(self._news), set()
        return self._rows(news) if news else None

    def _read(self) -> None:
        """Read what the state says by now of those of whom there was news."""
        for i in self._unread:
            now = self._of(i)
            if self._known.get(i) != now:
                self._known[i] = now
                self._news.add(i)
        self._unread.clear()

    def _of(self, i: int) -> Detail:
        """Return what is to be said of a server, with empty texts where that is nothing (any more)."""
        stage = self._state.stage[i]
        if stage < Stage.RESTARTED:
            return _NOTHING
        outcome = self._state.outcome(i)
        host = "" if stage == Stage.RESTARTED else outcome.host
        return outcome.reason, outcome.code, without_code(outcome.message, outcome.code), host

    def _rows(self, at: Iterable[int]) -> dict[str, Any]:
        known: dict[Detail, int] = {}
        rows = [(i, known.setdefault(self._known[i], len(known))) for i in at]
        longest = min(MAX_TEXT, max(_LEAST, _ALL_TEXT // max(1, len(known))))
        return {
            "at": [i for i, _ in rows],
            "what": [what for _, what in rows],
            "values": [_value(detail, longest) for detail in known],
        }


def _value(detail: Detail, longest: int) -> dict[str, str]:
    reason, code, message, host = detail
    return {
        "reason": printable(reason, longest),
        "code": printable(code, longest),
        "message": printable(message, longest),
        "host": printable(host, longest),
    }
