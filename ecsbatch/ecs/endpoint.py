"""Where requests go: the endpoint of a region, or a given one that is safe to send keys to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ecsbatch.errors import ConfigError
from ecsbatch.model.servers import Site
from ecsbatch.model.text import without_password

DOMAINS: Final[Mapping[str, str]] = {
    "eu-west-101": "myhuaweicloud.eu",  # Huawei Cloud EU (Dublin): its own "Regions and Endpoints"
    "eu-de": "otc.t-systems.com",  # Open Telekom Cloud: opentelekomcloud-docs/regions-and-endpoints
    "eu-nl": "otc.t-systems.com",
    "eu-west-0": "prod-cloud-ocb.orange-business.com",  # Flexible Engine
    "ru-moscow-1": "hc.sbercloud.ru",  # SberCloud
}
"""The domains of regions outside ``myhuaweicloud.com``; where two clouds use one region name, --endpoint decides."""

_DOMAIN: Final = "myhuaweicloud.com"
_GLOBAL_IAM: Final = frozenset(
    {"af-north-1", "ap-southeast-5", "cn-north-11", "cn-south-4", "cn-southwest-3", "eu-west-101"}
)
"""Regions without an IAM of their own (huaweicloudsdkcore 3.1.219, ``auth/endpoint.py``; IAM of the EU's guide)."""

_REGION: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PROJECT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


def site_of(*, endpoint: str, region: str, project_id: str) -> Site:
    """Return the site that settings name; a given endpoint goes before the region's own.

    Without a project id the site has none yet: it is to be looked up by the region.

    Raises:
        ConfigError: a setting is missing or malformed.
    """
    if not project_id and not region:
        raise ConfigError(
            "No project id: give it or export HUAWEICLOUD_SDK_PROJECT_ID (My Credentials in the console), or give the"
            " region to have it looked up."
        ).about("project_id", "region")
    if project_id and not _PROJECT.fullmatch(project_id):
        raise ConfigError(f"The project id {project_id[:80]!r} is malformed: it has letters, digits, - and _ only.")
    if region and not _REGION.fullmatch(region):
        told = f"The region {region[:80]!r} is malformed: give one like eu-west-101, or an endpoint."
        raise ConfigError(told).about("region", "endpoint")
    if not endpoint:
        if not region:
            told = "No place to ask: give the region, or the endpoint of another cloud."
            raise ConfigError(told).about("region", "endpoint")
        endpoint = f"https://ecs.{region}.{DOMAINS.get(region, _DOMAIN)}"
    return Site(_normal(endpoint), project_id, region)


def iam_of(site: Site, given: str = "") -> str:
    """Return IAM's endpoint for a site, "" where it is not known.

    A given one goes first; the IAM of an endpoint ``ecs.DOMAIN`` is ``iam.DOMAIN`` in the domains of known clouds;
    on this machine both are one. Elsewhere it is not guessed: a password or token would go to a host that nobody named.

    Raises:
        ConfigError: the given endpoint is malformed.
    """
    if given:
        return _normal(given)
    host, name = site.endpoint.partition("://")[2], urlsplit(site.endpoint).hostname or ""
    if is_loopback(name):
        return site.endpoint
    if not any(name.endswith(f".{domain}") for domain in {_DOMAIN, *DOMAINS.values()}):
        return ""
    domain = DOMAINS.get(site.region, _DOMAIN)
    if site.region in _GLOBAL_IAM and host == f"ecs.{site.region}.{domain}":
        return f"https://iam.{domain}"
    if host.startswith("ecs."):
        return f"https://iam.{host.removeprefix('ecs.')}"
    return f"https://iam.{site.region}.{domain}" if site.region and name.endswith(f".{domain}") else ""


def _normal(endpoint: str) -> str:
    """Return scheme, host and port in the one spelling that all processes use.

    Raises:
        ConfigError: the endpoint is malformed, or would send credentials unencrypted.
    """
    try:
        url = urlsplit(endpoint.strip())
        port = url.port
    except ValueError:
        raise _malformed(endpoint) from None
    if url.scheme not in _DEFAULT_PORTS or not _is_bare(url):
        raise _malformed(endpoint)
    host = _host(url)
    if not _HOST.fullmatch(host):
        raise _malformed(endpoint)
    if url.scheme == "http" and not is_loopback(host):
        raise ConfigError(f"The endpoint http://{host} would send credentials in the clear: use https.")
    return f"{url.scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS[url.scheme] else "")


def _is_bare(url: SplitResult) -> bool:
    """Return True where a URL has nothing but scheme, host and port."""
    return not (url.path.strip("/") or url.query or url.fragment or "@" in url.netloc)


def _host(url: SplitResult) -> str:
    host = (url.hostname or "").lower()
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Return True where a host is this machine, by its name or address alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_near(host: str) -> bool:
    """Return True where a host is this machine or link-local: no proxy is used for it."""
    try:
        return is_loopback(host) or ipaddress.ip_address(host.strip("[]")).is_link_local
    except ValueError:
        return False


def _malformed(endpoint: str) -> ConfigError:
    return ConfigError(
        f"The endpoint {without_password(endpoint)[:80]!r} is malformed: give https://HOST[:PORT] without path, query"
        " and user, as in https://ecs.eu-west-101.myhuaweicloud.com."
    )
