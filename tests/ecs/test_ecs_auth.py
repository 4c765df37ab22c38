"""Signatures, tokens, and where credentials come from."""

import pathlib
import traceback
import warnings
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecsbatch.ecs.auth.credentials import credentials
from ecsbatch.ecs.auth.schemes import (
    JSON_TYPE,
    KeyAuth,
    TokenAuth,
    UnsignedRequest,
    authorization,
    canonical_query,
    canonical_request,
    quoted,
)
from ecsbatch.errors import ConfigError

AK, SK = "AKEXAMPLE000000000AA", "SKEXAMPLE0000000000000000000000000000000"
PROJECT = "0a0b0c0d0e0f40008000000000000001"
HOST = "ecs.cn-north-4.myhuaweicloud.com"
NEW_YEAR_2025 = 1_735_689_600.0


def test_the_signature_is_the_one_of_the_signing_guide() -> None:
    canonical, signed = canonical_request(
        "GET",
        "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
        canonical_query([("marker", "13551d6b-755d-4757-b956-536f674975c0"), ("limit", "2")]),
        {
            "X-Sdk-Date": "20191115T033655Z",
            "Host": "service.region.example.com",
            "Content-Type": "application/json",
        },
        b"",
    )
    header = authorization(
        "QTWAOYTTINDUT2QVKYUC", "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc", "20191115T033655Z", canonical, signed
    )

    assert header == (
        "SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, SignedHeaders=content-type;host;x-sdk-date, "
        "Signature=7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe"
    )


def test_a_listing_is_signed_as_the_official_sdk_signs_it() -> None:
    params = [("offset", "1"), ("limit", "1000"), ("name", "web a/b~1"), ("not-tags", "__type_baremetal")]
    query = canonical_query([*params, ("tags", "k=v")])
    headers = KeyAuth(AK, SK).headers(
        UnsignedRequest("GET", HOST, f"/v1/{PROJECT}/cloudservers/detail", query, b"", PROJECT), NEW_YEAR_2025
    )

    assert query == "limit=1000&name=web%20a%2Fb~1&not-tags=__type_baremetal&offset=1&tags=k%3Dv"
    assert headers == {
        "Host": HOST,
        "X-Project-Id": PROJECT,
        "X-Sdk-Date": "20250101T000000Z",
        "Authorization": f"SDK-HMAC-SHA256 Access={AK}, SignedHeaders=host;x-project-id;x-sdk-date, "
        "Signature=b05d58c19fa3af6cf41f8ab3fb7114e3d0fa0a88e201f89791bf5d1e42ecb296",
    }


def test_a_restart_with_a_temporary_key_is_signed_as_the_official_sdk_signs_it() -> None:
    body = (
        b'{"reboot":{"type":"SOFT","servers":[{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19"},'
        b'{"id":"726fb98f-46ca-475e-917e-2563e5a8cd20"}]}}'
    )
    headers = KeyAuth(AK, SK, "STSTOKEN").headers(
        UnsignedRequest("POST", HOST, f"/v1/{PROJECT}/cloudservers/action", "", body, PROJECT), NEW_YEAR_2025
    )

    assert headers["Content-Type"] == JSON_TYPE
    assert headers["X-Security-Token"] == "STSTOKEN"
    assert headers["Authorization"] == (
        f"SDK-HMAC-SHA256 Access={AK}, "
        "SignedHeaders=content-type;host;x-project-id;x-sdk-date;x-security-token, "
        "Signature=af4a96e7fc1fc6adbb715f954dc3091371eb1b68133f53df26dbfd9caa1b72f1"
    )


@pytest.fixture
def sdk(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the official SDK with a home of its own: it writes an application id there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", SyntaxWarning)
        import huaweicloudsdkcore.signer.signer  # noqa: F401, PLC0415 - with the warnings off, in its own home


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_ODD = st.one_of(_TEXT, st.text("aZ09 /?#%&=+~*'()!,;:@-_.äß漢🙂", max_size=20))
_TOKEN = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
_VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
_NAME = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_-]{0,15}\Z")
_TAKEN = {"host", "x-sdk-date", "x-sdk-content-sha256", "authorization", "content-type"}


@pytest.mark.real
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    segments=st.lists(_ODD, max_size=4),
    params=st.lists(st.tuples(_ODD, _ODD), max_size=6),
    extra=st.dictionaries(_NAME, _VALUE, max_size=4),
    content_type=st.sampled_from(["", JSON_TYPE, "application/json", "text/plain"]),
    body=st.binary(max_size=60),
    keys=st.tuples(_TOKEN, _TOKEN, st.one_of(st.just(""), _TOKEN)),
)
@settings(max_examples=400, deadline=None)
@pytest.mark.usefixtures("sdk")
def test_any_request_is_signed_as_the_official_sdk_signs_it(
    *,
    method: str,
    segments: list[str],
    params: list[tuple[str, str]],
    extra: dict[str, str],
    content_type: str,
    body: bytes,
    keys: tuple[str, str, str],
) -> None:
    from huaweicloudsdkcore.auth.credentials import BasicCredentials  # noqa: PLC0415 - after the fixture
    from huaweicloudsdkcore.sdk_request import SdkRequest  # noqa: PLC0415 - after the fixture
    from huaweicloudsdkcore.signer.signer import Signer  # noqa: PLC0415 - after the fixture

    access, secret, security = keys
    headers = {"Host": HOST, "X-Sdk-Date": "20250101T000000Z"}
    headers |= {"X-Security-Token": security} if security else {}
    headers |= {"Content-Type": content_type} if content_type else {}
    taken = {*_TAKEN, "x-security-token"}
    headers |= {n: v for n, v in {k.lower(): v for k, v in extra.items()}.items() if n not in taken}
    path = "/" + "/".join(segments)
    request = SdkRequest(
        method=method,
        schema="https",
        host=HOST,
        resource_path=path,
        query_params=list(params),
        header_params=dict(headers),
        body=body,
    )
    signed = Signer(BasicCredentials(access, secret)).sign(request)

    ours = dict(headers)
    if content_type == "text/plain":
        ours["X-Sdk-Content-Sha256"] = "UNSIGNED-PAYLOAD"
    query = canonical_query(params)
    canonical, names = canonical_request(method, path, query, ours, body)

    assert authorization(access, secret, "20250101T000000Z", canonical, names) == signed.header_params["Authorization"]
    assert (f"{path}?{query}" if query else path) == signed.uri


@pytest.mark.real
@given(_ODD)
def test_quoting_is_that_of_the_standard_library(text: str) -> None:
    from urllib.parse import quote  # noqa: PLC0415 - the reference, next to its only use

    assert quoted(text) == quote(text, safe="~")


def test_a_token_goes_out_unsigned() -> None:
    headers = TokenAuth("TOKEN").headers(UnsignedRequest("POST", HOST, "/x", "", b"{}", PROJECT), 0.0)

    assert headers == {
        "Host": HOST,
        "X-Project-Id": PROJECT,
        "X-Auth-Token": "TOKEN",
        "Content-Type": JSON_TYPE,
    }


async def test_what_was_given_once_cannot_be_renewed() -> None:
    assert not await KeyAuth(AK, SK).renew()
    assert not await TokenAuth("TOKEN").renew()


def test_a_repr_shows_four_characters_of_the_access_key_and_no_secret() -> None:
    assert repr(KeyAuth(AK, SK)) == "<KeyAuth AKEX***>"
    assert repr(KeyAuth(AK, SK, "STS")) == "<KeyAuth AKEX***, temporary>"
    assert repr(TokenAuth("CANARY")) == "<TokenAuth ***>"


def test_echoed_secrets_are_hidden() -> None:
    auth = KeyAuth(AK, SK, "STSTOKEN")
    echo = f"Access={AK}, Signature=00ff and {SK} and STSTOKEN"

    assert auth.redact(echo) == "Access=***, Signature=*** and *** and ***"
    assert KeyAuth(AK, SK).redact("fine") == "fine"
    assert TokenAuth("CANARY").redact("a CANARY sang") == "a *** sang"


def test_the_beginning_of_an_echo_that_was_cut_off_is_hidden_too() -> None:
    auth = TokenAuth("CANARY-0123456789")

    assert auth.redact("CANARY-0123456 and CANARY-0123456789, CANARY-012") == "*** and ***, ***"
    assert auth.redact("CANARY-01") == "CANARY-01"


@pytest.mark.parametrize(
    "escape",
    [
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="").lower().replace("miiab", "MIIab").replace("canary", "CANARY"),
        lambda text: text.replace("/", "\\/"),
        lambda text: text.replace("+", "\\u002b").replace("=", "\\u003D"),
        lambda text: text.replace("+", "&#43;").replace("/", "&#x2F;"),
        lambda text: f"{text[:9]}\r\n  {text[9:20]} {text[20:]}",
    ],
)
def test_an_echo_that_is_escaped_or_broken_into_lines_is_hidden_too(escape: Callable[[str], str]) -> None:
    auth = TokenAuth("MIIab+/CANARY==CANARY+/CANARY=CANARY")

    assert auth.redact(f"X-Auth-Token: {escape('MIIab+/CANARY==CANARY+/CANARY=CANARY')}, and so on") == (
        "X-Auth-Token: ***, and so on"
    )


@pytest.mark.parametrize("secret", ["", "two words", "line\nbreak", "ümlaut", "nul\x00"])
def test_a_secret_that_no_header_can_carry_is_refused_without_being_repeated(secret: str) -> None:
    for make in (lambda: KeyAuth(AK, secret), lambda: KeyAuth(secret, SK), lambda: TokenAuth(secret)):
        with pytest.raises(ConfigError) as caught:
            make()

        assert not secret or secret not in "".join(traceback.format_exception_only(caught.value))


def test_credentials_are_a_key_before_a_token() -> None:
    key = {"HUAWEICLOUD_SDK_AK": AK, "HUAWEICLOUD_SDK_SK": SK + "\n"}

    assert repr(credentials({**key, "ECSBATCH_AUTH_TOKEN": "T"})) == "<KeyAuth AKEX***>"
    assert repr(credentials({**key, "HUAWEICLOUD_SDK_SECURITY_TOKEN": "T"})) == "<KeyAuth AKEX***, temporary>"
    assert repr(credentials({"ECSBATCH_AUTH_TOKEN": "T"})) == "<TokenAuth ***>"


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({}, "export HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK"),
        ({"HUAWEICLOUD_SDK_AK": AK}, "HUAWEICLOUD_SDK_SK is not"),
        ({"HUAWEICLOUD_SDK_SK": SK, "ECSBATCH_AUTH_TOKEN": "T"}, "HUAWEICLOUD_SDK_AK is not"),
    ],
)
def test_missing_credentials_are_named(env: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        credentials(env)

    assert SK not in str(caught.value)
