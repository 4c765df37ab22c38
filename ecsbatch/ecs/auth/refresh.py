"""Keys and tokens that run out: got when they are first needed, replaced before their time is over.

Such an auth has to ask somebody, which only the client can do for it. So the client passes an `IssueContext`, and asks
before each signature whether something is due; one caller renews while all others go on with what still holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ecsbatch.ecs.auth.schemes import Auth, UnsignedRequest, hide
from ecsbatch.ecs.error_codes import date_of, error_of
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import AuthError, CloudError, EcsbatchError, NotSent, Refused
from ecsbatch.foreign import Broke, asked, unlike
from ecsbatch.model.text import truncate

EARLY: Final = 2400.0
"""Seconds before its end at which a key or token is replaced: 40 minutes, as the official SDK does."""

_SHORTEST: Final = 60.0
_TRY_AGAIN: Final = 60.0


Ask: TypeAlias = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class IssueContext:
    """What a client lends to an auth so that it can ask for keys and tokens.

    Attributes:
        ask: sends one request; its errors are `CloudError`.
        iam: IAM's endpoint, "" where it cannot be told.
        region: as the client was given it.
        project_id: as the client was given it, "" where it is still to be looked up.
        wall: seconds since 1970.
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
    """A key or token and its time.

    Attributes:
        auth: what requests are signed with meanwhile.
        ends: seconds since 1970, by our own clock.
        due: when to get the next one.
    """

    auth: Auth = field(repr=False)
    ends: float
    due: float


Issue: TypeAlias = Callable[[IssueContext], Awaitable[IssuedAuth]]


def issued(auth: Auth, answer: Answer, expires_at: float, now: float, otherwise: float) -> IssuedAuth:
    """Reckon a lease's end on our clock: the cloud's may be minutes off, so its own ``Date`` is where the time starts.

    Args:
        auth: what was issued.
        answer: that it came with.
        expires_at: its end by the cloud's clock, seconds since 1970; 0 where it gave none.
        now: by our clock.
        otherwise: seconds that it lasts where the cloud gave no end.
    """
    lasts = max(expires_at - (date_of(answer.headers) or now), _SHORTEST) if expires_at else otherwise
    return IssuedAuth(auth, now + lasts, now + lasts - min(EARLY, lasts / 2))


class RefreshableAuth:
    """Authentication by whatever ``issue`` brings, for one site.

    Args:
        name: for people: what it is and where it comes from.
        issue: gets the next key or token. Raises `AuthError` where it is denied, `NotSent` where it cannot be had now.
        hide: secrets that ``issue`` knows.
        first: holds until the cloud says that it ran out; None to begin with ``issue``.
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

    def __repr__(self) -> str:
        return f"<LeasedAuth {self._name}>"

    def at(self, context: IssueContext) -> RefreshableAuth:
        """Return one of its own for a client: a token is good for one project."""
        bound = RefreshableAuth(self._name, self._issue, hide=self._hide, first=self._first)
        bound._context = context
        return bound

    def usable(self, now: float) -> bool:
        """Tell whether there is one whose time is not over."""
        return self._current is not None and now < self._current.ends

    def due(self, now: float) -> bool:
        """Tell whether the next one should be got."""
        if self._current is None or now >= self._current.ends:
            return True
        return now >= max(self._current.due, self._not_before)

    async def refresh(self, now: float) -> None:
        """Get the next one ahead of time; where that fails and the old one holds, go on with it for a minute.

        Raises:
            AuthError: it is denied, and there is none that holds.
            NotSent: it cannot be had now, and there is none that holds.
        """
        try:
            await self.renew()
        except CloudError:
            if not self.usable(now):
                raise
            self._not_before = now + _TRY_AGAIN

    async def renew(self) -> bool:
        """Get the next one.

        Raises:
            AuthError: it is denied.
            NotSent: it cannot be had now.
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
        return True

    def headers(self, request: UnsignedRequest, now: float) -> Mapping[str, str]:
        """Return the headers that the present key or token makes."""
        if self._current is None:
            raise AuthError("There is no key or token yet: enter the EcsClient with async with.")
        return self._current.auth.headers(request, now)

    def redact(self, text: str) -> str:
        """Hide all that it knows, the key or token before this one included."""
        for each in (self._current, self._before):
            text = each.auth.redact(text) if each else text
        for secret in self._hide:
            text = hide(secret, text)
        return text


def _checked(answer: object) -> IssuedAuth:
    if not isinstance(answer, IssuedAuth):
        raise unlike(answer, "a Lease")
    return answer


async def ask(
    context: IssueContext, request: Request, what: str, redact: Callable[[str], str] = str, *, unanswered: str = ""
) -> Answer:
    """Ask for a key, a token or a project; a request to ECS that waits for it is certainly not sent.

    Args:
        context: by which it is asked.
        request: what is sent.
        what: is wanted, as a sentence begins.
        redact: hides secrets in what was answered.
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
    """Take what happened out of an error's sentence."""
    _, colon, rest = error.message.rstrip(".").partition(": ")
    said = rest if colon and not error.status else error.message.rstrip(".")
    return f"{said} (HTTP {error.status})" if error.status else said
