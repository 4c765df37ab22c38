"""A key in the environment or in a file, where it may be changed while a service runs for months."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ecsbatch.ecs.auth.schemes import KeyAuth, UnsignedRequest
from ecsbatch.errors import ConfigError


class SourceAuth:
    """The key that its source has at present: each signature asks whether it has changed, which costs next to nothing.

    A source that cannot be read for the moment, such as a file that is just being written, leaves the key as it is.

    Args:
        key: what the source has now.
        read: reads the key; None where the source has none any more.
        stamp: returns what changes whenever the source does.

    Attributes:
        key: the key that signs.
        project_id, iam_endpoint: of the first key; a client belongs to one project.
    """

    def __init__(self, key: KeyAuth, read: Callable[[], KeyAuth | None], stamp: Callable[[], object]) -> None:
        self.key = key
        self.project_id, self.iam_endpoint = key.project_id, key.iam_endpoint
        self._before = key
        self._read = read
        self._stamp = stamp
        # What is changed between the reading and this is seen by its refusal.
        self._seen = stamp()

    def __repr__(self) -> str:
        return repr(self.key)

    def headers(self, request: UnsignedRequest, now: float) -> Mapping[str, str]:
        """Return the signed headers and their signature."""
        if self._stamp() != self._seen:
            self._read_again()
        return self.key.headers(request, now)

    async def renew(self) -> bool:
        """Read the source again, whether or not it seems changed; return whether it has another key."""
        before = self.key
        self._read_again()
        return self.key is not before

    def redact(self, text: str) -> str:
        """Hide the key, and the one before it: requests that it signed may still be answered."""
        return self._before.redact(self.key.redact(text))

    def _read_again(self) -> None:
        seen = self._stamp()
        try:
            key = self._read()
        except ConfigError:
            return
        if key is not None:
            self._seen = seen
            if not key.same_as(self.key):
                self._before, self.key = self.key, key
