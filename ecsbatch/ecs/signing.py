"""The client's own hold of its credentials: signs, renews in time and once, and finds the project."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from ecsbatch.clock import Clock
from ecsbatch.ecs.auth import Auth, KeyAuth, Unsigned
from ecsbatch.ecs.codes import clean, cut
from ecsbatch.ecs.endpoint import iam_of
from ecsbatch.ecs.iam import find_project
from ecsbatch.ecs.renewal import Ask, Desk, LeasedAuth
from ecsbatch.errors import AuthError, EcsbatchError, NotAccepted, NotSent, TokenExpired
from ecsbatch.models import Site


class Signer:
    """Signs the requests of one client.

    Args:
        auth: as the client was given it.
        site: where its requests go; its project may still be unknown.
        clock: dates signatures and tells when something runs out.
        ask: sends a request to IAM or to the metadata service.

    Raises:
        ConfigError: IAM's endpoint, where one is given, is malformed.
    """

    def __init__(self, auth: Auth, site: Site, clock: Clock, ask: Ask) -> None:
        given = os.environ.get("HUAWEICLOUD_SDK_IAM_ENDPOINT", "").strip()
        given = given or (auth.iam_endpoint if isinstance(auth, KeyAuth) else "")
        self._desk = Desk(ask, iam_of(site, given), site.region, site.project_id, clock.wall)
        self._auth = auth.at(self._desk) if isinstance(auth, LeasedAuth) else auth
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
        auth = self._auth
        if not isinstance(auth, LeasedAuth) or not auth.due(self._clock.wall()):
            return
        if self._renewing.locked() and auth.usable(self._clock.wall()):
            return
        async with self._renewing:
            now = self._clock.wall()
            if auth.due(now):
                await auth.refresh(now)

    async def headers(self, unsigned: Unsigned) -> Mapping[str, str]:
        """Sign with a key or token whose time is not over.

        Raises:
            AuthError: there is none, and it is denied.
            NotSent: there is none, and it cannot be had now.
        """
        await self.ready()
        return self._auth.headers(unsigned, self._clock.wall())

    async def renewed(self, unsigned: Unsigned, spent: Mapping[str, str]) -> bool:
        """Renew the token that ``spent`` carried, unless another caller has just done so.

        Raises:
            AuthError: it is denied.
            NotAccepted: it cannot be had now.
        """
        async with self._renewing:
            if _token(self._auth.headers(unsigned, self._clock.wall())) != _token(spent):
                return True
            try:
                return await self._auth.renew()
            except NotSent as e:
                # The request that brought this to light was answered: it is not provably unsent.
                raise NotAccepted(e.message, answered=True) from None
            except EcsbatchError:
                raise
            except Exception as e:  # noqa: BLE001 - what renews a token may be anybody's
                cause = e if self.redact(str(e)) == str(e) else None
                raise AuthError(f"The token ran out and could not be renewed: {self.reason(e)}.") from cause

    async def find_project(self) -> str:
        """Look the region's project up.

        Raises:
            ConfigError: there is none, or there are several.
            AuthError: the key, the token or the address will not do.
            NotSent: IAM does not answer.
        """
        try:
            return await find_project(self._desk, self._auth)
        except TokenExpired:
            if not await self._auth.renew():
                raise
        return await find_project(self._desk, self._auth)

    def reason(self, error: Exception) -> str:
        """Return what an error of someone else's says, fit to be shown."""
        return cut(self.redact(clean(str(error))).rstrip(".")) or type(error).__name__


def _token(headers: Mapping[str, str]) -> str | None:
    """Return the part of the headers that a renewal changes."""
    return headers.get("X-Auth-Token") or headers.get("X-Security-Token")
