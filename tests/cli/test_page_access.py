"""Who is let in to the page: names, origins, tokens, cookies, and the file that keeps the token."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ecsbatch.cli.dashboard.access import HEADERS, Access, Asked, bearer_of, host_of, names_of
from ecsbatch.cli.dashboard.paths import Target, target_of
from ecsbatch.cli.dashboard.token_file import kept_token, page_token, token_path
from ecsbatch.errors import ConfigError

TOKEN = "a-token-of-many-letters"
ACCESS = Access(TOKEN, 8080, names_of("10.1.2.3", ("Page.Example.com",)))
HOST = "127.0.0.1:8080"
SEEN = Asked("GET", "/api/runs", HOST, cookie=ACCESS.cookie)
STEERED = Asked(
    "POST", "/api/runs/a/steer", HOST, f"http://{HOST}", "same-origin", cookie=ACCESS.cookie, csrf=ACCESS.csrf
)


def status(asked: Asked, access: Access = ACCESS) -> int:
    refusal = access.refusal(asked)
    return refusal.status if refusal is not None else 200


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:80", "localhost"),
        ("localhost.:8080", "localhost"),
        ("[::1]:8080", "[::1]"),
        ("[::1]", "[::1]"),
        ("page.example.com:1", "page.example.com"),
        ("::1", ""),
        ("localhost:8080:9", ""),
        ("localhost:123456", ""),
        ("localhost:", ""),
        ("evil@localhost", ""),
        ("localhost/evil", ""),
        ("local host", ""),
        ("", ""),
    ],
)
def test_a_host_is_read_without_its_port(host: str, name: str) -> None:
    assert host_of(host) == name


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8080", True),
        ("localhost:9999", True),
        ("[::1]:1", True),
        ("10.1.2.3:8080", True),
        ("page.example.com", True),
        ("rebound.example.com:8080", False),
        ("127.0.0.1.example.com", False),
        ("127.0.0.2", False),
        ("", False),
    ],
)
def test_a_page_is_asked_for_by_its_own_names_whatever_the_port(host: str, *, known: bool) -> None:
    assert status(replace(SEEN, host=host)) == (200 if known else 421)


def test_an_ipv6_address_is_known_in_brackets() -> None:
    access = Access(TOKEN, 8080, names_of("2001:db8::7"))

    assert status(replace(SEEN, host="[2001:DB8::7]:8080", cookie=access.cookie), access) == 200


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (SEEN, 200),
        (replace(SEEN, method="HEAD"), 200),
        (replace(SEEN, cookie=""), 401),
        (replace(SEEN, cookie=TOKEN), 401),
        (replace(SEEN, cookie=ACCESS.csrf), 401),
        (replace(SEEN, cookie=ACCESS.cookie[:-1]), 401),
        (replace(SEEN, cookie="\udce4\u00fc"), 401),
        (replace(SEEN, cookie="", bearer=TOKEN), 200),
        (replace(SEEN, cookie="", bearer=ACCESS.cookie), 401),
        (replace(SEEN, cookie="", token=TOKEN), 401),
        (Asked("GET", "/", HOST, token=TOKEN), 200),
        (Asked("GET", "/", HOST, site="cross-site", token=TOKEN), 200),
        (Asked("GET", "/", HOST, token=""), 401),
        (Asked("GET", "/", HOST, token=TOKEN[:-1], cookie=ACCESS.cookie), 401),
        (Asked("GET", "/", HOST), 401),
        (Asked("GET", "/", HOST, site="cross-site", cookie=ACCESS.cookie), 200),
        (replace(SEEN, site="same-origin"), 200),
        (replace(SEEN, site="none"), 200),
        (replace(SEEN, site="cross-site"), 403),
        (replace(SEEN, site="same-site"), 403),
        (replace(SEEN, method="PUT"), 405),
        (replace(SEEN, method="OPTIONS"), 405),
        (replace(SEEN, method="TRACE"), 405),
    ],
)
def test_what_is_read_needs_the_token_and_no_other_page(asked: Asked, code: int) -> None:
    assert status(asked) == code


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (STEERED, 200),
        (replace(STEERED, host="localhost:1", origin="http://localhost:1"), 200),
        (replace(STEERED, origin=""), 403),
        (replace(STEERED, origin="null"), 403),
        (replace(STEERED, origin="http://evil.example"), 403),
        (replace(STEERED, origin="http://127.0.0.1:3000"), 403),
        (replace(STEERED, origin=f"https://{HOST}"), 403),
        (replace(STEERED, origin=f"http://{HOST}.evil.example"), 403),
        (replace(STEERED, csrf=""), 403),
        (replace(STEERED, csrf=ACCESS.cookie), 403),
        (replace(STEERED, cookie=""), 401),
        (replace(STEERED, cookie="", bearer=TOKEN), 200),
        (replace(STEERED, cookie="", bearer=TOKEN, origin=""), 403),
        (replace(STEERED, path="/", token=TOKEN, cookie=""), 401),
    ],
)
def test_what_changes_something_needs_the_pages_own_word_too(asked: Asked, code: int) -> None:
    assert status(asked) == code


def test_under_tls_the_origin_is_https_and_the_cookie_goes_no_other_way() -> None:
    access = replace(ACCESS, secure=True)

    assert status(replace(STEERED, origin=f"https://{HOST}"), access) == 200
    assert status(STEERED, access) == 403
    assert access.set_cookie == f"{access.cookie_name}={access.cookie}; HttpOnly; SameSite=Strict; Path=/; Secure"
    assert ACCESS.set_cookie == f"{ACCESS.cookie_name}={ACCESS.cookie}; HttpOnly; SameSite=Strict; Path=/"


def test_pages_that_tunnels_lead_to_do_not_take_one_anothers_viewers() -> None:
    """A browser has one cookie of a name for all ports of localhost."""
    pages = [ACCESS, replace(ACCESS, port=8081), replace(ACCESS, token="that-of-another-machine")]

    assert len({page.cookie_name for page in pages}) == 3


def test_neither_cookie_nor_repr_tells_the_token() -> None:
    other = replace(ACCESS, token="another-token-of-letters")

    assert TOKEN not in ACCESS.set_cookie + repr(ACCESS) + ACCESS.csrf
    assert len({ACCESS.cookie, ACCESS.csrf, other.cookie, other.csrf}) == 4


@pytest.mark.parametrize(
    ("header", "token"), [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("Bearer", ""), ("", "")]
)
def test_a_script_brings_the_token_in_a_header(header: str, token: str) -> None:
    assert bearer_of(header) == token


def test_nothing_but_its_own_files_runs_on_the_page() -> None:
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))

    assert policy.pop("img-src") == "'self' data:"
    assert {name for name, allowed in policy.items() if allowed == "'self'"} == {
        "script-src",
        "style-src",
        "connect-src",
    }
    assert {name for name, allowed in policy.items() if allowed == "'none'"} == {
        *("default-src", "base-uri", "form-action", "frame-ancestors")
    }


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("GET", "/", Target("page")),
        ("HEAD", "/", Target("page")),
        ("GET", "/assets/page.css", Target("asset", asset="page.css")),
        ("GET", "/assets/uplot-LICENSE.txt", Target("asset", asset="uplot-LICENSE.txt")),
        ("GET", "/assets/../access.py", 404),
        ("GET", "/assets/page.html", 404),
        ("GET", "/api/session", Target("session")),
        ("GET", "/api/runs", Target("runs")),
        ("GET", "/api/runs/", 404),
        ("GET", "/api/runs/events", Target("runs_events")),
        ("GET", "/api/runs/events/events", Target("events", "events")),
        ("GET", "/api/runs/k7.f_-9/fleet", Target("fleet", "k7.f_-9")),
        ("GET", f"/api/runs/{'a' * 65}/fleet", 404),
        ("GET", "/api/runs/a%2fb/fleet", 404),
        ("GET", "/api/runs/a\n/fleet", 404),
        ("GET", "/api/runs/a/servers/12", Target("server", "a", index=12)),
        ("GET", "/api/runs/a/servers/-1", 404),
        ("GET", "/api/runs/a/servers/\u0661", 404),
        ("GET", "/api/runs/a/steer", 404),
        ("POST", "/api/runs/a/steer", 404),
        ("POST", "/api/runs", 405),
        ("POST", "/", 405),
        ("GET", "/favicon.ico", 404),
    ],
)
def test_a_path_means_one_thing_or_nothing(method: str, path: str, target: Target | int) -> None:
    assert target_of(method, path, steers=False) == target


@pytest.mark.parametrize(("method", "target"), [("POST", Target("steer", "a")), ("GET", 405), ("HEAD", 405)])
def test_where_runs_can_be_steered_there_is_one_path_more(method: str, target: Target | int) -> None:
    assert target_of(method, "/api/runs/a/steer", steers=True) == target


# -- the token ------------------------------------------------------------------------------------------------------


def test_a_token_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    token, path = page_token(environ), token_path(environ)

    assert path == tmp_path / "ecsbatch" / "dashboard.token"
    assert page_token(environ) == token
    assert (len(token.text), token.given) == (43, False)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [each.name for each in path.parent.iterdir()] == ["dashboard.token"]
    assert token.text not in repr(token)


def test_processes_that_make_it_at_once_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        tokens = list(pool.map(kept_token, [tmp_path / "state" / "dashboard.token"] * 64))

    assert len(set(tokens)) == 1
    assert len(list((tmp_path / "state").iterdir())) == 1


def test_a_token_that_is_given_is_taken_unless_it_can_be_guessed(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path), "ECSBATCH_DASHBOARD_TOKEN": "  sixteen-letters- \n"}

    assert (page_token(environ).text, page_token(environ).given) == ("sixteen-letters-", True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match=r"^ECSBATCH_DASHBOARD_TOKEN has 15 characters: give a secret of 16 or more"):
        page_token({**environ, "ECSBATCH_DASHBOARD_TOKEN": "fifteen-letters"})


def others_may_read(path: Path) -> None:
    path.write_text("x" * 43, encoding="utf-8")
    path.chmod(0o640)


def a_link(path: Path) -> None:
    (path.parent / "real").write_text("x" * 43, encoding="utf-8")
    (path.parent / "real").chmod(0o600)
    path.symlink_to("real")


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def empty(path: Path) -> None:
    path.touch(0o600)


def binary(path: Path) -> None:
    path.write_bytes(b"\xff" * 43)
    path.chmod(0o600)


def zeros(path: Path) -> None:
    """What a file has whose machine lost its power."""
    path.write_bytes(bytes(44))
    path.chmod(0o600)


def a_pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (others_may_read, "may be read by others (mode 640): remove it"),
        (a_link, "is a symbolic link: remove it"),
        (a_link_to_nothing, "is a symbolic link: remove it"),
        (empty, "has no token of a page: remove it"),
        (binary, "has no token of a page: remove it"),
        (zeros, "has no token of a page: remove it"),
        (a_pipe, "is no file, so that it has no token of a page: remove it"),
        (Path.mkdir, "cannot be read (Is a directory): remove the file"),
    ],
)
def test_a_file_that_keeps_no_secret_is_refused(made: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    path = tmp_path / "dashboard.token"
    made(path)

    with pytest.raises(ConfigError) as refused:
        kept_token(path)
    assert says in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dashboard.token"
    path.write_text("x" * 43, encoding="utf-8")
    path.chmod(0o600)
    os.chown(path, 12345, 12345)

    with pytest.raises(ConfigError, match="is another user's: remove it"):
        kept_token(path)


def test_a_folder_that_cannot_be_made_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "state").touch()

    with pytest.raises(ConfigError, match=r"cannot be kept in .* give one by ECSBATCH_DASHBOARD_TOKEN"):
        kept_token(tmp_path / "state" / "ecsbatch" / "dashboard.token")
