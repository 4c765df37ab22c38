r"""Signs requests: SDK-HMAC-SHA256 signatures and tokens, without any I/O. `Auth` is what an authentication does.

The signature (API reference, "AK/SK signing"; huaweicloudsdkcore ``signer.py``)::

    canonical request = METHOD \n path/ \n query \n headers \n names of the headers \n sha256(body)
    string to sign    = SDK-HMAC-SHA256 \n date \n sha256(canonical request)
    signature         = hex(HMAC-SHA256(secret key, string to sign))

The gateway recomputes it from the bytes it receives, so the query that is signed and the query on the wire are one
string: `canonical_query` makes it, and nothing may encode it again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Final, Protocol
from urllib.parse import quote, unquote

from ecsbatch.errors import ConfigError
from ecsbatch.lazy_dataclass import dataclass

ALGORITHM: Final = "SDK-HMAC-SHA256"
JSON_TYPE: Final = "application/json;charset=utf-8"

NOT_SEARCHED: Final = "(not shown, for it could not be searched for secrets)"
"""Stands for a text where an `Auth` fails to hide its secrets."""

_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
_NOTHING_TO_QUOTE: Final = re.compile(r"[A-Za-z0-9_.~,-]*")
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_.~/-]*")
_SECRET: Final = re.compile(r"[!-~]+")
_SIGNATURE: Final = re.compile(r"(Signature=)[0-9a-f]+")
_SHOWN: Final = 4
_HIDDEN: Final = "***"
_WORTH_HIDING: Final = 6
"""Characters of a secret: real ones have 20 and more; hiding a shorter one would hide ordinary words."""

_HEAD: Final = 10
"""Characters of a secret's beginning that are hidden wherever they are; fewer might be an ordinary word."""


@dataclass(frozen=True, slots=True)
class UnsignedRequest:
    """What is to be signed.

    Attributes:
        method: ``GET`` or ``POST``.
        host: as in the endpoint, with its port where that is not the scheme's own.
        path: percent-encoded, as it goes on the wire.
        query: percent-encoded and sorted, as it goes on the wire; "" for none.
        body: b"" for none; a request with a body is sent as ``application/json;charset=utf-8``.
        project_id: goes into ``X-Project-Id``; sub-projects need it. "" where the request is about no project.
    """

    method: str
    host: str
    path: str
    query: str
    body: bytes
    project_id: str


class Auth(Protocol):
    """How an `EcsClient` signs its requests: a `KeyAuth`, a `TokenAuth`, what `credentials` finds, or one of your own.

    One of your own is for keys that come from elsewhere, such as a vault. It has three methods and inherits nothing:

        class VaultAuth:
            def __init__(self, vault):
                self.vault, self.key = vault, KeyAuth(*vault.key())

            def headers(self, request, now):
                return self.key.headers(request, now)

            async def renew(self):
                self.key = KeyAuth(*await self.vault.next_key())
                return True

            def redact(self, text):
                return self.key.redact(text)

    Where your program knows by itself that there is another key, it sets it: ``ecs.auth = KeyAuth(...)``.
    """

    def headers(self, request: UnsignedRequest, now: float) -> Mapping[str, str]:
        """Return all headers to send. Pure; called inside each attempt, since a signature is valid for 15 minutes.

        Args:
            request: what is to be signed.
            now: seconds since 1970.

        Raises:
            AuthError: there is no key; it ends a run at once. Any other exception means that this request is not sent.
        """
        ...

    async def renew(self) -> bool:
        """Get a new token in place of one that has expired; return False where there is nothing to renew.

        The client calls it for one caller at a time, and not where another has just renewed it.

        Raises:
            AuthError: the next one is denied. Any other exception is taken for this.
        """
        ...

    def redact(self, text: str) -> str:
        """Return a text of the cloud without any secret of yours that it may echo; where this raises, none is shown."""
        ...


def quoted(text: str) -> str:
    """Percent-encode all but letters, digits and ``-_.~``."""
    if _NOTHING_TO_QUOTE.fullmatch(text):
        return text.replace(",", "%2C")
    return quote(text, safe="~")


def canonical_query(params: Iterable[tuple[str, str]]) -> str:
    """Return the query as it is signed and sent: sorted by name, then by value."""
    return "&".join([f"{quoted(name)}={quoted(value)}" for name, value in sorted(params)])


def _canonical_path(path: str) -> str:
    """Return the path as it is signed, with a slash at its end that is not sent."""
    if not _PLAIN_PATH.fullmatch(path):
        path = "/".join([quote(part, safe="~") for part in unquote(path).split("/")])
    return path if path.endswith("/") else path + "/"


def canonical_request(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    """Return the canonical request and the list of the headers that it covers.

    Args:
        method: the HTTP method.
        path: the path, percent-encoded or not.
        query: from `canonical_query`.
        headers: all headers to be signed; names with an underscore are left out, as gateways drop them.
        body: the bytes to be sent.
    """
    lines, signed, given = _canonical_headers(tuple(headers.items()))
    digest = (given or hashlib.sha256(body).hexdigest()) if body else _EMPTY_SHA256
    return f"{method}\n{_canonical_path(path)}\n{query}\n{lines}\n{signed}\n{digest}", signed


@lru_cache(maxsize=4)
def _canonical_headers(headers: tuple[tuple[str, str], ...]) -> tuple[str, str, str]:
    """Return headers as they are signed, their names, and the digest of the body that they give, "" where they do not.

    Requests of one second have the same ones.
    """
    lower = sorted([(name.lower(), value.strip()) for name, value in headers if "_" not in name])
    lines = "".join([f"{name}:{value}\n" for name, value in lower])
    return lines, ";".join([name for name, _ in lower]), dict(lower).get("x-sdk-content-sha256", "")


def authorization(access_key: str, secret_key: str, date: str, canonical: str, signed: str) -> str:
    """Return the ``Authorization`` header.

    Args:
        access_key: the key's public half.
        secret_key: its secret half.
        date: the ``X-Sdk-Date`` that is among the signed headers.
        canonical: from `canonical_request`.
        signed: the names of the headers that it covers.
    """
    to_sign = f"{ALGORITHM}\n{date}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signing = _keyed(secret_key).copy()
    signing.update(to_sign.encode())
    return f"{ALGORITHM} Access={access_key}, SignedHeaders={signed}, Signature={signing.hexdigest()}"


@lru_cache(maxsize=4)
def _keyed(secret_key: str) -> hmac.HMAC:
    """Return what signs by a key, made once: to set it up takes longer than to sign."""
    return hmac.new(secret_key.encode(), digestmod="sha256")


def sdk_date(now: float) -> str:
    """Return seconds since 1970 in the form of ``X-Sdk-Date``: 20250101T000000Z."""
    return _date_of_second(int(now))


@lru_cache(maxsize=4)
def _date_of_second(second: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


def _checked(name: str, secret: str) -> str:
    """Return a secret that a header can have.

    Raises:
        ConfigError: it is empty or has characters that no header can have; the message does not repeat it.
    """
    if not _SECRET.fullmatch(secret):
        raise ConfigError(f"The {name} is empty or holds blanks or unprintable characters: copy it again.")
    return secret


def hide(secret: str, text: str) -> str:
    """Return a text without a secret, and without the beginning of it that a cut-off echo may show.

    It is found as well where what echoed it has escaped some of it, for a URL, HTML or JSON, or has broken its line.
    """
    # Most texts are words such as SUCCESS, shorter than any spelling of the beginning.
    if len(secret) < _WORTH_HIDING or len(text) < min(len(secret), _HEAD):
        return text
    text = text.replace(secret, _HIDDEN)
    begins, rest = _beginning(secret[:_HEAD]), secret[_HEAD:]
    pieces, done = list[str](), 0
    while found := begins.search(text, done):
        pieces += text[done : found.start()], _HIDDEN
        done = found.end()
        for char in rest:
            if (same := _next(char).match(text, done)) is None:
                break
            done = same.end()
    return "".join([*pieces, text[done:]])


@lru_cache(maxsize=32)
def _beginning(head: str) -> re.Pattern[str]:
    return re.compile(r"\s*".join(map(_spelled, head)))


@cache
def _next(char: str) -> re.Pattern[str]:
    return re.compile(rf"\s*{_spelled(char)}")


def _spelled(char: str) -> str:
    """Return how a character may be written: as it is, or escaped for JSON, a URL or HTML."""
    if char.isalnum():
        return char
    code = ord(char)
    return rf"(?:\\?{re.escape(char)}|(?i:%{code:02x}|\\u{code:04x}|&\#x0*{code:x};)|&\#0*{code};)"


class KeyAuth:
    """An access key, permanent or temporary: every request is signed with it, and the secret never leaves.

        EcsClient(region="eu-west-101", auth=KeyAuth(access_key, secret_key))

    It is as it was given: `credentials` follows a key in a file or in the environment that may change. Its repr shows
    the first four letters of the key's id and nothing else.

    Args:
        access_key: the key's id (AK).
        secret_key: its secret (SK).
        security_token: of a temporary key, "" for a permanent one.
        project_id: the project that the client takes where it was given none.
        iam_endpoint: where the client asks for the project's id, "" for the IAM of its region.

    Attributes:
        project_id, iam_endpoint: as given.

    Raises:
        ConfigError: a part is empty or has characters that no header can have; the message does not repeat it.
    """

    __slots__ = ("_access_key", "_secret_key", "_security_token", "iam_endpoint", "project_id")

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        security_token: str = "",
        *,
        project_id: str = "",
        iam_endpoint: str = "",
    ) -> None:
        self.project_id = project_id
        self.iam_endpoint = iam_endpoint
        self._access_key = _checked("access key", access_key)
        self._secret_key = _checked("secret key", secret_key)
        self._security_token = _checked("security token", security_token) if security_token else ""

    def __repr__(self) -> str:
        temporary = ", temporary" if self._security_token else ""
        return f"<KeyAuth {self._access_key[:_SHOWN]}{_HIDDEN}{temporary}>"

    def same_as(self, other: KeyAuth) -> bool:
        """Tell whether another one has the same key."""
        return self._parts() == other._parts()

    def _parts(self) -> tuple[str, str, str]:
        return self._access_key, self._secret_key, self._security_token

    def headers(self, request: UnsignedRequest, now: float) -> Mapping[str, str]:
        """Return the signed headers and their signature."""
        date = sdk_date(now)
        headers = {"Host": request.host, "X-Sdk-Date": date}
        if request.project_id:
            headers["X-Project-Id"] = request.project_id
        if self._security_token:
            headers["X-Security-Token"] = self._security_token
        if request.body:
            headers["Content-Type"] = JSON_TYPE
        canonical, signed = canonical_request(request.method, request.path, request.query, headers, request.body)
        headers["Authorization"] = authorization(self._access_key, self._secret_key, date, canonical, signed)
        return headers

    async def renew(self) -> bool:
        """Return False: a given key cannot be renewed."""
        return False

    def redact(self, text: str) -> str:
        """Hide the key's three parts and any signature."""
        for secret in (self._secret_key, self._security_token, self._access_key):
            text = hide(secret, text)
        return _SIGNATURE.sub(r"\1" + _HIDDEN, text) if "Signature=" in text else text


class TokenAuth:
    """An IAM token of the project, valid for 24 hours at most; a request after its end raises `TokenExpired`.

        EcsClient(region="eu-west-101", auth=TokenAuth(token))

    Whoever has the next one sets it in time: ``ecs.auth = TokenAuth(...)``. What `credentials` finds of a user and a
    password gets its tokens by itself. Its repr shows nothing of the token.

    Args:
        token: as IAM gave it in ``X-Subject-Token``.

    Raises:
        ConfigError: the token is empty or has characters that no header can have; the message does not repeat it.
    """

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token = _checked("token", token)

    def __repr__(self) -> str:
        return f"<TokenAuth {_HIDDEN}>"

    def headers(self, request: UnsignedRequest, now: float) -> Mapping[str, str]:  # noqa: ARG002 - a token has no date
        """Return the headers with the token; nothing is signed."""
        headers = {"Host": request.host, "X-Auth-Token": self._token}
        if request.project_id:
            headers["X-Project-Id"] = request.project_id
        if request.body:
            headers["Content-Type"] = JSON_TYPE
        return headers

    async def renew(self) -> bool:
        """Return False: a given token cannot be renewed."""
        return False

    def redact(self, text: str) -> str:
        """Hide the token."""
        return hide(self._token, text)
