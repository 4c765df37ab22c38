"""Where a store is: what a URL says, what libpq adds to it, and how the way there is protected."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ecsbatch.errors import ConfigError
from ecsbatch.store import open_store
from ecsbatch.store.address import known_kind, name_of, path_of, places_of, postgres_address, protection

SERVICES = """
[fleet]
host=db.example.com
port=5433
user=ops
dbname=restarts
password=CANARY

[weak]
host=db.example.com
sslmode=require

[here]
host=/run/postgresql
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with services, and none of libpq's variables."""
    for name in (
        "PGHOST",
        "PGHOSTADDR",
        "PGPORT",
        "PGDATABASE",
        "PGSERVICE",
        "PGSSLMODE",
        "PGSSLROOTCERT",
        "PGPASSWORD",
    ):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "services").write_text(SERVICES, encoding="utf-8")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGUSER", "ops")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql:///", "postgresql://ops@/ops"),
        ("postgresql://db.example.com", "postgresql://ops@db.example.com:5432/ops"),
        ("postgres://ann:CANARY@db/restarts?password=CANARY", "postgresql://ann@db:5432/restarts"),
        ("postgresql://a,b:5433/restarts", "postgresql://ops@a:5432,b:5433/restarts"),
        ("postgresql://[2001:db8::1]:5/restarts", "postgresql://ops@[2001:db8::1]:5/restarts"),
        ("postgresql:///x?hostaddr=10.0.0.1&host=db", "postgresql://ops@db:5432/x"),
        ("postgresql:///x?host=/run/postgresql&port=5433", "postgresql://ops@/x?host=/run/postgresql&port=5433"),
        ("postgresql://%2Frun%2Fpostgresql/x", "postgresql://ops@/x?host=/run/postgresql"),
        ("postgresql://a%40b@h/d%2Fe", "postgresql://a%40b@h:5432/d%2Fe"),
        ("postgresql:///?service=fleet", "postgresql://ops@db.example.com:5433/restarts"),
        ("postgresql:///other?service=fleet", "postgresql://ops@db.example.com:5433/other"),
        ("postgresql:///?service=here", "postgresql://ops@/ops?host=/run/postgresql"),
    ],
)
def test_a_database_is_shown_by_what_tells_it_from_others(url: str, name: str) -> None:
    address = postgres_address(url)

    assert address.name == name
    assert "CANARY" not in repr(address)


def test_variables_count_as_they_do_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example.com")
    monkeypatch.setenv("PGDATABASE", "restarts")
    monkeypatch.setenv("PGPASSWORD", "CANARY")

    address = postgres_address("postgresql:///")

    assert address.name == "postgresql://ops@db.example.com:5432/restarts"
    assert "password" not in address.parameters


SYSTEM = "TLS, verified by the certificates of the system"


@pytest.mark.parametrize(
    ("url", "environment", "mode"),
    [
        ("postgresql://db/x", {}, "verify-full"),
        ("postgresql://db/x?sslrootcert=system", {}, "verify-full"),
        ("postgresql://db/x?sslmode=verify-full", {}, "verify-full"),
        ("postgresql://db/x", {"PGSSLMODE": "verify-full"}, "verify-full"),
        ("postgresql://db/x", {"PGSSLMODE": ""}, "verify-full"),
        ("postgresql:///?service=fleet", {}, "verify-full"),
        ("postgresql:///x?host=/run,db", {}, "verify-full"),
        ("postgresql://127.0.0.1,db/x", {}, "verify-full"),
        ("postgresql://localhost/x?hostaddr=10.0.0.1", {}, "verify-full"),
        ("postgresql://db/x?hostaddr=10.0.0.1", {}, "verify-full"),
        ("postgresql://[2001:db8::1]/x", {}, "verify-full"),
        ("postgresql://[fe80::1%25eth0]/x", {}, "verify-full"),
        ("postgresql://0.0.0.0/x", {}, "verify-full"),
        ("postgresql:///x", {"PGHOST": "db"}, "verify-full"),
        ("postgresql://localhost/x?sslmode=verify-full", {}, "verify-full"),
        # Where something else is said it stays; of this machine nothing is asked.
        ("postgresql://db/x?sslmode=prefer", {}, "said"),
        ("postgresql://db/x?ssl=true", {}, "said"),
        ("postgresql://db/x", {"PGSSLMODE": "require"}, "said"),
        ("postgresql://db/x", {"PGSSLMODE": "prefer"}, "said"),
        ("postgresql:///?service=weak", {}, "said"),
        ("postgresql:///?service=weak", {"PGSSLMODE": "verify-full"}, "said"),
        ("postgresql:///x", {}, "here"),
        ("postgresql:///x?host=/run/postgresql", {}, "here"),
        ("postgresql:///x?host=@abstract", {}, "here"),
        ("postgresql:///?service=here", {}, "here"),
        ("postgresql://localhost/x", {}, "here"),
        ("postgresql://127.0.0.2/x", {}, "here"),
        ("postgresql://[::1]/x", {}, "here"),
        ("postgresql://[::ffff:127.0.0.1]/x", {}, "here"),
        ("postgresql://db/x?hostaddr=127.0.0.1", {}, "here"),
    ],
)
def test_another_machine_must_prove_its_name_unless_somebody_says_otherwise(
    url: str, environment: Mapping[str, str], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    address = postgres_address(url)

    sslmode = address.parameters.get("sslmode")
    if mode == "verify-full":
        assert (sslmode, address.protection, address.warning) == ("verify-full", SYSTEM, "")
        assert Path(address.parameters["sslrootcert"]).is_file()
    elif mode == "said":
        assert sslmode != "verify-full"
        assert address.warning.endswith("; sslmode=verify-full prevents it")
    else:
        assert (sslmode, address.warning) == (None, "")


@pytest.mark.parametrize(
    ("options", "weak"),
    [
        ("sslmode=require&channel_binding=require", False),
        ("sslmode=verify-ca&channel_binding=require", False),
        ("sslmode=prefer&channel_binding=require", True),
        ("sslmode=require&channel_binding=prefer", True),
    ],
)
def test_a_password_that_both_sides_prove_to_know_is_as_good_as_a_name(options: str, *, weak: bool) -> None:
    assert bool(postgres_address(f"postgresql://db/x?{options}").warning) == weak


def test_an_own_authority_is_heeded_where_libpq_looks_for_it(home: Path) -> None:
    (home / ".postgresql").mkdir()
    (home / ".postgresql" / "root.crt").touch()

    address = postgres_address("postgresql://db/x")

    assert address.parameters == {"host": "db", "dbname": "x", "sslmode": "verify-full"}
    assert address.protection == f"TLS, verified by {home}/.postgresql/root.crt"


def test_a_libpq_that_knows_no_certificates_of_the_system_gets_them_as_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    used = {"host": "db", "sslmode": "prefer"}
    old = protection(used, mode_said=False, version=150_000)
    assert Path(old.parameters["sslrootcert"]).is_file()

    monkeypatch.setattr("ecsbatch.store.address._bundles", lambda: iter(()))
    assert protection(used, mode_said=False, version=160_000).parameters["sslrootcert"] == "system"
    with pytest.raises(ConfigError, match="sslrootcert=FILE"):
        protection(used, mode_said=False, version=150_000)


def test_a_program_is_warned_where_it_opens_a_store_by_a_weak_way() -> None:
    with pytest.warns(
        UserWarning, match="^sslmode=require to db: whoever stands on the way may be who answers"
    ) as told:
        store = open_store("postgresql://ann:CANARY@db/x?sslmode=require")
    assert told[0].filename == __file__
    assert "CANARY" not in f"{store!r} {store.url} {told[0].message}"

    open_store("postgresql://ann:CANARY@db/x")
    open_store("postgresql://ann:CANARY@localhost/x?sslmode=disable")
    with pytest.raises(ConfigError, match="give both"):
        open_store("postgresql:///x?hostaddr=10.0.0.1")


def test_an_address_without_a_name_cannot_be_verified() -> None:
    for url in ("postgresql:///x?hostaddr=10.0.0.1", "postgresql:///x?hostaddr=10.0.0.1&host=/run"):
        with pytest.raises(ConfigError, match="give both"):
            postgres_address(url)

    assert postgres_address("postgresql:///x?hostaddr=10.0.0.1&sslmode=require").warning


def test_of_several_hosts_whoever_writes_wants_the_one_that_can_be_written() -> None:
    url = "postgresql://a,b/x"
    assert postgres_address(url).parameters["target_session_attrs"] == "read-write"
    assert "target_session_attrs" not in postgres_address(url, read_only=True).parameters
    assert postgres_address(f"{url}?target_session_attrs=primary").parameters["target_session_attrs"] == "primary"
    assert "target_session_attrs" not in postgres_address("postgresql://a/x").parameters


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:C@NARY@h/db", "written as %40 %2F %3A %25"),
        ("postgresql://u:CANARY", "written as %40 %2F %3A %25"),
        ("postgresql://h/%CANARY", "written as %40 %2F %3A %25"),
        ("postgresql://h/x?sslmod=CANARY", "the nearest is sslmode."),
        ("postgresql://h/x?pasword=CANARY", "the nearest is password."),
        ("postgresql://h/x?password=CAN&ARY", "written as"),
        ("postgresql://h/%FFCANARY", "written as"),
        ("postgresql://h/CANARY\udcff", "written as"),
        ("postgresql:///?service=CAN", r'definition of service "CAN" not found'),
    ],
)
def test_a_url_that_cannot_be_understood_is_not_repeated(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        postgres_address(url)

    assert "ANARY" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("url", ["mysql://u:CANARY@h/x", "CANARY", "host=h password=CANARY", "postgresql:CANARY", ""])
def test_what_is_of_no_known_kind_is_not_repeated(url: str) -> None:
    for refuse in (known_kind, path_of):
        with pytest.raises(ConfigError, match=r"give sqlite:///relative.db, .* or postgresql://") as raised:
            refuse(url)
        assert "CAN" not in str(raised.value)


def test_kinds_are_known_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    assert [known_kind(url) for url in ("memory:", "sqlite:///x", "postgresql:///")] == ["memory", "sqlite", "postgres"]
    with pytest.raises(ConfigError, match=r"needs psycopg, which is not here: pip install 'ecsbatch\[postgres\]'\.$"):
        postgres_address("postgresql:///")


def test_one_port_is_that_of_all_hosts() -> None:
    used = {"host": "a,b", "port": "5433", "dbname": "x"}

    assert [place.port for place in places_of(used)] == ["5433", "5433"]
    assert name_of(used) == "postgresql://a:5433,b:5433/x"
