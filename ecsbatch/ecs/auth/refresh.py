"""Keys and tokens that expire: got when they are first needed, replaced before they expire.

To get one a `RefreshableAuth` has to send a request, which only the client can do for it. So the client passes an
`IssueContext`, and before each signature asks whether the next key or token is due; one caller renews while all others
go on with the valid one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import Final, TypeAlias

from ecsbatch.ecs.auth.schemes import Auth, UnsignedRequest, hide
from ecsbatch.ecs.error_codes import date_of, error_of
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import AuthError, CloudError, EcsbatchError, NotSent, Refused
from ecsbatch.foreign import Broke, asked, unlike
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.text import truncate

EARLY: Final = 2400.0
"""Seconds before it expires at which a key or token is replaced: 40 minutes, as the official SDK does."""

_SHORTEST: Final = 60.0
"""Seconds for which a key or token is used at least, whatever its end says."""

_TRY_AGAIN: Final = 60.0
"""Seconds until the next attempt where one failed while the old key or token is still valid."""

Ask: TypeAlias = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class IssueContext:
    """What a client passes to an auth so that it can ask for keys and tokens.

    Attributes:
        ask: sends one request; its errors are `CloudError`.
        iam: IAM's endpoint, "" where it is not known.
        region: the client's region, "" where it was given none.
        project_id: the client's project, "" where it is still to be looked up.
        wall: returns the seconds since 1970.
        patience: seconds that getting a key or token may take.
    """

    ask: Ask
    iam: str
    region: str
    project_id: str
    wall: Callable[[], float]
    patience: float = 60.0


@dataclass(frozen=True, slots=True)
class IssuedAuth:
    """A key or token that was issued, and how long it is valid.

    Attributes:
        auth: signs requests with it.
        ends: when it expires, in seconds since 1970 by our own clock.
        due: when to get the next one, by the same clock.
    """

    auth: Auth = field(repr=False)
    ends: float
    due: float


Issue: TypeAlias = Callable[[IssueContext], Awaitable[IssuedAuth]]


def issued(auth: Auth, answer: Answer, expires_at: float, now: float, otherwise: float) -> IssuedAuth:
    """Return an issued key or token with its end by our clock.

    The two clocks may differ by minutes, so the time until the end is counted from the answer's own ``Date``.

    Args:
        auth: what was issued.
        answer: the answer that it came with.
        expires_at: its end by the cloud's clock, seconds since 1970; 0 where the cloud gave none.
        now: seconds since 1970 by our clock.
        otherwise: seconds for which it is valid where the cloud gave no end.
    """
    lasts = max(expires_at - (date_of(answer.headers) or now), _SHORTEST) if expires_at else otherwise
    return IssuedAuth(auth, now + lasts, now + lasts - min(EARLY, lasts / 2))


class RefreshableAuth:
    """Authentication by the keys or tokens that ``issue`` gets, for one site.

    Args:
        name: for people: what it is and where it comes from.
        issue: gets the next key or token; raises `AuthError` where it is denied, `NotSent` where there is none now.
        hide: secrets that ``issue`` knows.
        first: used until the cloud says that it has expired; None to begin with ``issue``.
    """

    def __init__(self, name: str, issue: Issue, *, hide: tuple[str, ...] = (), first: Auth | None = None) -> None:
        self._name = name
        self._issue = issue
        self._hide = hide
        self._first = first
        self._context: IssueContext | None = None
        self._current = IssuedAuth(first, float("inf"), float("inf")) if first else None
        self._before: IssuedAuth | None = None
        self._not_before = 0.0
        self._issued_at = 0.0

    def __repr__(self) -> str:
        return f"<RefreshableAuth {self._name}>"

    def at(self, context: IssueContext) -> RefreshableAuth:
        """Return a copy for one client: a token is valid for one project."""
        bound = RefreshableAuth(self._name, self._issue, hide=self._hide, first=self._first)
        bound._context = context
        return bound

    def usable(self, now: float) -> bool:
        """Return True where there is a key or token that has not expired."""
        return self._current is not None and now < self._current.ends

    def due(self, now: float) -> bool:
        """Return True where it is time to get the next key or token."""
        if self._current is None or now >= self._current.ends:
            return True
        return now >= max(self._current.due, self._not_before)

    async def refresh(self, now: float) -> None:
        """Get the next key or token; where that fails and the old one is valid, try again after a minute.

        Raises:
            AuthError: it is denied, and the old one is not valid.
            NotSent: there is none now, and the old one is not valid.
        """
        try:
            await self.renew()
        except CloudError:
            if not self.usable(now):
                raise
            self._not_before = now + _TRY_AGAIN

    async def replace_refused(self, now: float) -> bool:
        """Get another key or token for one that was refused before its end; False where that was done just now.

        Raises:
            AuthError: it is denied.
            NotSent: there is none now.
        """
        if now < self._issued_at + _TRY_AGAIN:
            return False
        self._issued_at = now
        return await self.renew()

    async def renew(self) -> bool:
        """Get the next key or token; return True.

        Raises:
            AuthError: it is denied.
            NotSent: there is none now.
        """
        if self._context is None:
            raise AuthError("These credentials belong to no client yet: give them to an EcsClient.")
        context = self._context
        try:
            fresh = await asked(lambda: self._issue(context), _checked, context.patience)
        except Broke as e:
            if isinstance(e.error, EcsbatchError):
                raise e.error from e.error.__cause__
            raise NotSent(f"The {self._name} cannot be had: {truncate(self.redact(e.reason))}.") from None
        self._before, self._current = self._current, fresh
        self._issued_at = context.wall()
        return True

    def headers(self, request: UnsignedRequest, now: float) -> Mapping[str, str]:
        """Return the headers that the present key or token makes.

        Raises:
            AuthError: there is none yet.
        """
        if self._current is None:
            raise AuthError("There is no key or token yet: enter the EcsClient with async with.")
        return self._current.auth.headers(request, now)

    def redact(self, text: str) -> str:
        """Hide all secrets that it knows, also the key or token before this one."""
        for each in (self._current, self._before):
            text = each.auth.redact(text) if each else text
        for secret in self._hide:
            text = hide(secret, text)
        return text


def _checked(answer: object) -> IssuedAuth:
    if not isinstance(answer, IssuedAuth):
        raise unlike(answer, "an IssuedAuth")
    return answer


async def ask(
    context: IssueContext, request: Request, what: str, redact: Callable[[str], str] = str, *, unanswered: str = ""
) -> Answer:
    """Ask for a key, a token or a project; the request to ECS that waits for it is certainly not sent yet.

    Args:
        context: sends the request.
        request: what is sent.
        what: what is asked for, as the beginning of a sentence.
        redact: hides secrets in the answer.
        unanswered: a sentence on what to do where no answer comes.

    Raises:
        AuthError: it is denied.
        NotSent: there was no answer, or none that helps.
    """
    try:
        answer = await context.ask(request)
    except CloudError as e:
        advice = f" {unanswered}" if unanswered else ""
        raise NotSent(f"{what} cannot be had: {_reason(e)}.{advice}") from None
    if 200 <= answer.status < 300:  # noqa: PLR2004 - what HTTP calls success
        return answer
    error = error_of(answer.status, answer.headers, answer.body, what="look", redact=redact)
    if isinstance(error, AuthError):
        raise error
    if isinstance(error, Refused):
        # Sent again, it would be refused again: whoever waits for it must stop.
        raise AuthError(error.message, status=error.status, code=error.code, request_id=error.request_id, answered=True)
    raise NotSent(f"{what} cannot be had: {_reason(error)}.")


def _reason(error: CloudError) -> str:
    """Return what happened out of an error's sentence."""
    _, colon, rest = error.message.rstrip(".").partition(": ")
    said = rest if colon and not error.status else error.message.rstrip(".")
    return f"{said} (HTTP {error.status})" if error.status else said
