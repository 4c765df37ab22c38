"""Serves the page beside whatever a command does. Read `serving_dashboard` first."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ecsbatch.cli.dashboard.access import Access, names_of
from ecsbatch.cli.dashboard.assets import load_assets
from ecsbatch.cli.dashboard.routes import PageOptions, PageRoutes, page_server
from ecsbatch.cli.dashboard.stream import event_frame
from ecsbatch.cli.dashboard.token_file import page_token
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.cli.listen import listen_address, listening_at
from ecsbatch.cli.output import in_json, log_json, print_lines
from ecsbatch.cli.wiring import who
from ecsbatch.config.addresses import is_loopback
from ecsbatch.config.settings import PAGE_TOKEN
from ecsbatch.errors import ConfigError
from ecsbatch.model.json_text import json_bytes
from ecsbatch.views.page.files import ASSETS

if TYPE_CHECKING:
    from pathlib import Path

    from ecsbatch.cli.dashboard.token_file import PageToken
    from ecsbatch.config.settings import Observability
    from ecsbatch.rollout.history import History

FLAG: Final = "--dashboard"

ENDED: Final = "The process that showed this page has ended: what stands here is the last that it knew."


@asynccontextmanager
async def serving_dashboard(
    settings: Observability, runs: History, run_id: str = "", *, folder: Path | None = None
) -> AsyncGenerator[PageRoutes]:
    """Serve the page of a store's runs for as long as the block lasts; print once where it is.

    At the end viewers are told the last that is known, in two seconds at most.

    Args:
        settings: say where, and for whom; they name an address.
        runs: of the store.
        run_id: the run that the printed address leads to, "" for the list of all.
        folder: has the page's files; None for those of the package.

    Raises:
        UsageError: the address needs a certificate, or a name.
        ConfigError: token, certificate or files cannot be used, or the address cannot be listened at.
    """
    address = settings.dashboard or ""
    host, port = listen_address(address, FLAG)
    check_reach(host, settings)
    tls = tls_context(settings.dashboard_cert, settings.dashboard_key)
    token = page_token()
    access = Access(token.text, port, names_of(host, tuple(settings.dashboard_host)), secure=tls is not None)
    assets = load_assets(folder or ASSETS)
    routes = PageRoutes(runs, PageOptions(access, assets, settings.dashboard_steer, who()))
    routes.list.begin()
    try:
        async with listening_at(page_server(routes), address, FLAG, tls=tls):
            _say_where(page_address(host, access, settings), token, run_id)
            try:
                yield routes
            finally:
                await routes.close(event_frame("end", json_bytes({"text": ENDED})))
    finally:
        await routes.list.end()


def check_reach(host: str, settings: Observability) -> None:
    """Refuse an address that others reach without TLS, and one that no browser can ask for.

    Raises:
        UsageError: it is such an address.
    """
    if not is_loopback(host) and not settings.dashboard_cert:
        raise UsageError(
            f"{FLAG} {settings.dashboard}: others can reach this address, and would read the token on the way: give "
            "--dashboard-cert, or listen at 127.0.0.1 and come by a tunnel (ssh -L)."
        )
    if settings.dashboard_key and not settings.dashboard_cert:
        raise UsageError("--dashboard-key needs --dashboard-cert.")
    if _is_any(host) and not settings.dashboard_host:
        raise UsageError(
            f"{FLAG} {settings.dashboard} is every address of this machine: say by --dashboard-host NAME what browsers "
            "ask for."
        )


def tls_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """Return what serves over TLS; None without a certificate.

    Raises:
        ConfigError: certificate or key cannot be read, are none, or do not belong together.
    """
    if not certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    what = f"--dashboard-cert {certificate}" + (f" with --dashboard-key {key}" if key else "")
    try:
        context.load_cert_chain(certificate, key or None, password=_no_passphrase)
    except ssl.SSLError as e:
        why = (e.reason or "no PEM").replace("_", " ").lower()
        raise ConfigError(f"{what} cannot be used ({why}): give a certificate and its key as PEM.") from e
    except OSError as e:
        raise ConfigError(f"{what} cannot be read ({e.strerror}): give files that this user may read.") from e
    return context


def _no_passphrase() -> str:
    raise ConfigError("--dashboard-key has a passphrase, which nobody is there to type: give a key without one.")


def page_address(host: str, access: Access, settings: Observability) -> str:
    """Return what a browser asks for, without the token."""
    named = next(iter(settings.dashboard_host), "") if _is_any(host) else ""
    shown = named or (f"[{host}]" if ":" in host else host)
    return f"{'https' if access.secure else 'http'}://{shown}:{access.port}/"


def _say_where(address: str, token: PageToken, run_id: str) -> None:
    """Print the address once; a token that was given by whoever started this is not repeated."""
    shown = f"{address}?token=${PAGE_TOKEN}" if token.given else f"{address}?token={quote(token.text)}"
    shown += f"#/{quote(run_id, safe='')}" if run_id else ""
    if in_json():
        log_json("info", "page", {"url": shown})
    else:
        print_lines([f"Page: {shown}"], to_stdout=False)


def _is_any(host: str) -> bool:
    return host != "localhost" and ipaddress.ip_address(host).is_unspecified
