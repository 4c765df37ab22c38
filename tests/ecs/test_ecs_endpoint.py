"""Endpoints that keys may safely be sent to."""

import pytest

from ecsbatch.ecs.endpoint import site_of
from ecsbatch.errors import ConfigError
from ecsbatch.models import Site


def test_a_region_gives_the_endpoint() -> None:
    site = site_of(endpoint="", region="eu-west-101", project_id="p")

    assert site == Site("https://ecs.eu-west-101.myhuaweicloud.com", "p", "eu-west-101")


@pytest.mark.parametrize(
    ("endpoint", "normal"),
    [
        ("https://ecs.eu-de.otc.t-systems.com", "https://ecs.eu-de.otc.t-systems.com"),
        (" HTTPS://ECS.Example.com:443/ ", "https://ecs.example.com"),
        ("https://ecs.example.com:8443", "https://ecs.example.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9:80", "http://127.9.9.9"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
    ],
)
def test_an_endpoint_has_one_spelling(endpoint: str, normal: str) -> None:
    """It is the key under which processes share a quota."""
    assert site_of(endpoint=endpoint, region="eu", project_id="p").endpoint == normal


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://ecs.example.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://[::2]",
        "ftp://localhost",
        "ecs.example.com",
        "https://",
        "https://ecs.example.com/v1",
        "https://ecs.example.com?x=1",
        "https://ecs.example.com#x",
        "https://user:CANARY@ecs.example.com",
        "https://ecs.example.com:port",
        "https://ecs.example.com:99999",
        "https://ecs example.com",
        "https://ecs.example.com\r\nX-Evil: 1",
        "https://[::1",
        "https://exämple.com",
    ],
)
def test_another_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        site_of(endpoint=endpoint, region="", project_id="p")

    assert "https" in str(caught.value)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("region", ["EU", "eu_west", "eu.evil", "eu/../x", "-eu", "e@x", "x" * 70])
def test_a_malformed_region_is_refused(region: str) -> None:
    with pytest.raises(ConfigError, match="region"):
        site_of(endpoint="", region=region, project_id="p")


@pytest.mark.parametrize(
    ("project", "says"),
    [("", "HUAWEICLOUD_SDK_PROJECT_ID"), ("a/b", "malformed"), ("a b", "malformed"), ("a\n", "malf")],
)
def test_a_malformed_project_is_refused(project: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        site_of(endpoint="", region="eu", project_id=project)


def test_nowhere_to_ask_is_refused() -> None:
    with pytest.raises(ConfigError, match="--region"):
        site_of(endpoint="", region="", project_id="p")
