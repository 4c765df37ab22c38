"""The built-in health checks: ``tcp:22``, ``http:8080/health``, ``url:http://host/{id}`` and ``cmd:./up {id}``.

SUCCESS of a job is the hypervisor's word; a check asks the server itself. Where that is not healthy yet it raises
`NotHealthy`, whose text says what was seen. Read `check_of` first.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlsplit

from ecsbatch.errors import ConfigError
from ecsbatch.model.servers import Server
from ecsbatch.rollout.placeholders import VARIABLES, filled, placeholder_in_code, placeholders_in
from ecsbatch.rollout.programs import child_environment, run_program, split_command

if TYPE_CHECKING:
    import aiohttp

ONE_CHECK: Final = 8.0
"""Seconds that one check may take: less than the engine allows, so that it is the check that says why."""

_FORMS: Final = '"tcp:22", "http:8080/health", "https:8443/health", "url:http://host/{id}" or "cmd:./up {id}"'
_HTTP: Final = re.compile(r"([0-9]{1,5})(/\S*)?")
_LAST_PORT: Final = 65_535


class NotHealthy(Exception):
    """A server did not pass its check this time; the text says why."""


class ServerCheck(Protocol):
    """A check that may keep something open until it is closed."""

    async def __call__(self, server: Server) -> bool:
        """Return True where the server is healthy; raise `NotHealthy` where it is not."""
        ...

    async def aclose(self) -> None:
        """Close what it keeps open."""
        ...


AddressOf = Callable[[Server], str]
"""Returns the host or IP address at which a server can be reached, "" where that is not known."""


def check_of(
    text: str,
    *,
    address_of: AddressOf | None = None,
    timeout: float = ONE_CHECK,
    pass_env: Collection[str] = (),
) -> ServerCheck:
    """Make the check that a setting names.

    Args:
        text: one of the forms above; ``{id}``, ``{name}`` and ``{address}`` are the server's.
        address_of: where a server can be reached; None: its private address as the cloud's listing told it.
        timeout: seconds that one check may take.
        pass_env: credentials that a command gets, by their variables.

    Raises:
        ConfigError: the text is none of these forms, or would have an interpreter read a server's data as code.
    """
    kind, _, rest = text.strip().partition(":")
    address_of = address_of or _own_address
    match kind:
        case "tcp":
            return TcpCheck(_port(rest, text), address_of, timeout)
        case "http" | "https":
            found = _HTTP.fullmatch(rest)
            if found is None:
                raise _invalid(text)
            port, path = _port(found[1], text), found[2] or "/"
            return HttpCheck(f"{kind}://{{address}}:{port}{path}", address_of, timeout)
        case "url":
            return HttpCheck(_url(rest, text), address_of, timeout)
        case "cmd":
            return CommandCheck(_command(rest, text), address_of, timeout, pass_env)
        case _:
            raise _invalid(text)


def _invalid(text: str) -> ConfigError:
    return ConfigError(f"check = {text!r}: give {_FORMS}.")


def _own_address(server: Server) -> str:
    return server.address


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
        known = False
    if not known or any(c.isspace() for c in template):
        raise _invalid(text)
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

    Certificates are not verified: a server is asked by its address, for which hardly any certificate is made, and
    it gets nothing secret. Redirects are an answer and are not followed.
    """

    def __init__(self, template: str, address_of: AddressOf, timeout: float) -> None:
        self._template = template
        self._address_of = address_of
        self._timeout = timeout
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
                self._session.get(url, allow_redirects=False, ssl=False) as answer,
            ):
                status = answer.status
        except TimeoutError:
            raise NotHealthy(f"no answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise NotHealthy(f"no answer: {e or type(e).__name__}") from None
        if not 200 <= status < 400:  # noqa: PLR2004 - the classes of HTTP's own statuses
            raise NotHealthy(f"it answered {status}")
        return True

    def _url(self, server: Server) -> str:
        values = {"id": quote(server.id, safe=""), "name": quote(server.name, safe=""), "address": ""}
        if "{address}" in self._template:
            address = _needed(self._address_of, server)
            values["address"] = f"[{address}]" if ":" in address else quote(address, safe="")
        return filled(self._template, values)

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
        values = {"id": server.id, "name": server.name, "address": self._address_of(server)}
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
