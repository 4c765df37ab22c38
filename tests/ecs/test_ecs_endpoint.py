"""Endpoints that keys may safely be sent to."""

import pytest

from ecsbatch.ecs.endpoint import iam_of, site_of
from ecsbatch.errors import ConfigError
from ecsbatch.model.servers import Site


def test_a_region_gives_the_endpoint() -> None:
    site = site_of(endpoint="", region="eu-west-101", project_id="p")

    assert site == Site("https://ecs.eu-west-101.myhuaweicloud.eu", "p", "eu-west-101")


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
    [("a/b", "malformed"), ("a b", "malformed"), ("a\n", "malf")],
)
def test_a_malformed_project_is_refused(project: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        site_of(endpoint="", region="eu", project_id=project)


def test_a_project_that_cannot_be_looked_up_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="HUAWEICLOUD_SDK_PROJECT_ID"):
        site_of(endpoint="https://ecs.example.com", region="", project_id="")

    assert site_of(endpoint="", region="cn-north-4", project_id="").project_id == ""


@pytest.mark.parametrize(
    ("region", "ecs", "iam"),
    [
        ("cn-north-4", "https://ecs.cn-north-4.myhuaweicloud.com", "https://iam.cn-north-4.myhuaweicloud.com"),
        ("cn-north-11", "https://ecs.cn-north-11.myhuaweicloud.com", "https://iam.myhuaweicloud.com"),
        ("eu-west-101", "https://ecs.eu-west-101.myhuaweicloud.eu", "https://iam.myhuaweicloud.eu"),
        ("eu-de", "https://ecs.eu-de.otc.t-systems.com", "https://iam.eu-de.otc.t-systems.com"),
        ("ru-moscow-1", "https://ecs.ru-moscow-1.hc.sbercloud.ru", "https://iam.ru-moscow-1.hc.sbercloud.ru"),
        (
            "eu-west-0",
            "https://ecs.eu-west-0.prod-cloud-ocb.orange-business.com",
            "https://iam.eu-west-0.prod-cloud-ocb.orange-business.com",
        ),
    ],
)
def test_every_cloud_has_its_own_domain(region: str, ecs: str, iam: str) -> None:
    site = site_of(endpoint="", region=region, project_id="p")

    assert (site.endpoint, iam_of(site)) == (ecs, iam)


@pytest.mark.parametrize(
    ("endpoint", "region", "given", "iam"),
    [
        ("https://ecs.eu-west-0.myhuaweicloud.com", "eu-west-0", "", "https://iam.eu-west-0.myhuaweicloud.com"),
        ("https://ecs.eu-de.otc.t-systems.com:8443", "", "", "https://iam.eu-de.otc.t-systems.com:8443"),
        ("https://gateway.myhuaweicloud.com", "cn-north-4", "", "https://iam.cn-north-4.myhuaweicloud.com"),
        ("https://ecs.private.example", "", "", ""),
        ("https://ecs.private.example", "cn-north-4", "", ""),
        ("https://ecs.cn-north-4.myhuaweicloud.com.evil.example", "cn-north-4", "", ""),
        ("https://ecs.evilmyhuaweicloud.com", "cn-north-4", "", ""),
        ("https://ecs.private.example", "", "https://iam.private.example", "https://iam.private.example"),
        ("http://127.0.0.1:8080", "eu-west-101", "", "http://127.0.0.1:8080"),
        ("https://gateway.example", "eu-de", "", ""),
        ("https://gateway.example", "eu-de", "https://IAM.example/", "https://iam.example"),
    ],
)
def test_an_endpoint_wins_over_the_regions_and_brings_its_own_iam(
    endpoint: str, region: str, given: str, iam: str
) -> None:
    """A key is never shown to another cloud than the one that was named, nor a password to a host that is guessed."""
    site = site_of(endpoint=endpoint, region=region, project_id="p")

    assert site.endpoint == endpoint
    assert iam_of(site, given) == iam


def test_nowhere_to_ask_is_refused() -> None:
    with pytest.raises(ConfigError, match="give the region") as refused:
        site_of(endpoint="", region="", project_id="p")

    assert refused.value.settings == ("region", "endpoint")
