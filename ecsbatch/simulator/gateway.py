"""The gateway in front of the service: it checks signatures and tokens, and the quota.

The signature is computed from what was received: a client whose HTTP library re-encodes the query after signing is
refused here, as by the real gateway. The gateway counts the servers of a restart request once it has accepted the
signature, before the service looks at the servers: a request that the service then refuses is counted too.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote

from ecsbatch.simulator.config import CloudConfig

ALGORITHM: Final = "SDK-HMAC-SHA256"
MAX_SKEW: Final = 15 * 60.0
"""Seconds by which a signature's date may differ from the cloud's clock."""

FOREIGN_EVERY: Final = 6.0
"""Seconds between two requests of somebody else who uses the quota."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as it was received; header names in small letters."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_action(self) -> bool:
        """True where it submits a batch action."""
        return self.method == "POST" and self.path.endswith("/cloudservers/action")


def canonical_uri(path: str) -> str:
    """Return the path decoded, with each segment encoded anew (except ``-_.~``) and one slash at its end."""
    quoted = "/".join(quote(segment, safe="~") for segment in unquote(path).split("/"))
    return quoted if quoted.endswith("/") else quoted + "/"


def canonical_query(query: str) -> str:
    """Return the query's pairs as they were received, sorted by decoded name and value."""
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    pairs.sort(key=lambda pair: (unquote(pair[0]), unquote(pair[2])))
    return "&".join(f"{name}={value}" for name, _, value in pairs)


def signature(secret_key: str, received: ReceivedRequest, signed_headers: str, date: str) -> str:
    """Return the hex signature that the holder of `secret_key` would have sent."""
    names = signed_headers.split(";")
    canonical_headers = "".join(f"{name}:{received.headers.get(name, '').strip()}\n" for name in names)
    declared = received.headers.get("x-sdk-content-sha256") if received.body else None
    canonical = "\n".join(
        (
            received.method.upper(),
            canonical_uri(received.path),
            canonical_query(received.query),
            canonical_headers,
            signed_headers,
            declared or hashlib.sha256(received.body).hexdigest(),
        )
    )
    to_sign = f"{ALGORITHM}\n{date}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.new(secret_key.encode(), to_sign.encode(), hashlib.sha256).hexdigest()


class Authenticator:
    """Checks who sends a request. It returns None where the request is accepted, else the gateway's message."""

    def __init__(self, config: CloudConfig, wall: Callable[[], float]) -> None:
        self.tokens: dict[str, float] = {}
        self.bad_signatures = 0
        self._config = config
        self._wall = wall
        self._failures: Counter[str] = Counter()
        self._locked_until: dict[str, float] = {}

    def issue(self, token: str, at: float) -> None:
        """Accept a token from now on until it expires; earlier ones stay valid."""
        self.tokens[token] = at + self._config.token_ttl

    def objection(self, received: ReceivedRequest, at: float) -> str | None:
        """Return why a request is not accepted, None where it is."""
        if not self._config.check_auth:
            return None
        token = received.headers.get("x-auth-token")
        if token is not None:
            return self._token_objection(token, at)
        authorization = received.headers.get("authorization")
        if authorization is None:
            return "x-auth-token not found"
        return self._signature_objection(received, authorization, at)

    def _token_objection(self, token: str, at: float) -> str | None:
        expires = self.tokens.get(token)
        if expires is None:
            return "decrypt token fail"
        return "token expires" if at >= expires else None

    def _signature_objection(self, received: ReceivedRequest, authorization: str, at: float) -> str | None:
        algorithm, _, rest = authorization.partition(" ")
        parts = {name: value for name, _, value in (part.strip().partition("=") for part in rest.split(","))}
        access_key = parts.get("Access", "")
        if at < self._locked_until.get(access_key, at):
            return "AK access failed to reach the limit,forbidden"
        reason = self._mismatch(received, algorithm, parts)
        if reason is None:
            del self._failures[access_key]
            return None
        self.bad_signatures += 1
        self._failures[access_key] += 1
        if self._failures[access_key] > self._config.max_failures:
            self._locked_until[access_key] = at + self._config.lock_time
            del self._failures[access_key]
        return reason

    def _mismatch(self, received: ReceivedRequest, algorithm: str, parts: Mapping[str, str]) -> str | None:
        config, headers = self._config, received.headers
        date, signed_headers = headers.get("x-sdk-date", ""), parts.get("SignedHeaders", "")
        if algorithm != ALGORITHM or "x-sdk-date" not in signed_headers.split(";"):
            return "verify aksk signature fail"
        if parts.get("Access") != config.access_key:
            return "Get secretKey failed"
        if headers.get("x-security-token", "") != config.security_token:
            return "verify aksk signature fail"
        if not self._fresh(date):
            return "verify aksk signature fail, x-sdk-date is expired"
        expected = signature(config.secret_key, received, signed_headers, date)
        return None if hmac.compare_digest(expected, parts.get("Signature", "")) else "verify aksk signature fail"

    def _fresh(self, date: str) -> bool:
        try:
            signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            return False
        return abs(self._wall() - signed_at) <= MAX_SKEW


class QuotaWindow:
    """At most `limit` servers in any closed window, shared with somebody else who uses `foreign` servers a minute."""

    def __init__(self, limit: int, window: float, *, counts_refused: bool, foreign: float, start: float) -> None:
        self.foreign: list[tuple[float, int]] = []
        self._limit = limit
        self._window = window
        self._counts_refused = counts_refused
        self._foreign_size = foreign * FOREIGN_EVERY / 60.0
        self._foreign_due = start
        self._foreign_rest = 0.0
        self._counted: deque[tuple[float, int]] = deque()
        self._sum = 0

    def admit(self, at: float, servers: int) -> bool:
        """Count a request at an instant, which never goes back; return True where it may pass."""
        self._let_foreigners_spend(at)
        self._forget(at)
        fits = self._sum + servers <= self._limit
        if fits or self._counts_refused:
            self._count(at, servers)
        return fits

    def _let_foreigners_spend(self, at: float) -> None:
        while self._foreign_size and self._foreign_due <= at:
            self._forget(self._foreign_due)
            self._foreign_rest += self._foreign_size
            size = min(int(self._foreign_rest), max(0, self._limit - self._sum))
            self._foreign_rest -= int(self._foreign_rest)
            if size:
                self._count(self._foreign_due, size)
                self.foreign.append((self._foreign_due, size))
            self._foreign_due += FOREIGN_EVERY

    def _forget(self, at: float) -> None:
        while self._counted and self._counted[0][0] < at - self._window:
            self._sum -= self._counted.popleft()[1]

    def _count(self, at: float, servers: int) -> None:
        self._counted.append((at, servers))
        self._sum += servers
