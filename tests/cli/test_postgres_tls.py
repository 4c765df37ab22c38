"""A database server that must prove its name: by which certificates, and what is told where it cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from postgres.tls import TlsServer
from typed_commands import Simulator, Terminal


@pytest.mark.parametrize(
    ("options", "trusted", "says"),
    [
        ({"sslmode": "verify-full"}, "authority", ""),
        ({"sslrootcert": "system"}, "authority", ""),
        (
            {"sslmode": "verify-full"},
            "stranger",
            "shows a certificate that is not trusted here (SSL error: certificate",
        ),
        ({"sslmode": "verify-full", "name": "another.example"}, "authority", "a certificate of another name ("),
        (
            {"sslmode": "verify-full", "sslrootcert": "/nowhere.pem"},
            "authority",
            "shows a certificate that is not trusted",
        ),
        ({"sslmode": "require", "sslrootcert": "system"}, "authority", 'weak sslmode "require" may not be used with'),
    ],
)
def test_a_server_proves_its_name_by_what_this_system_trusts(
    terminal: Terminal, cloud: Simulator, tls_server: TlsServer, options: Mapping[str, str], trusted: str, says: str
) -> None:
    """The driver's wheel would look for the system's certificates in a folder of its own."""
    before = cloud.audit()["requests"]
    url = tls_server.url(**options)
    done = terminal.type("store", "upgrade", "--store", url, SSL_CERT_FILE=str(getattr(tls_server, trusted)))

    assert (done.returncode, bool(done.stderr)) == (1 if says else 0, bool(says)), done.stderr
    assert says in done.stderr
    if not says:
        checked = terminal.type("store", "check", "-o", "json", "--store", url, SSL_CERT_FILE=str(tls_server.authority))
        line = {each["name"]: each for each in json.loads(checked.stdout)["checks"]}["line"]
        assert (line["state"], line["text"]) == ("ok", "TLS, verified by the certificates of the system")
    assert cloud.audit()["requests"] == before


def test_a_weaker_way_is_warned_of_by_each_command(terminal: Terminal, tls_server: TlsServer) -> None:
    """It is warned of before the server is asked, which is not there."""
    done = terminal.type("runs", "--store", "postgresql://ops@db.invalid:1/x?sslmode=require")

    warning, error = done.stderr.splitlines()
    assert done.returncode == 1
    assert warning.startswith("ecsbatch: warning: sslmode=require to db.invalid: whoever stands on the way may be who")
    assert error.startswith("ecsbatch: The store postgresql://ops@db.invalid:1/x has a host whose name is not known")
    url = tls_server.url(sslmode="require")
    assert terminal.type("store", "upgrade", "--store", url).stderr == ""
