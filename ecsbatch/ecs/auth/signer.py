"""Signs a client's requests: it renews keys and tokens in time, one caller at a time, and finds the project."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from http import HTTPStatus
from typing import Final, TypeVar

from ecsbatch.clock import Clock
from ecsbatch.ecs.auth.iam import find_project
from ecsbatch.ecs.auth.key_guard import KeyGuard
from ecsbatch.ecs.auth.refresh import Ask, IssueContext, RefreshableAuth
from ecsbatch.ecs.auth.schemes import NOT_SEARCHED, Auth, KeyAuth, UnsignedRequest
from ecsbatch.ecs.auth.source import SourceAuth
from ecsbatch.ecs.endpoint import iam_of
from ecsbatch.ecs.sender import checked_headers
from ecsbatch.errors import AuthError, ConfigError, NotAccepted, NotSent, Refused, TokenExpired
from ecsbatch.foreign import Broke, asked, called, unlike
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.servers import Site
from ecsbatch.model.text import truncate

T = TypeVar("T")

_ACCESS: Final = re.compile(r"\bAccess=([!-~]+?),")

_REPLACED_KEPT: Final = 4
"""Replaced authentications whose secrets are still hidden in answers."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The headers of one request.

    Attributes:
        headers: all of them.
        by: what has signed it: another object once that is replaced.
        key: the id of the access key, "" for a token.
    """

    headers: Mapping[str, str] = field(repr=False)
    by: object = field(repr=False)
    key: str


class Signer:
    """Signs the requests of one client.

    Args:
        auth: the client's authentication.
        site: where its requests go; its project may still be unknown.
        clock: gives the signatures' time, by which keys and tokens expire too.
        ask: sends a request to IAM or to the metadata service.
        patience: seconds that renewing may take.

    Attributes:
        auth: the client's authentication; another may take its place at any time, see `replace`.

    Raises:
        ConfigError: a given endpoint of IAM is malformed.
    """

    def __init__(self, auth: Auth, site: Site, clock: Clock, ask: Ask, patience: float) -> None:
        given = os.environ.get("HUAWEICLOUD_SDK_IAM_ENDPOINT", "").strip()
        given = given or (auth.iam_endpoint if isinstance(auth, KeyAuth | SourceAuth) else "")
        self._context = IssueContext(ask, iam_of(site, given), site.region, site.project_id, clock.wall, patience)
        self._clock = clock
        self._renewing = asyncio.Lock()
        self._guard = KeyGuard(clock.wall)
        self._replaced: deque[_Guarded] = deque(maxlen=_REPLACED_KEPT)
        self._take(auth)

    def __repr__(self) -> str:
        return repr(self._auth)

    def _take(self, auth: Auth) -> None:
        self.auth = auth
        self._refreshable = auth.at(self._context) if isinstance(auth, RefreshableAuth) else None
        self._auth = _Guarded(self._refreshable or auth, self._context.patience)

    def replace(self, auth: Auth) -> None:
        """Sign with another authentication from now on; requests that the one before has signed stay as they are."""
        self._replaced.append(self._auth)
        self._take(auth)

    async def ready(self) -> None:
        """Get the next key or token where it is due; other callers go on meanwhile while the old one is valid.

        Raises:
            AuthError: there is no valid one, and the next one is denied.
            NotSent: there is no valid one, and no next one now.
        """
        auth = self._refreshable
        if auth is None or not auth.due(self._clock.wall()):
            return
        if self._renewing.locked() and auth.usable(self._clock.wall()):
            return
        async with self._renewing:
            now = self._clock.wall()
            if auth.due(now):
                await auth.refresh(now)

    async def send(self, unsigned: UnsignedRequest, attempt: Callable[[Signed], Awaitable[T]]) -> T:
        """Sign a request and have it sent by ``attempt``; how that ends says whether the key is accepted.

        Raises:
            AuthError: there is no valid key or token, and the next one is denied; or the key was refused too often.
            NotSent: there is no valid one, and no next one now; or signing fails.
        """
        signed = await self._sign(unsigned)
        while signed.key and self._guard.doubts(signed.key):
            async with self._guard.alone:
                key, signed = signed.key, await self._sign(unsigned)
                if key == signed.key and self._guard.doubts(key):
                    self._guard.check(key)
                    return await self._judged(signed, attempt)
        return await self._judged(signed, attempt)

    async def _sign(self, unsigned: UnsignedRequest) -> Signed:
        try:
            if self._refreshable is not None:
                await self.ready()
            headers = self._auth.headers(unsigned, self._clock.wall())
        except ConfigError as e:
            raise AuthError(str(e)) from e
        return Signed(headers, self._signs(), _key_id(headers))

    def _signs(self) -> object:
        """Return what signs at present."""
        return self.auth.key if isinstance(self.auth, SourceAuth) else self._auth

    async def _judged(self, signed: Signed, attempt: Callable[[Signed], Awaitable[T]]) -> T:
        """Send, and note what the answer says of the key."""
        try:
            answer = await attempt(signed)
        except AuthError as e:
            if signed.key and was_refused(e) and not isinstance(e, TokenExpired):
                self._guard.refused(signed.key, e)
            elif signed.key and e.answered:
                self._guard.accepted(signed.key)
            raise
        except Refused:
            if signed.key:
                self._guard.accepted(signed.key)
            raise
        if signed.key:
            self._guard.accepted(signed.key)
        return answer

    async def another(self, unsigned: UnsignedRequest, spent: Signed, refusal: AuthError) -> bool:
        """Tell whether a request that was refused may be signed anew: there is another key or token than ``spent``.

        A token that ran out is renewed unless another caller has just done so; the source of a key is read again.

        Raises:
            AuthError: the next one is denied.
            NotAccepted: there is no next one now.
        """
        async with self._renewing:
            try:
                headers = self._auth.headers(unsigned, self._clock.wall())
                if self._signs() is not spent.by or _token(headers) != _token(spent.headers):
                    return True
                if isinstance(refusal, TokenExpired) or isinstance(self.auth, SourceAuth):
                    return await self._auth.renew()
                return self._refreshable is not None and await self._refreshable.replace_refused(self._clock.wall())
            except NotSent as e:
                # The request that has shown this was answered: so it was sent.
                raise NotAccepted(e.message, answered=True) from None
            except ConfigError as e:
                raise AuthError(str(e)) from e

    async def find_project(self) -> str:
        """Return the id of the region's project.

        Raises:
            ConfigError: the region has no project, or several.
            AuthError: the key, the token or the endpoint is wrong.
            NotSent: IAM does not answer.
        """
        try:
            return await find_project(self._context, self._auth)
        except TokenExpired:
            if not await self._auth.renew():
                raise
        return await find_project(self._context, self._auth)

    def redact(self, text: str) -> str:
        """Hide all secrets, also those that were replaced: what they have signed may still be answered."""
        for each in (*self._replaced, self._auth):
            text = each.redact(text)
        return text

    def reason(self, broke: Broke) -> str:
        """Return why somebody else's code failed, fit to be shown."""
        return truncate(self.redact(broke.reason)) or type(broke.error).__name__

    def cause(self, broke: Broke) -> BaseException | None:
        """Return the error behind it, None where its text has a secret: a cause is printed with what it caused."""
        return broke.error if self.redact(broke.reason) == broke.reason else None


def was_refused(error: AuthError) -> bool:
    """Tell whether the cloud does not accept the key or token itself, rather than what is asked for with it."""
    return error.answered and error.status == HTTPStatus.UNAUTHORIZED


class _Guarded:
    """An `Auth` of anybody's, called so that nothing that it does can harm the engine."""

    def __init__(self, auth: Auth, patience: float) -> None:
        self._auth = auth
        self._patience = patience

    def __repr__(self) -> str:
        return repr(self._auth)

    def headers(self, request: UnsignedRequest, now: float) -> Mapping[str, str]:
        """Return the headers that it makes.

        Raises:
            NotSent: signing fails.
            AuthError, ConfigError: it raises that itself.
        """
        try:
            return called(lambda: self._auth.headers(request, now), checked_headers)
        except Broke as e:
            _on_purpose(e)
            message = f"The request was not sent, for it could not be signed: {self.reason(e)}."
            raise NotSent(message) from self.cause(e)

    async def renew(self) -> bool:
        """Renew the token; return what it returns.

        Raises:
            AuthError: renewing fails.
            NotSent: renewing takes too long, or it raises that itself.
            ConfigError: it raises that itself.
        """
        try:
            return await asked(self._auth.renew, _yes_or_no, self._patience)
        except Broke as e:
            _on_purpose(e)
            if e.late:
                raise NotSent(f"The token ran out and could not be renewed: {e}.") from None
            message = f"The token ran out and could not be renewed: {self.reason(e)}."
            raise AuthError(message) from self.cause(e)

    def redact(self, text: str) -> str:
        """Hide secrets; where that fails, hide everything."""
        try:
            return called(lambda: self._auth.redact(text), _text)
        except Broke:
            return NOT_SEARCHED

    def reason(self, broke: Broke) -> str:
        return truncate(self.redact(broke.reason)) or type(broke.error).__name__

    def cause(self, broke: Broke) -> BaseException | None:
        return broke.error if self.redact(broke.reason) == broke.reason else None


def _on_purpose(broke: Broke) -> None:
    """Raise an error of ours that an `Auth` has raised."""
    if isinstance(broke.error, AuthError | NotSent | ConfigError):
        raise broke.error


def _yes_or_no(answer: object) -> bool:
    if not isinstance(answer, bool):
        raise unlike(answer, "True or False")
    return answer


def _text(answer: object) -> str:
    if not isinstance(answer, str):
        raise unlike(answer, "a text")
    return answer


def _token(headers: Mapping[str, str]) -> str | None:
    """Return the part of the headers that a renewal changes."""
    return headers.get("X-Auth-Token") or headers.get("X-Security-Token")


def _key_id(headers: Mapping[str, str]) -> str:
    """Return the id of the access key that has signed, "" for a token."""
    found = _ACCESS.search(headers.get("Authorization", ""))
    return found[1] if found else ""
