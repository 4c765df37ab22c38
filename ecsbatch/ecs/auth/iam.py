"""IAM: tokens for a user's password, and a project's id by the name of its region.

API reference: KeystoneCreateUserTokenByPassword (``POST /v3/auth/tokens``; the token is in ``X-Subject-Token`` and
lasts 24 hours) and KeystoneListProjects (``GET /v3/projects``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from datetime import datetime
from functools import partial
from typing import Any, Final

import orjson

from ecsbatch.ecs.auth.refresh import IssueContext, IssuedAuth, RefreshableAuth, ask, issued
from ecsbatch.ecs.auth.schemes import JSON_TYPE, Auth, TokenAuth, UnsignedRequest, canonical_query
from ecsbatch.ecs.sender import Request
from ecsbatch.errors import AuthError, ConfigError, NotSent
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.text import one_line, truncate

_TOKEN_LASTS: Final = 86_400.0
_DENIED: Final = {400, 401, 403}
_NAMED_AT_MOST: Final = 8


@dataclass(frozen=True, slots=True)
class User:
    """An IAM user with the password and the account (domain) that it belongs to; a HUAWEI ID cannot get tokens."""

    name: str
    password: str = field(repr=False)
    domain: str


def password_auth(user: User, first: Auth | None = None) -> RefreshableAuth:
    """Return the authentication by a user's password; ``first`` is a token to use until it expires, if any."""
    name = f"token of the IAM user {user.name}"
    return RefreshableAuth(name, partial(issue_token, user), hide=(user.password,), first=first)


async def issue_token(user: User, context: IssueContext) -> IssuedAuth:
    """Get a token for the project (KeystoneCreateUserTokenByPassword), or for the region's where its id is not known.

    Raises:
        AuthError: the user, the password or the domain is wrong.
        NotSent: IAM gives no token now.
        ConfigError: it is not known which IAM to ask, or for which project.
    """
    if not context.iam:
        raise _no_iam("A token for the IAM user")
    if not context.project_id and not context.region:
        raise ConfigError("A token for an IAM user is for a project: give its id, or the region.").about(
            "project_id", "region"
        )
    request = Request("POST", f"{context.iam}/v3/auth/tokens", {"Content-Type": JSON_TYPE}, _body(user, context))
    try:
        answer = await ask(context, request, "A token", _nothing)
    except AuthError as e:
        if e.status in _DENIED:
            e.message = (
                f"IAM does not accept the user {user.name!r} of {user.domain!r} or the password: "
                "check ECSBATCH_IAM_USER, ECSBATCH_IAM_PASSWORD and ECSBATCH_IAM_DOMAIN."
            )
        raise
    try:
        auth = TokenAuth(answer.headers.get("x-subject-token", ""))
    except ConfigError:
        raise NotSent("A token cannot be had: IAM's answer has none, check HUAWEICLOUD_SDK_IAM_ENDPOINT.") from None
    return issued(auth, answer, _token_ends(answer.body), context.wall(), _TOKEN_LASTS)


async def find_project(context: IssueContext, auth: Auth) -> str:
    """Return the id of the region's project (KeystoneListProjects).

    Raises:
        ConfigError: the region has no project, or several, which the message names.
        AuthError: the key or token is wrong.
        NotSent: IAM does not answer.
    """
    if not context.iam and context.region:
        raise _no_iam("The project's id, unless it is given,").about("project_id")
    if not context.region:
        raise ConfigError(
            "No project id: give it or export HUAWEICLOUD_SDK_PROJECT_ID (My Credentials in the console), or give the"
            " region to have it looked up."
        ).about("project_id", "region")
    host = context.iam.partition("://")[2]
    query = canonical_query([("name", context.region)])
    headers = auth.headers(UnsignedRequest("GET", host, "/v3/projects", query, b"", ""), context.wall())
    request = Request("GET", f"{context.iam}/v3/projects?{query}", headers)
    unanswered = f"Is there a region {context.region}? Check the region, then the network and HTTPS_PROXY."
    try:
        answer = await ask(context, request, "The project's id", auth.redact, unanswered=unanswered)
    except NotSent as e:
        raise e.about("region") from None
    return _the_one(_projects(answer.body, auth.redact), context.region)


def _no_iam(what: str) -> ConfigError:
    return ConfigError(
        f"{what} has to come from an IAM that is not known for this endpoint, and no password or token is sent to a "
        "guessed one: export HUAWEICLOUD_SDK_IAM_ENDPOINT=https://HOST."
    )


def _projects(body: bytes, redact: Callable[[str], str]) -> list[tuple[str, str]]:
    """Return ids and names of projects, fit to be shown."""
    try:
        rows: list[Any] = orjson.loads(body)["projects"]
        return [(redact(one_line(str(row["id"]))), redact(one_line(str(row.get("name") or "")))) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotSent("The project's id cannot be had: IAM's answer is no list of projects.") from None


def _the_one(projects: list[tuple[str, str]], region: str) -> str:
    if len(projects) == 1:
        return projects[0][0]
    if not projects:
        raise ConfigError(
            f"No project is named {region}: check the region, or give the project's id (My Credentials in the console)."
        ).about("region", "project_id")
    names = [truncate(f"{id_} ({name})", 120) for id_, name in projects[:_NAMED_AT_MOST]]
    more = f" and {len(projects) - len(names)} more" if len(projects) > len(names) else ""
    told = f"Region {region} has several projects: give the id of one: {', '.join(names)}{more}."
    raise ConfigError(told).about("project_id")


def _body(user: User, context: IssueContext) -> bytes:
    project = {"id": context.project_id} if context.project_id else {"name": context.region}
    who = {"name": user.name, "password": user.password, "domain": {"name": user.domain}}
    identity = {"methods": ["password"], "password": {"user": who}}
    return orjson.dumps({"auth": {"identity": identity, "scope": {"project": project}}})


def _token_ends(body: bytes) -> float:
    """Return ``token.expires_at`` in seconds since 1970; 0 where there is none that can be read."""
    try:
        return moment(orjson.loads(body)["token"]["expires_at"])
    except (ValueError, KeyError, TypeError):
        return 0.0


def moment(text: str) -> float:
    """Return a time of the cloud, in UTC, in seconds since 1970.

    Raises:
        ValueError: the text is no time.
    """
    return datetime.fromisoformat(text).timestamp()


def _nothing(_text: str) -> str:
    """Show nothing of an answer to a password: it may echo the password in any spelling."""
    return ""
