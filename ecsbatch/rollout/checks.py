"""The built-in health checks: ``tcp:22``, ``http:8080/health``, ``url:http://host/{id}`` and ``cmd:./up {id}``.

SUCCESS of a job is the hypervisor's word; a check asks the server itself. Where that is not healthy yet it raises
`NotHealthy`, whose text says what was seen. Read `check_of` first.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlsplit

from ecsbatch.errors import ConfigError
from ecsbatch.model.servers import Server
from ecsbatch.model.text import first_words, without_user
from ecsbatch.rollout.check_addresses import AddressOf, NotHealthy, foreign_address, own_address, why_not_named
from ecsbatch.rollout.placeholders import VARIABLES, filled, placeholder_in_code, placeholders_in
from ecsbatch.rollout.programs import child_environment, run_program, split_command

if TYPE_CHECKING:
    import aiohttp

SHARE: Final = 0.8
"""The share of the engine's ``check_timeout`` that a check here takes, so that it is the check that says why."""

ONE_CHECK: Final = SHARE * 10.0
"""Seconds that one check may take by the default of ``check_timeout``."""

_FORMS: Final = '"tcp:22", "http:8080/health", "https:8443/health", "url:http://host/{id}" or "cmd:./up {id}"'
_HTTP: Final = re.compile(r"([0-9]{1,5})(/\S*)?")
_QUERY: Final = re.compile(r"\?.*")
_LAST_PORT: Final = 65_535


class ServerCheck(Protocol):
    """A check that may keep something open until it is closed."""

    async def __call__(self, server: Server) -> bool:
        """Return True where the server is healthy; raise `NotHealthy` where it is not."""
        ...

    async def aclose(self) -> None:
        """Close what it keeps open."""
        ...


def check_of(
    text: str,
    *,
    address_of: AddressOf | None = None,
    timeout: float = ONE_CHECK,
    pass_env: Collection[str] = (),
    ca_file: str = "",
    on_this_machine: bool = False,
) -> ServerCheck:
    """Make the check that a setting names.

    Args:
        text: one of the forms above; ``{id}``, ``{name}`` and ``{address}`` are the server's.
        address_of: where a server can be reached; None: its private address as the cloud's listing told it.
        timeout: seconds that one check may take.
        pass_env: credentials that a command gets, by their variables.
        ca_file: certificates to trust, in PEM: for ``https:`` the only ones, for ``url:https:`` besides the system's.
        on_this_machine: the cloud is on this machine (a simulator), so its servers may be as well.

    Raises:
        ConfigError: the text is none of these forms, it would have an interpreter read a server's data as code, or
            ``ca_file`` cannot be read or has nothing to verify.
    """
    kind, _, rest = text.strip().partition(":")
    address_of = address_of or (own_address if on_this_machine else foreign_address)
    if ca_file and not text.strip().startswith(("https:", "url:https:")):
        told = f"the check {_shown(text)!r} has no certificate to verify"
        raise ConfigError(f"check_ca = {ca_file!r}: {told}, leave it out.")
    match kind:
        case "tcp":
            return TcpCheck(_port(rest, text), address_of, timeout)
        case "http" | "https":
            found = _HTTP.fullmatch(rest)
            if found is None:
                raise _invalid(text)
            port, path = _port(found[1], text), found[2] or "/"
            tls = _chain_only(ca_file) if ca_file else False
            return HttpCheck(f"{kind}://{{address}}:{port}{path}", address_of, timeout, tls)
        case "url":
            tls = _context(ca_file) if ca_file else True
            return HttpCheck(_url(rest, text), address_of, timeout, tls, any_host=on_this_machine)
        case "cmd":
            return CommandCheck(_command(rest, text), address_of, timeout, pass_env)
        case _:
            raise _invalid(text)


def _context(ca_file: str) -> ssl.SSLContext:
    """Trust the file's certificates besides the system's, and verify the name."""
    context = ssl.create_default_context()
    _trust(context, ca_file)
    return context


def _chain_only(ca_file: str) -> ssl.SSLContext:
    """Trust the file's certificates alone, for whatever name: a server is asked by its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _trust(context, ca_file)
    return context


def _trust(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ValueError) as e:  # ssl.SSLError is an OSError
        why = getattr(e, "strerror", None) or e
        raise ConfigError(
            f"check_ca = {ca_file!r} cannot be read as PEM certificates ({why}):"
            " name the file of the authority that signed the servers' certificates."
        ) from None


def _invalid(text: str) -> ConfigError:
    return ConfigError(f"check = {_shown(text)!r}: give {_FORMS}.")


def _shown(text: str) -> str:
    """Return a check's text without what may be a secret in a URL: a user with a password, a query with a token."""
    return text if text.strip().startswith("cmd:") else _QUERY.sub("?***", without_user(text))


def _port(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits) <= _LAST_PORT):
        raise _invalid(text)
    return int(digits)


def _command(rest: str, text: str) -> Sequence[str]:
    words = split_command(rest)
    if any(placeholders_in(words[0])):
        raise ConfigError(f"The check {text!r} takes its program from a server's data: name the program.")
    if name := placeholder_in_code(words):
        variable = VARIABLES[name]
        raise ConfigError(
            f"The check {text!r} would run a server's {name} as code: write ${variable} (in double quotes) in place of "
            f"{{{name}}} in a shell's words, or read the environment variable {variable}, or give a program of your "
            f'own, as in "cmd:./up {{{name}}}".'
        )
    return words


def _url(template: str, text: str) -> str:
    try:
        parts = urlsplit(template)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise _invalid(text) from None
    if not known or any(c.isspace() for c in template):
        raise _invalid(text)
    if "@" in parts.netloc:
        raise ConfigError(
            f"check = {_shown(text)!r}: leave out what stands before the @, a URL of a check has no user or "
            'password: it stands in the record. Where one is needed give a program of your own, as in "cmd:./up {id}".'
        )
    return template


def _needed(address_of: AddressOf, server: Server) -> str:
    address = address_of(server)
    if not address:
        raise NotHealthy("its address is not known")
    return address


class TcpCheck:
    """Healthy where a connection to the port is accepted."""

    def __init__(self, port: int, address_of: AddressOf, timeout: float) -> None:
        self._port = port
        self._address_of = address_of
        self._timeout = timeout

    async def __call__(self, server: Server) -> bool:
        """Connect and disconnect; raises NotHealthy."""
        address = _needed(self._address_of, server)
        try:
            async with asyncio.timeout(self._timeout):
                _, writer = await asyncio.open_connection(address, self._port)
        except TimeoutError:
            raise NotHealthy(f"no connection to port {self._port} within {self._timeout:g} s") from None
        except OSError as e:
            raise NotHealthy(f"no connection to port {self._port}: {e}") from None
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await writer.wait_closed()
        return True

    async def aclose(self) -> None:
        """Do nothing: nothing is kept open."""


class HttpCheck:
    """Healthy where GET answers with 2xx or 3xx.

    A URL's certificate and name are verified. A server that is asked by its address is not verified, for hardly any
    certificate is made for an address and it gets nothing secret; with certificates of one's own its chain is.
    Redirects are an answer and are not followed.
    """

    def __init__(
        self,
        template: str,
        address_of: AddressOf,
        timeout: float,
        tls: ssl.SSLContext | bool,  # noqa: FBT001 - as aiohttp takes it
        *,
        any_host: bool = True,
    ) -> None:
        self._template = template
        self._address_of = address_of
        self._timeout = timeout
        self._tls = tls
        self._made_up = not any_host and any(placeholders_in(urlsplit(template).netloc.replace("{address}", "")))
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, server: Server) -> bool:
        """Ask once; raises NotHealthy."""
        import aiohttp  # noqa: PLC0415 - only those who check over HTTP pay for it

        url = self._url(server)
        if self._session is None:
            self._session = _new_session(aiohttp)
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.get(url, allow_redirects=False, ssl=self._tls) as answer,
            ):
                status = answer.status
        except TimeoutError:
            raise NotHealthy(f"no answer within {self._timeout:g} s") from None
        except aiohttp.ClientConnectorCertificateError as e:
            why = getattr(e.certificate_error, "verify_message", "") or str(e.certificate_error)
            raise NotHealthy(f"its certificate is not accepted: {why}") from None
        except aiohttp.ClientConnectorError as e:
            raise NotHealthy(f"no answer: {e.os_error.strerror or e.os_error}") from None
        except aiohttp.ClientResponseError as e:
            # Its text has the whole URL, in which may be a secret, and quotes the answer.
            words = first_words(e.message)
            raise NotHealthy(f"its answer is not HTTP{f': {words}' if words else ''}") from None
        except aiohttp.InvalidURL:
            raise NotHealthy("its URL has no host, or one that cannot be") from None
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise NotHealthy(f"no answer: {str(e) or type(e).__name__}") from None
        if not 200 <= status < 400:  # noqa: PLR2004 - the classes of HTTP's own statuses
            raise NotHealthy(f"it answered {status}")
        return True

    def _url(self, server: Server) -> str:
        values = {"id": quote(server.id, safe=""), "name": quote(server.name, safe=""), "address": ""}
        if "{address}" in self._template:
            address = _needed(self._address_of, server)
            values["address"] = f"[{address}]" if ":" in address else quote(address, safe="")
        url = filled(self._template, values)
        if self._made_up and (why := why_not_named(urlsplit(url).hostname or "")):
            raise NotHealthy(f"it is not asked: the host that its name or id makes up is {why}")
        return url

    async def aclose(self) -> None:
        """Close the session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _new_session(http: Any) -> aiohttp.ClientSession:
    """Make a session that keeps nothing: a kept connection may lead to a system that is just going down."""
    session: aiohttp.ClientSession = http.ClientSession(
        connector=http.TCPConnector(limit=0, force_close=True),
        cookie_jar=http.DummyCookieJar(),
        headers={"User-Agent": "ecsbatch-check"},
    )
    return session


class CommandCheck:
    """Healthy where a command ends with exit code 0; what it prints is ignored.

    It finds the server in its environment as well: ``ECSBATCH_SERVER_ID``, ``_NAME`` and ``_ADDRESS``.
    """

    def __init__(
        self, words: Sequence[str], address_of: AddressOf, timeout: float, pass_env: Collection[str] = ()
    ) -> None:
        self._words = tuple(words)
        self._address_of = address_of
        self._timeout = timeout
        self._pass_env = pass_env

    async def __call__(self, server: Server) -> bool:
        """Run it once; raises NotHealthy. A server's data fills words and never makes new ones."""
        values = {"id": server.id, "name": server.name, "address": ""}
        with suppress(NotHealthy):
            values["address"] = self._address_of(server)
        if any("{address}" in word for word in self._words):
            values["address"] = _needed(self._address_of, server)
        words = [filled(word, values) for word in self._words]
        if any(new.startswith("-") > old.startswith("-") for new, old in zip(words, self._words, strict=True)):
            raise NotHealthy("its id, name or address would be read as an option of the command")
        told = {variable: values[name] for name, variable in VARIABLES.items()}
        try:
            code = await run_program(words, self._timeout, environment=child_environment(told, self._pass_env))
        except TimeoutError:
            raise NotHealthy(f"the command took longer than {self._timeout:g} s") from None
        except (OSError, ValueError) as e:
            raise NotHealthy(f"the command cannot be started: {e}") from None
        if code:
            raise NotHealthy(f"the command ended with {code}")
        return True

    async def aclose(self) -> None:
        """Do nothing: nothing is kept open."""
