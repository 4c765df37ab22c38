"""The metadata service of an ECS server: temporary keys of the agency that the server has.

ECS user guide, "Obtaining metadata": ``PUT /meta-data/latest/api/token`` (old services do not have it), then
``GET /openstack/latest/securitykey``. The address is link-local: the answer comes from the host at once or never, so
three seconds are enough, and a machine that is no ECS server is not asked unless somebody wants it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from ecsbatch.ecs.auth.iam import moment
from ecsbatch.ecs.auth.refresh import IssueContext, IssuedAuth, RefreshableAuth, issued
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.endpoint import is_near
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import AuthError, CloudError, ConfigError, NotSent

ENDPOINT: Final = "http://169.254.169.254"
TIMEOUT: Final = 3.0
"""Seconds for each of the two requests."""

TOKEN_SECONDS: Final = 21_600
"""Seconds for which the service's own token is asked, a new one each time; it has nothing to do with the keys."""

_KEY_LASTS: Final = 3600.0
_NO_TOKENS_HERE: Final = {404, 405, 503}
_NOT_FOUND: Final = 404
_OK: Final = 200
_TAGS: Final = {"HUAWEICLOUD", "OpenTelekomCloud"}
"""How a server's firmware names its chassis (cloud-init, ``DataSourceOpenStack``)."""


def metadata_auth(endpoint: str = "") -> RefreshableAuth:
    """Return the authentication by the server's agency.

    Args:
        endpoint: of the metadata service; "" for the usual one.

    Raises:
        ConfigError: the endpoint is not an address of this machine.
    """
    endpoint = (endpoint or ENDPOINT).rstrip("/")
    url = urlsplit(endpoint)
    if url.scheme != "http" or not is_near(url.hostname or "") or url.path or "@" in url.netloc:
        raise ConfigError("ECSBATCH_METADATA_ENDPOINT is malformed: give http:// and an address of this machine.")
    return RefreshableAuth("temporary key of the server's agency", partial(issue_key, endpoint))


def on_ecs_server(tag: Path = Path("/sys/class/dmi/id/chassis_asset_tag")) -> bool:
    """Return True where this machine's firmware says that it is a server of such a cloud; nothing is sent."""
    try:
        return tag.read_text(encoding="ascii").strip() in _TAGS
    except (OSError, ValueError):
        return False


async def issue_key(endpoint: str, context: IssueContext) -> IssuedAuth:
    """Get a temporary key.

    Raises:
        AuthError: the server has no agency.
        NotSent: the metadata service does not answer.
    """
    token = await _ask(context, Request("PUT", f"{endpoint}/meta-data/latest/api/token", _token_wish()))
    if token.status != _OK and token.status not in _NO_TOKENS_HERE:
        raise NotSent(f"The metadata service gives no key (HTTP {token.status}).")
    said = token.body.decode("ascii", "replace").strip() if token.status == _OK else ""
    headers = {"X-Metadata-Token": said} if said.isprintable() and said else {}
    answer = await _ask(context, Request("GET", f"{endpoint}/openstack/latest/securitykey", headers))
    if answer.status == _NOT_FOUND:
        raise AuthError("This server has no agency: give it one in the console, or export HUAWEICLOUD_SDK_AK and _SK.")
    if answer.status != _OK:
        raise NotSent(f"The metadata service gives no key (HTTP {answer.status}).")
    return _read(answer, context.wall())


def _token_wish() -> dict[str, str]:
    return {"X-Metadata-Token-Ttl-Seconds": str(TOKEN_SECONDS)}


def _read(answer: Answer, now: float) -> IssuedAuth:
    try:
        key: dict[str, Any] = orjson.loads(answer.body)["credential"]
        auth = KeyAuth(str(key["access"]), str(key["secret"]), str(key["securitytoken"]))
        ends = moment(key["expires_at"]) if key.get("expires_at") else 0.0
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError):
        raise NotSent("The metadata service gives no key: its answer is not the documented one.") from None
    return issued(auth, answer, ends, now, _KEY_LASTS)


async def _ask(context: IssueContext, request: Request) -> Answer:
    try:
        async with asyncio.timeout(TIMEOUT):
            return await context.ask(request)
    except TimeoutError:
        reason = f"no answer within {TIMEOUT:g} s"
    except CloudError as e:
        reason = e.message.rstrip(".").partition(": ")[2] or e.message.rstrip(".")
    raise NotSent(f"The metadata service gives no key: {reason}; it is there on ECS servers only.") from None
