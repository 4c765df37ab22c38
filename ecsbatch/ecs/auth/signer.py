"""Signs a client's requests: it renews keys and tokens in time, one caller at a time, and finds the project."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from ecsbatch.clock import Clock
from ecsbatch.ecs.auth.iam import find_project
from ecsbatch.ecs.auth.refresh import Ask, IssueContext, RefreshableAuth
from ecsbatch.ecs.auth.schemes import NOT_SEARCHED, Auth, KeyAuth, UnsignedRequest
from ecsbatch.ecs.endpoint import iam_of
from ecsbatch.ecs.sender import checked_headers
from ecsbatch.errors import AuthError, ConfigError, NotAccepted, NotSent, TokenExpired
from ecsbatch.foreign import Broke, asked, called, unlike
from ecsbatch.model.servers import Site
from ecsbatch.model.text import truncate


class Signer:
    """Signs the requests of one client.

    Args:
        auth: the client's authentication.
        site: where its requests go; its project may still be unknown.
        clock: gives the signatures' time, by which keys and tokens expire too.
        ask: sends a request to IAM or to the metadata service.
        patience: seconds that renewing may take.

    Raises:
        ConfigError: a given endpoint of IAM is malformed.
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

    async def headers(self, unsigned: UnsignedRequest) -> Mapping[str, str]:
        """Return the headers of a request, signed with a valid key or token.

        Raises:
            AuthError: there is no valid one, and the next one is denied.
            NotSent: there is no valid one, and no next one now; or signing fails.
        """
        try:
            await self.ready()
            return self._auth.headers(unsigned, self._clock.wall())
        except ConfigError as e:
            raise AuthError(str(e)) from e

    async def renewed(self, unsigned: UnsignedRequest, spent: Mapping[str, str]) -> bool:
        """Renew the token in the headers ``spent`` unless another caller has just done so; False where it cannot be.

        Raises:
            AuthError: the next one is denied.
            NotAccepted: there is no next one now.
        """
        async with self._renewing:
            try:
                if _token(self._auth.headers(unsigned, self._clock.wall())) != _token(spent):
                    return True
                return await self._auth.renew()
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

    def reason(self, broke: Broke) -> str:
        """Return why somebody else's code failed, fit to be shown."""
        return self._auth.reason(broke)

    def cause(self, broke: Broke) -> BaseException | None:
        """Return the error behind it, None where its text has a secret: a cause is printed with what it caused."""
        return self._auth.cause(broke)


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
