"""Where requests go: an endpoint that keys may safely be sent to."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ecsbatch.errors import ConfigError
from ecsbatch.models import Site

_REGION: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PROJECT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


def site_of(*, endpoint: str, region: str, project_id: str) -> Site:
    """Return the site that these settings name; the endpoint wins over the region's own.

    Raises:
        ConfigError: one of them is missing or malformed.
    """
    if not _PROJECT.fullmatch(project_id):
        raise ConfigError(
            "No project id: give --project-id or export HUAWEICLOUD_SDK_PROJECT_ID (My Credentials in the console)."
            if not project_id
            else f"The project id {project_id[:80]!r} is malformed: it has letters, digits, - and _ only."
        )
    if region and not _REGION.fullmatch(region):
        raise ConfigError(f"The region {region[:80]!r} is malformed: give one like eu-west-101, or --endpoint.")
    if not endpoint:
        if not region:
            raise ConfigError("No place to ask: give --region, or --endpoint for another cloud.")
        endpoint = f"https://ecs.{region}.myhuaweicloud.com"
    return Site(_normal(endpoint), project_id, region)


def _normal(endpoint: str) -> str:
    """Return scheme, host and port in the one spelling that all processes use as a key."""
    try:
        url = urlsplit(endpoint.strip())
        port = url.port
    except ValueError as e:
        raise _malformed(endpoint) from e
    if url.scheme not in _DEFAULT_PORTS or not _is_bare(url):
        raise _malformed(endpoint)
    host = _host(url)
    if not _HOST.fullmatch(host):
        raise _malformed(endpoint)
    if url.scheme == "http" and not is_loopback(host):
        raise ConfigError(f"The endpoint http://{host} would send credentials in the clear: use https.")
    return f"{url.scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS[url.scheme] else "")


def _is_bare(url: SplitResult) -> bool:
    """Tell whether an URL has nothing but scheme, host and port."""
    return not (url.path.strip("/") or url.query or url.fragment or "@" in url.netloc)


def _host(url: SplitResult) -> str:
    host = (url.hostname or "").lower()
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name or address alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _malformed(endpoint: str) -> ConfigError:
    # What stands before an @ may be a password.
    shown = endpoint.rpartition("@")[2][:80]
    return ConfigError(
        f"The endpoint {shown!r} is malformed: give https://HOST[:PORT] without path, query and user,"
        " as in https://ecs.eu-west-101.myhuaweicloud.com."
    )
