"""The chain of credentials: who comes first, what is said where something is missing, and no secret in any of it."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from ecsbatch.config.settings import CREDENTIAL_VARIABLES
from ecsbatch.ecs.auth.credentials import Found, credentials, find, read_profile
from ecsbatch.ecs.auth.metadata import on_ecs_server
from ecsbatch.ecs.auth.schemes import UnsignedRequest
from ecsbatch.ecs.auth.source import SourceAuth
from ecsbatch.errors import ConfigError

KEY = {"HUAWEICLOUD_SDK_AK": "ENVKEY0000CANARY", "HUAWEICLOUD_SDK_SK": "CANARY-env-secret"}
TOKEN = {"ECSBATCH_AUTH_TOKEN": "CANARY-token"}
USER = {"ECSBATCH_IAM_USER": "ops", "ECSBATCH_IAM_PASSWORD": " CANARY pass ", "ECSBATCH_IAM_DOMAIN": "acme"}
PROFILE = "[basic]\nak = FILEKEY000CANARY\nsk = CANARY%file-secret\nproject_id = 0a0b\n"


def home(folder: Path, text: str | None = PROFILE, mode: int = 0o600) -> dict[str, str]:
    """Make a home directory with a credentials file in it."""
    if text is not None:
        path = folder / ".huaweicloud" / "credentials"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
    return {"HOME": str(folder)}


def found(env: Mapping[str, str], *, server: bool = False) -> Found:
    return find(env, on_server=lambda: server)


def refusal(env: Mapping[str, str], *, server: bool = False) -> str:
    """Return what is said, once it is sure that no secret is in it or behind it."""
    with pytest.raises(ConfigError) as caught:
        found(env, server=server)
    assert "CANARY" not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


@pytest.mark.parametrize(
    ("sources", "origin"),
    [
        (("key", "file", "token", "user"), "HUAWEICLOUD_SDK_AK and _SK"),
        (("file", "token", "user"), "{home}/.huaweicloud/credentials"),
        (("token", "user"), "ECSBATCH_AUTH_TOKEN"),
        (("user",), "ECSBATCH_IAM_USER and _PASSWORD"),
        ((), "the server's agency (metadata service)"),
    ],
)
def test_the_first_source_that_has_any_wins(tmp_path: Path, sources: tuple[str, ...], origin: str) -> None:
    """On an ECS server, too: its agency is for those who gave nothing else."""
    there = {"key": KEY, "file": home(tmp_path) if "file" in sources else {}, "token": TOKEN, "user": USER}
    env = {name: value for source in sources for name, value in there[source].items()}

    assert found(env, server=True).origin == origin.format(home=tmp_path)


@pytest.mark.parametrize("choice", ["environment", "file", "token", "password", "metadata"])
def test_one_source_can_be_named_and_the_others_are_left_out(tmp_path: Path, choice: str) -> None:
    everything = {**KEY, **home(tmp_path), **TOKEN, **USER}
    origins = {name: found({**everything, "ECSBATCH_CREDENTIALS": name}).origin for name in (choice, choice.upper())}

    assert len(set(origins.values())) == 1
    if choice != "metadata":
        assert f"ECSBATCH_CREDENTIALS={choice}" in refusal({"ECSBATCH_CREDENTIALS": choice})


def test_the_variables_of_credentials_are_known_by_name(tmp_path: Path) -> None:
    """Those that are read, but for what names no secret: commands of checks and gates are started without them."""
    read: set[str] = set()

    class Recording(dict[str, str]):
        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            read.add(name)
            return super().get(name, default)

    key = {"HUAWEICLOUD_SDK_AK": "AK", "HUAWEICLOUD_SDK_SK": "SK"}
    for choice in ("environment", "file", "token", "password"):
        with suppress(ConfigError):
            find(Recording(key, ECSBATCH_CREDENTIALS=choice, HOME=str(tmp_path)))

    assert read - {"ECSBATCH_CREDENTIALS", "HOME"} == CREDENTIAL_VARIABLES


def test_an_unknown_source_is_refused() -> None:
    assert "environment, file, token, password, metadata" in refusal({**KEY, "ECSBATCH_CREDENTIALS": "vault"})


def test_the_metadata_service_is_not_asked_on_a_laptop(tmp_path: Path) -> None:
    """Its address answers nobody there, and whoever waits for that waits for nothing."""
    assert "ECSBATCH_CREDENTIALS=metadata" in refusal({}, server=False)
    for tag, is_one in (("HUAWEICLOUD\n", True), ("OpenTelekomCloud", True), ("", False), ("To be filled", False)):
        (tmp_path / "tag").write_text(tag)
        assert on_ecs_server(tmp_path / "tag") is is_one
    assert not on_ecs_server(tmp_path / "missing")


def test_the_file_gives_the_project_and_iam_too(tmp_path: Path) -> None:
    extra = "iam_endpoint = https://iam.example\nsecurity_token = CANARY-sts\n"
    auth = found(home(tmp_path, PROFILE + extra)).auth

    assert isinstance(auth, SourceAuth)
    assert (auth.project_id, auth.iam_endpoint) == ("0a0b", "https://iam.example")
    headers = auth.headers(UnsignedRequest("GET", "h", "/", "", b"", "p"), 0.0)
    assert headers["X-Security-Token"] == "CANARY-sts"
    assert "CANARY" not in repr(auth)
    assert auth.redact("CANARY%file-secret CANARY-sts FILEKEY000CANARY") == "*** *** ***"


def test_the_file_can_be_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "key.ini"
    named = {"HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(path)}

    assert "cannot be read" in refusal(named)
    path.write_bytes(b"\xef\xbb\xbf" + PROFILE.encode())
    assert found(named).origin == str(path)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True), (0o700, False)])
def test_a_file_that_others_can_read_is_warned_of_and_used(tmp_path: Path, mode: int, warned: bool) -> None:  # noqa: FBT001 - a table's column
    env = home(tmp_path, mode=mode)

    assert ("chmod 600" in found(env).warning) is warned
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        credentials(env)
    assert len(caught) == warned
    assert all("CANARY" not in str(each.message) for each in caught)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[basic]\nak = CANARY\n", "has ak but no sk"),
        ("[basic]\nsk = CANARY\n", "has sk but no ak"),
        ("ak = CANARY\n", "no INI file (line 1)"),
        ("[basic]\nCANARY\n", "no INI file (line 2)"),
        ("[basic]\nak = CANARY\nak = CANARY\n", "no INI file (line 3)"),
        ("[basic]\nak = CANARY two\nsk = CANARY\n", "access key"),
    ],
)
def test_a_file_that_will_not_do_is_named_and_not_repeated(tmp_path: Path, text: str, says: str) -> None:
    assert says in refusal(home(tmp_path, text))


@pytest.mark.parametrize("text", ["", "[global]\nak = CANARY\nsk = CANARY\n", "[basic]\nidp_id = x\n"])
def test_a_file_without_a_key_for_projects_leaves_the_turn_to_others(tmp_path: Path, text: str) -> None:
    env = home(tmp_path, text)

    assert read_profile(tmp_path / ".huaweicloud" / "credentials") is None
    assert found({**env, **TOKEN}).origin == "ECSBATCH_AUTH_TOKEN"


@pytest.mark.parametrize("missing", list(USER))
def test_half_a_user_is_named(missing: str) -> None:
    env = {name: value for name, value in USER.items() if name != missing}

    assert f"{missing} is not" in refusal(env)


def test_a_repr_tells_no_secret(tmp_path: Path) -> None:
    everything = {**KEY, **home(tmp_path), **TOKEN, **USER}
    for choice in ("environment", "file", "token", "password", "metadata"):
        shown = repr(found({**everything, "ECSBATCH_CREDENTIALS": choice}))
        assert not re.search("CANARY|pass ", shown), shown


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("HW_ACCESS_KEY", 'HUAWEICLOUD_SDK_AK="$HW_ACCESS_KEY" HUAWEICLOUD_SDK_SK="$HW_SECRET_KEY"'),
        ("HUAWEI_ACCESS_KEY_ID", 'HUAWEICLOUD_SDK_SK="$HUAWEI_SECRET_ACCESS_KEY"'),
        ("OS_ACCESS_KEY", 'HUAWEICLOUD_SDK_AK="$OS_ACCESS_KEY"'),
        ("SBC_ACCESS_KEY", 'HUAWEICLOUD_SDK_SK="$SBC_SECRET_KEY"'),
        ("OS_USERNAME", 'ECSBATCH_IAM_PASSWORD="$OS_PASSWORD"'),
        ("ANSIBLE_HWC_USER", 'ECSBATCH_IAM_DOMAIN="$ANSIBLE_HWC_DOMAIN"'),
    ],
)
def test_another_tools_variables_are_noticed_with_what_to_export(theirs: str, ours: str) -> None:
    said = refusal({theirs: "CANARY"})

    assert f"{theirs} of " in said
    assert ours in said


def test_koocli_is_noticed(tmp_path: Path) -> None:
    (tmp_path / ".hcloud").mkdir()
    (tmp_path / ".hcloud" / "config.json").write_text('{"secretAccessKey": "CANARY"}')

    assert "KooCLI" in refusal({"HOME": str(tmp_path)})
    assert "KooCLI" not in refusal({})


@pytest.mark.parametrize("endpoint", ["https://evil.example", "http://evil.example", "http://127.0.0.1/x", "x"])
def test_keys_are_taken_from_this_machine_only(endpoint: str) -> None:
    assert "ECSBATCH_METADATA_ENDPOINT" in refusal(
        {"ECSBATCH_CREDENTIALS": "metadata", "ECSBATCH_METADATA_ENDPOINT": endpoint}
    )
