"""Where a store is: a file, memory, or a PostgreSQL database; and how the connection to that one is protected.

`postgres_address` says what to connect with. libpq itself is asked what it would use, so that a service file, variables
and several hosts count as they do everywhere; `protection` decides on TLS from its answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import field
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from ecsbatch.errors import ConfigError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.arguments import nearest
from ecsbatch.model.store_url import FORMS, StoreKind, kind_of, well_formed
from ecsbatch.model.text import printable

_SCHEMES: Final = frozenset({"sqlite", "postgresql", "postgres"})

INSTALL: Final = "pip install 'ecsbatch[postgres]'"

_VERIFIED: Final = "verify-full"
_SYSTEM: Final = "system"
_KNOWS_SYSTEM: Final = 160_000
"""The first libpq to which ``sslrootcert=system`` is more than the name of a file."""

_NOWHERE: Final = "nowhere"
"""No value of ``gssencmode``: with it libpq says what it would use, and connects to nobody."""

_PORT: Final = "5432"
_NO_NAME: Final = frozenset({"", "/", "@"})
"""How a host begins that is no name: one that is left out, a socket's folder, a socket without one."""
_LOCAL: Final = frozenset({"localhost", "localhost."})

_OTHERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("disable", "allow", "prefer"), "whoever listens on the way reads it, and may change it"),
    "require": "whoever stands on the way may be who answers",
    "verify-ca": "whoever has any certificate of the same authority may be who answers",
}
"""What others can do where ``sslmode`` is less than to verify who answers."""

_BUNDLES: Final = (
    *("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"),
    *("/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"),
)
"""Where systems keep the certificates that they trust, for a Python that was built elsewhere."""


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A PostgreSQL database, as it is connected to and as it is shown.

    Attributes:
        name: a URL for people: it says which database it is, and nothing that is secret.
        parameters: what to connect with; libpq adds its files and variables to it.
        protection: how the connection is protected, for people.
        warning: why it is protected less than it should be and what to do about it; "" where it is not.
    """

    name: str
    parameters: Mapping[str, str] = field(repr=False)
    protection: str
    warning: str = ""


class ServerAddress(NamedTuple):
    """One of the servers that a URL names; "" for what it leaves out."""

    host: str
    address: str
    port: str

    @property
    def is_socket(self) -> bool:
        """True for a socket of this machine, which is also where nothing is named."""
        return not self.address and self.host[:1] in _NO_NAME

    @property
    def is_here(self) -> bool:
        """True for this machine: its sockets and its loopback."""
        return self.is_socket or _is_loopback(self.address or self.host)


class Protection(NamedTuple):
    """How a connection is protected: what to connect with for it, how it is told, and what is to be warned of."""

    parameters: Mapping[str, str]
    text: str
    warning: str = ""


def known_kind(url: str) -> StoreKind:
    """Return of which kind the store of a URL is.

    Raises:
        ConfigError: of none that is known.
    """
    kind = kind_of(url)
    if kind is None:
        raise _unknown(url)
    return kind


def path_of(url: str) -> Path:
    """Return the file that a URL names.

    Raises:
        ConfigError: the URL names no file.
    """
    path = url.removeprefix("sqlite:///")
    if path == url or not path or path.startswith(":") or "?" in path:
        raise _unknown(url)
    return Path(path).expanduser()


def weakness_of(url: str, *, read_only: bool = False) -> str:
    """Return why the way to a store is protected less than it should be and what to do about it, "" where it is not.

    Raises:
        ConfigError: the URL is of no known kind, or cannot be understood.
    """
    kind = known_kind(url)
    if kind == "sqlite":
        path_of(url)
    return postgres_address(url, read_only=read_only).warning if kind == "postgres" else ""


def _unknown(url: str) -> ConfigError:
    """Refuse a URL; the rest of it is not shown, for it may contain a password."""
    scheme, colon, _ = url.partition(":")
    what = f"a {scheme!r} URL of this form" if colon and scheme in _SCHEMES else "what is no URL of a store"
    return ConfigError(f"A store cannot be opened by {what}: give {FORMS}.")


def postgres_address(url: str, *, read_only: bool = False) -> PostgresAddress:
    """Return what a PostgreSQL URL says, with what libpq adds to it by a service file and variables.

    Args:
        url: in any of libpq's forms of a URL.
        read_only: the caller only reads, for which a standby will do where several hosts are named.

    Raises:
        ConfigError: psycopg is not installed, or libpq does not understand the URL or its service.
    """
    given = _given(url)
    used, version = _used(given)
    # `prefer` in a service file cannot be told from libpq's own default, and counts as that.
    mode_said = "sslmode" in given or bool(os.environ.get("PGSSLMODE")) or used.get("sslmode", "prefer") != "prefer"
    ours = protection(used, mode_said=mode_said, version=version)
    parameters = {**given, **ours.parameters}
    if len(places_of(used)) > 1 and not read_only and used.get("target_session_attrs", "any") == "any":
        parameters["target_session_attrs"] = "read-write"
    return PostgresAddress(name_of(used), parameters, ours.text, ours.warning)


def _given(url: str) -> dict[str, str]:
    """Return the parameters that stand in a URL."""
    try:
        from psycopg import ProgrammingError  # noqa: PLC0415 - an extra, imported for such a store alone
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - the same
    except ImportError:
        raise ConfigError(f"A store of the form postgresql:// needs psycopg, which is not here: {INSTALL}.") from None
    try:
        if well_formed(url):
            return {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except (ProgrammingError, UnicodeError):
        # Its text repeats what was given.
        pass
    raise ConfigError(f"The store's postgresql:// URL cannot be understood: {_mistake(url)}.")


def _mistake(url: str) -> str:
    """Say what may be wrong with a URL, and repeat nothing of it."""
    from psycopg import pq  # noqa: PLC0415 - as above

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | {"ssl"}
    if well_formed(url):
        for item in filter(None, url.partition("?")[2].split("&")):
            key, there, _ = item.partition("=")
            if there and unquote(key) not in known and (near := nearest(unquote(key), known)):
                return f"it has no such parameter as one of those behind the question mark, the nearest is {near}"
    return "give postgresql://user@host:port/database?name=value, with @ / : % in a name written as %40 %2F %3A %25"


def _used(given: Mapping[str, str]) -> tuple[dict[str, str], int]:
    """Return all parameters that libpq would use, and libpq's version.

    Raises:
        ConfigError: there is no such service.
    """
    from psycopg import pq  # noqa: PLC0415 - as above
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - the same

    asked = pq.PGconn.connect_start(make_conninfo(**{**given, "gssencmode": _NOWHERE}).encode())
    try:
        used = {each.keyword.decode(): each.val.decode() for each in asked.info if each.val}
        said = asked.error_message.decode(errors="replace")
    finally:
        asked.finish()
    if used.get("gssencmode") != _NOWHERE:
        # It got no further than to the service: what it says of that repeats nothing else.
        raise ConfigError(
            f"The store's service cannot be used ({printable(said.strip())}): mend its file, or its name."
        )
    return used, pq.version()


def places_of(used: Mapping[str, str]) -> list[ServerAddress]:
    """Return the servers that parameters of libpq name, in their order."""
    hosts, addresses, ports = (used.get(name, "").split(",") for name in ("host", "hostaddr", "port"))
    count = max(len(hosts), len(addresses))
    return [ServerAddress(_of(hosts, at), _of(addresses, at), _of(ports, at) or _PORT) for at in range(count)]


def _of(values: list[str], place: int) -> str:
    return values[place] if place < len(values) else values[0] if len(values) == 1 else ""


def _is_loopback(host: str) -> bool:
    if host in _LOCAL:
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def name_of(used: Mapping[str, str]) -> str:
    """Return a URL that tells user, hosts, ports and database, as it could be given again."""
    user, places = used.get("user", ""), places_of(used)
    database = quote(used.get("dbname", user), safe="")
    who = f"{quote(user, safe='')}@" if user else ""
    if len(places) > 1 or not places[0].is_socket:
        return f"postgresql://{who}{','.join(map(_written, places))}/{database}"
    asks = [f"host={quote(places[0].host)}"] if places[0].host else []
    asks += [f"port={places[0].port}"] if places[0].port != _PORT else []
    return f"postgresql://{who}/{database}{'?' if asks else ''}{'&'.join(asks)}"


def _written(place: ServerAddress) -> str:
    host = place.host or place.address
    return f"[{quote(host, safe=':')}]:{place.port}" if ":" in host else f"{quote(host, safe='')}:{place.port}"


def protection(used: Mapping[str, str], *, mode_said: bool, version: int) -> Protection:
    """Decide how the connection to a database is protected.

    Where nothing else is said, another machine must prove its name by a certificate that this system trusts.

    Args:
        used: what libpq would use.
        mode_said: whether its ``sslmode`` was said by anybody.
        version: libpq's.

    Raises:
        ConfigError: nothing can be verified by what is known.
    """
    places = places_of(used)
    away = [place for place in places if not place.is_here]
    mode = used.get("sslmode", "") if mode_said else _VERIFIED if away else ""
    if mode == _VERIFIED:
        if any(place.host[:1] in _NO_NAME for place in away):
            raise ConfigError("The store's URL has a hostaddr without a host, the name in its certificate: give both.")
        return _verified(used, version)
    if not away:
        return Protection({}, "a socket of this machine" if places[0].is_socket else "this machine's loopback")
    if mode in {"require", "verify-ca"} and used.get("channel_binding") == "require":
        return Protection({}, "TLS, verified by the password that both know (channel binding)")
    others = _OTHERS.get(mode, "who answers is not verified")
    hosts = ", ".join(place.host or place.address for place in away)
    weak = f"sslmode={printable(mode, 20)}"
    return Protection({}, weak, f"{weak} to {printable(hosts)}: {others}; sslmode={_VERIFIED} prevents it")


def _verified(used: Mapping[str, str], version: int) -> Protection:
    """Say by which certificates the server's is verified."""
    root = used.get("sslrootcert", "")
    if root not in {"", _SYSTEM}:
        return Protection({"sslmode": _VERIFIED}, f"TLS, verified by {printable(root)}")
    if not root and _own_authority().is_file():
        return Protection({"sslmode": _VERIFIED}, f"TLS, verified by {_own_authority()}")
    # psycopg's own wheels look for them in a folder that no system has.
    bundle = next(_bundles(), "")
    if not bundle and version < _KNOWS_SYSTEM:
        raise ConfigError(
            "The certificates that this system trusts are not found, by which the store's database would be verified: "
            "install them (ca-certificates), or name a file of your own with sslrootcert=FILE in the URL."
        )
    parameters = {"sslmode": _VERIFIED, "sslrootcert": bundle or _SYSTEM}
    return Protection(parameters, "TLS, verified by the certificates of the system")


def _own_authority() -> Path:
    return Path.home() / ".postgresql" / "root.crt"


def _bundles() -> Iterator[str]:
    from ssl import get_default_verify_paths  # noqa: PLC0415 - slow to import, and seldom needed

    yield from (each for each in (get_default_verify_paths().cafile, *_BUNDLES) if each and Path(each).is_file())
