"""Who may see the page: asked for by which name, with which token, out of which other page. Decisions alone.

The token opens everything. It is carried by the first address only, which gives the browser a cookie and leads on to
an address without it; the cookie is made from the token and does not tell it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Final

from ecsbatch.lazy_dataclass import dataclass

METHODS: Final = frozenset({"GET", "HEAD", "POST"})

HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Server": "ecsbatch",
    }
)
"""Of every answer, errors too."""

UNKNOWN: Final = (
    "This page needs its token: open the address that ecsbatch printed when it started, which begins with Page:."
)
_FOREIGN_HOST: Final = (
    "This page is not known by the name that it was asked for: open it as it was printed, or start ecsbatch with "
    "--dashboard-host and this name."
)
_FOREIGN_PAGE: Final = "Another page has asked for this, and is not answered."
_NO_METHOD: Final = "Nothing here is done by this method."
_NO_CSRF: Final = "The page that asked for this is an old one: reload it."

_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of itself; texts are as they came, "" where there is none.

    Attributes:
        method, path, host: of the request.
        origin: the page that a browser says has asked, by ``Origin``.
        site: how near that page is, by ``Sec-Fetch-Site``.
        cookie: the value of the page's own cookie.
        bearer: the token of ``Authorization: Bearer``.
        token: that of the address; None where the address has none.
        csrf: the value that the page got with its session.
    """

    method: str
    path: str
    host: str
    origin: str = ""
    site: str = ""
    cookie: str = ""
    bearer: str = ""
    token: str | None = None
    csrf: str = ""

    @property
    def is_entrance(self) -> bool:
        """True for the page itself, which links may lead to."""
        return self.path == "/" and self.method != "POST"


@dataclass(frozen=True, slots=True)
class NoEntry:
    """Why a request is refused: the HTTP status and a sentence."""

    status: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Access:
    """What it takes to see one page.

    Attributes:
        token: the secret.
        port: that the page listens at.
        names: hosts by which browsers may ask for it, as `host_of` returns them.
        secure: it is served over TLS.
    """

    token: str = field(repr=False)
    port: int
    names: frozenset[str] = _OWN_NAMES
    secure: bool = False

    @property
    def cookie_name(self) -> str:
        """One for each port and token: browsers tell neither ports apart nor machines that tunnels lead to."""
        return f"ecsbatch-{self.port}-{self._derived('name')[:8]}"

    @property
    def cookie(self) -> str:
        """What the cookie says; no way leads from it to the token."""
        return self._derived("cookie")

    @property
    def csrf(self) -> str:
        """What a page has to say when it changes something: other pages cannot read it."""
        return self._derived("csrf")

    @property
    def set_cookie(self) -> str:
        """The header that gives a browser the cookie."""
        secure = "; Secure" if self.secure else ""
        return f"{self.cookie_name}={self.cookie}; HttpOnly; SameSite=Strict; Path=/{secure}"

    def refusal(self, asked: Asked) -> NoEntry | None:
        """Return why a request is not answered; None where it is."""
        wrong = (
            (host_of(asked.host) not in self.names, NoEntry(421, _FOREIGN_HOST)),
            (asked.method not in METHODS, NoEntry(405, _NO_METHOD)),
            (self._is_foreign(asked), NoEntry(403, _FOREIGN_PAGE)),
            (not (self.enters(asked) or self._is_known(asked)), NoEntry(401, UNKNOWN)),
            (asked.method == "POST" and not _same(asked.csrf, self.csrf), NoEntry(403, _NO_CSRF)),
        )
        return next((why for is_so, why in wrong if is_so), None)

    def enters(self, asked: Asked) -> bool:
        """Tell whether a request carries the token in its address, where that is taken."""
        return asked.is_entrance and asked.token is not None and _same(asked.token, self.token)

    def _is_foreign(self, asked: Asked) -> bool:
        """Tell whether another page has asked; from elsewhere links lead to the entrance alone."""
        if asked.method == "POST" and asked.origin != self._origin(asked.host):
            return True
        return asked.site in {"cross-site", "same-site"} and not asked.is_entrance

    def _is_known(self, asked: Asked) -> bool:
        if asked.is_entrance and asked.token is not None:
            return False
        return _same(asked.cookie, self.cookie) or _same(asked.bearer, self.token)

    def _origin(self, host: str) -> str:
        return f"{'https' if self.secure else 'http'}://{host.lower()}"

    def _derived(self, purpose: str) -> str:
        return hmac.new(self.token.encode(), f"ecsbatch page {purpose}".encode(), "sha256").hexdigest()


def host_of(authority: str) -> str:
    """Return the host of a ``Host`` header in small letters, IPv6 in brackets; "" where it is none."""
    found = _AUTHORITY.fullmatch(authority.lower())
    return found[1].removesuffix(".") if found else ""


def names_of(address: str, more: tuple[str, ...] = ()) -> frozenset[str]:
    """Return all names of a page.

    Args:
        address: the IP address that it listens at, without brackets.
        more: by which browsers reach it, too.
    """
    listened = f"[{address}]" if ":" in address else address
    return _OWN_NAMES | {each.lower().removesuffix(".") for each in (listened, *more)}


def bearer_of(header: str) -> str:
    """Return the token of an ``Authorization`` header, "" where it has none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _same(given: str, wanted: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())
