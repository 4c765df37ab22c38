"""A server that speaks TLS, as one on another machine does; the wheel's knows none, Debian's does."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from .pgbouncer import missing
from .server import Server, ground, own

NAME: Final = "database.example"
"""The only name that its certificate says."""


def programs() -> Path:
    """Return the folder of the programs of Debian's PostgreSQL; skip the test where it is missing, but not in CI."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found or shutil.which("openssl") is None:
        missing("postgresql")
    return found[-1].parent


class TlsServer:
    """Debian's PostgreSQL, with a certificate of an authority that only this test knows.

    Attributes:
        server: the server itself; by its socket it speaks no TLS.
        authority: the certificate of who has signed the server's.
        stranger: the certificate of another authority, which has signed nothing.
    """

    def __init__(self) -> None:
        self.server = Server(programs=programs(), tcp=True)
        folder = Path(tempfile.mkdtemp(prefix="tls-", dir=ground()))
        folder.chmod(0o755)
        self.authority = _authority(folder, "authority")
        self.stranger = _authority(folder, "stranger")
        key, certificate = _signed(folder, NAME, "authority")
        own(key)
        key.chmod(0o600)
        self.server.settings |= {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
        self.server.start()

    def url(self, database: str = "postgres", *, name: str = NAME, user: str = "postgres", **options: str) -> str:
        """Return the address of a database under a name that no name server knows, with options of libpq's."""
        query = urlencode({"hostaddr": "127.0.0.1", **options}, quote_via=quote)
        return f"postgresql://{user}@{name}:{self.server.port}/{database}?{query}"

    def remove(self) -> None:
        """End and delete it."""
        self.server.remove()


def _authority(folder: Path, name: str) -> Path:
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    _openssl("req", "-x509", *_new(key), "-subj", f"/CN={name}", "-days", "2", "-out", str(certificate))
    return certificate


def _signed(folder: Path, name: str, by: str) -> tuple[Path, Path]:
    key, asked, certificate, names = (folder / f"server.{what}" for what in ("key", "csr", "pem", "names"))
    names.write_text(f"subjectAltName=DNS:{name}\n", encoding="utf-8")
    _openssl("req", *_new(key), "-subj", f"/CN={name}", "-out", str(asked))
    signer = ("-CA", str(folder / f"{by}.pem"), "-CAkey", str(folder / f"{by}.key"), "-CAcreateserial")
    _openssl(
        *("x509", "-req", "-in", str(asked), *signer, "-days", "2", "-extfile", str(names), "-out", str(certificate))
    )
    return key, certificate


def _new(key: Path) -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key))


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], check=False, capture_output=True, text=True)  # noqa: S603, S607 - ours
    assert done.returncode == 0, done.stderr
