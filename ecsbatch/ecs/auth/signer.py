"""The client's own hold of its credentials: signs, renews in time and once, and finds the project."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Final

from ecsbatch.clock import Clock
from ecsbatch.ecs.auth.iam import find_project
from ecsbatch.ecs.auth.refresh import Ask, IssueContext, RefreshableAuth
from ecsbatch.ecs.auth.schemes import Auth, KeyAuth, UnsignedRequest
from ecsbatch.ecs.endpoint import iam_of
from ecsbatch.ecs.sender import checked_headers
from ecsbatch.errors import AuthError, ConfigError, NotAccepted, NotSent, TokenExpired
from ecsbatch.foreign import Broke, asked, called, unlike
from ecsbatch.model.servers import Site
from ecsbatch.model.text import truncate

_NOT_SEARCHED: Final = "(not shown, for it could not be searched for secrets)"


class Signer:
    """Signs the requests of one client.

    Args:
        auth: as the client was given it.
        site: where its requests go; its project may still be unknown.
        clock: dates signatures and tells when something runs out.
        ask: sends a request to IAM or to the metadata service.
        patience: seconds that renewing may take.

    Raises:
        ConfigError: IAM's endpoint, where one is given, is malformed.
    """

    def __init__(self, auth: Auth, site: Site, clock: Clock, ask: Ask, patience: float) -> None:
        given = os.environ.get("HUAWEICLOUD_SDK_IAM_ENDPOINT", "").strip()
        given = given or (auth.iam_endpoint if isinstance(auth, KeyAuth) else "")
        self._context = IssueContext(ask, iam_of(site, given), site.region, site.project_id, clock.wall, patience)
        self._refreshable = auth.at(self._context) if isinstance(auth, RefreshableAuth) else None
        self._auth = _Guarded(self._refreshable or auth, patience)
        self._clock = clock
        self._renewing = asyncio.Lock()
        self.redact = self._auth.redact

    def __repr__(self) -> str:
        return repr(self._auth)

    async def ready(self) -> None:
        """Get what is missing or runs out soon; only its renewer waits while the old one still holds.

        Raises:
            AuthError: there is none, and it is denied.
            NotSent: there is none, and it cannot be had now.
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

    async def headers(self, unsigned: UnsignedRequest) -> Mapping[str, str]:
        """Sign with a key or token whose time is not over.

        Raises:
            AuthError: there is none, and it is denied.
            NotSent: there is none, and it cannot be had now, or signing fails.
        """
        try:
            await self.ready()
            return self._auth.headers(unsigned, self._clock.wall())
        except ConfigError as e:
            raise AuthError(str(e)) from e

    async def renewed(self, unsigned: UnsignedRequest, spent: Mapping[str, str]) -> bool:
        """Renew the token that ``spent`` carried, unless another caller has just done so.

        Raises:
            AuthError: it is denied.
            NotAccepted: it cannot be had now.
        """
        async with self._renewing:
            try:
                if _token(self._auth.headers(unsigned, self._clock.wall())) != _token(spent):
                    return True
                return await self._auth.renew()
            except NotSent as e:
                # The request that brought this to light was answered: it is not provably unsent.
                raise NotAccepted(e.message, answered=True) from None
            except ConfigError as e:
                raise AuthError(str(e)) from e

    async def find_project(self) -> str:
        """Look the region's project up.

        Raises:
            ConfigError: there is none, or there are several.
            AuthError: the key, the token or the address will not do.
            NotSent: IAM does not answer.
        """
        try:
            return await find_project(self._context, self._auth)
        except TokenExpired:
            if not await self._auth.renew():
                raise
        return await find_project(self._context, self._auth)

    def reason(self, broke: Broke) -> str:
        """Return what broke somebody else's code, fit to be shown."""
        return self._auth.reason(broke)

    def cause(self, broke: Broke) -> BaseException | None:
        """Return the error behind it, None where it holds a secret: a cause is printed with what it caused."""
        return self._auth.cause(broke)


class _Guarded:
    """Anybody's way to sign, called so that nothing that it does can harm the engine."""

    def __init__(self, auth: Auth, patience: float) -> None:
        self._auth = auth
        self._patience = patience

    def __repr__(self) -> str:
        return repr(self._auth)

    def headers(self, request: UnsignedRequest, now: float) -> Mapping[str, str]:
        """Sign.

        Raises:
            NotSent: it fails.
            AuthError, ConfigError: it says so itself.
        """
        try:
            return called(lambda: self._auth.headers(request, now), checked_headers)
        except Broke as e:
            _on_purpose(e)
            message = f"The request was not sent, for it could not be signed: {self.reason(e)}."
            raise NotSent(message) from self.cause(e)

    async def renew(self) -> bool:
        """Renew.

        Raises:
            AuthError: it fails.
            NotSent: it does not come to an end, or says so itself.
            ConfigError: it says so itself.
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
        """Hide secrets; where that fails, everything."""
        try:
            return called(lambda: self._auth.redact(text), _text)
        except Broke:
            return _NOT_SEARCHED

    def reason(self, broke: Broke) -> str:
        return truncate(self.redact(broke.reason)) or type(broke.error).__name__

    def cause(self, broke: Broke) -> BaseException | None:
        return broke.error if self.redact(broke.reason) == broke.reason else None


def _on_purpose(broke: Broke) -> None:
    """Pass on what a way to sign says in our own words."""
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
