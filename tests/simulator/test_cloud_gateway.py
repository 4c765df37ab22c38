"""Signatures, tokens and who is kept out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from simulated_world import World

from ecsbatch.simulator.gateway import ReceivedRequest, canonical_query, canonical_uri, signature

PROJECT = "0a0b0c0d0e0f40008000000000000001"
EXAMPLE_KEY = "SKEXAMPLE0000000000000000000000000000000"
HOST = "ecs.cn-north-4.myhuaweicloud.com"


def test_the_signature_of_the_official_example() -> None:
    """The vector of the vendor's signing guide, with its sample keys."""
    received = ReceivedRequest(
        "GET",
        "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
        "limit=2&marker=13551d6b-755d-4757-b956-536f674975c0",
        {
            "host": "service.region.example.com",
            "content-type": "application/json",
            "x-sdk-date": "20191115T033655Z",
        },
        b"",
    )
    signed = signature(
        "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc", received, "content-type;host;x-sdk-date", "20191115T033655Z"
    )

    assert signed == "7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe"


def test_the_signature_of_a_listing_with_odd_characters() -> None:
    """From the official SDK's signer."""
    received = ReceivedRequest(
        "GET",
        f"/v1/{PROJECT}/cloudservers/detail",
        "limit=1000&name=web%20a%2Fb~1&not-tags=__type_baremetal&offset=1&tags=k%3Dv",
        {"host": HOST, "x-project-id": PROJECT, "x-sdk-date": "20250101T000000Z"},
        b"",
    )

    assert signature(EXAMPLE_KEY, received, "host;x-project-id;x-sdk-date", "20250101T000000Z") == (
        "b05d58c19fa3af6cf41f8ab3fb7114e3d0fa0a88e201f89791bf5d1e42ecb296"
    )


def test_the_signature_of_a_reboot_with_temporary_credentials() -> None:
    """From the official SDK's signer."""
    body = (
        b'{"reboot":{"type":"SOFT","servers":[{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19"},'
        b'{"id":"726fb98f-46ca-475e-917e-2563e5a8cd20"}]}}'
    )
    headers = {
        "content-type": "application/json;charset=utf-8",
        "host": HOST,
        "x-project-id": PROJECT,
        "x-sdk-date": "20250101T000000Z",
        "x-security-token": "STSTOKEN",
    }
    received = ReceivedRequest("POST", f"/v1/{PROJECT}/cloudservers/action", "", headers, body)

    assert signature(EXAMPLE_KEY, received, ";".join(sorted(headers)), "20250101T000000Z") == (
        "af4a96e7fc1fc6adbb715f954dc3091371eb1b68133f53df26dbfd9caa1b72f1"
    )


def test_a_path_is_decoded_quoted_and_ends_with_a_slash() -> None:
    assert canonical_uri("/v1/a%20b/c~d") == "/v1/a%20b/c~d/"


def test_a_query_is_sorted_but_stays_as_it_was_on_the_wire() -> None:
    """A library that wrote a plus for a space has changed what was signed."""
    assert canonical_query("name=web+a&limit=5&flag") == "flag=&limit=5&name=web+a"


def _signed(world: World, target: str, *, date_offset: float = 0.0, secret_key: str = "") -> tuple[int, Any]:
    config = world.cloud.config
    moment = datetime.fromtimestamp(world.cloud.wall() + date_offset, UTC)
    date = moment.strftime("%Y%m%dT%H%M%SZ")
    headers = {"Host": "ecs.test", "X-Sdk-Date": date}
    if config.security_token:
        headers["X-Security-Token"] = config.security_token
    path, _, query = target.partition("?")
    received = ReceivedRequest("GET", path, query, {name.lower(): value for name, value in headers.items()}, b"")
    names = ";".join(sorted(received.headers))
    value = signature(secret_key or config.secret_key, received, names, date)
    headers["Authorization"] = f"SDK-HMAC-SHA256 Access={config.access_key}, SignedHeaders={names}, Signature={value}"
    reply = world.ask("GET", target, headers=headers)
    assert reply is not None
    return reply.status, orjson.loads(reply.body)


def _listing(world: World) -> str:
    return f"{world.root}/cloudservers/detail?limit=1"


def test_a_good_signature_comes_in(world: Callable[..., World]) -> None:
    cloud = world(check_auth=True, security_token="STS")

    assert _signed(cloud, _listing(cloud))[0] == 200


@pytest.mark.parametrize(("offset", "status"), [(-899, 200), (899, 200), (-902, 401), (902, 401)])
def test_a_clock_may_be_off_by_a_quarter_of_an_hour(world: Callable[..., World], offset: float, status: int) -> None:
    cloud = world(check_auth=True)

    assert _signed(cloud, _listing(cloud), date_offset=offset)[0] == status


def test_the_sixth_bad_signature_in_a_row_locks_the_key_for_five_minutes(world: Callable[..., World]) -> None:
    cloud = world(check_auth=True)
    for _ in range(6):
        assert _signed(cloud, _listing(cloud), secret_key="wrong")[0] == 401
    status, document = _signed(cloud, _listing(cloud))

    assert (status, document["error_code"]) == (401, "APIGW.0301")
    assert document["error_msg"].endswith("AK access failed to reach the limit,forbidden")

    cloud.now += 300

    assert _signed(cloud, _listing(cloud))[0] == 200
    assert cloud.cloud.audit()["bad_signatures"] == 6


def test_a_good_signature_forgives_the_bad_ones_before_it(world: Callable[..., World]) -> None:
    cloud = world(check_auth=True)
    for _ in range(3):
        for _ in range(5):
            _signed(cloud, _listing(cloud), secret_key="wrong")

        assert _signed(cloud, _listing(cloud))[0] == 200


def test_a_token_works_until_it_expires(world: Callable[..., World]) -> None:
    cloud = world(check_auth=True, token_ttl=100.0)
    config = cloud.cloud.config
    user = {"name": config.iam_user, "password": config.iam_password, "domain": {"name": config.iam_domain}}
    login = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    reply = cloud.ask("POST", "/v3/auth/tokens", orjson.dumps(login))
    assert reply is not None
    token = {"X-Auth-Token": reply.headers["X-Subject-Token"]}
    first = cloud.ask("GET", _listing(cloud), headers=token)
    cloud.now = 100.0
    second = cloud.ask("GET", _listing(cloud), headers=token)
    assert first is not None
    assert second is not None

    assert (reply.status, first.status, second.status) == (201, 200, 401)
    assert b"token expires" in second.body


def test_without_credentials_the_gateway_says_which_are_missing(world: Callable[..., World]) -> None:
    cloud = world(check_auth=True)
    status, document = cloud.get("/cloudservers/detail")

    assert status == 401
    assert "x-auth-token not found" in document["error_msg"]


def test_a_wrong_project_and_an_unknown_path_have_their_own_errors(world: Callable[..., World]) -> None:
    cloud = world()
    other = cloud.ask("GET", "/v1/ffffffffffffffffffffffffffffffff/cloudservers/detail")
    unknown = cloud.ask("GET", f"{cloud.root}/elsewhere")
    assert other is not None
    assert unknown is not None

    assert (other.status, orjson.loads(other.body)["error"]["code"]) == (400, "Ecs.0023")
    assert (unknown.status, orjson.loads(unknown.body)["error_code"]) == (404, "APIGW.0101")


def test_every_answer_carries_date_request_id_and_gateway(world: Callable[..., World]) -> None:
    reply = world(clock_skew=10.0).ask("GET", "/nowhere")
    assert reply is not None
    names = {name: reply.headers[name] for name in ("Date", "Server")}

    assert names == {"Date": "Thu, 01 Jan 2026 00:00:10 GMT", "Server": "api-gateway"}
    assert len(reply.headers["X-Request-Id"]) == 32


def test_the_projects_and_the_agencys_key_can_be_asked(world: Callable[..., World]) -> None:
    cloud = world(security_token="STS")
    projects = cloud.ask("GET", "/v3/projects?name=eu-west-101")
    key = cloud.ask("GET", "/openstack/latest/securitykey")
    assert projects is not None
    assert key is not None

    assert [one["id"] for one in orjson.loads(projects.body)["projects"]] == [PROJECT]
    assert orjson.loads(key.body)["credential"]["securitytoken"] == "STS"
