"""The files of the page, read once: a browser gets them with their ETag, and asks whether they have changed."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ecsbatch.errors import ConfigError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.views.page.files import live_page

if TYPE_CHECKING:
    from pathlib import Path

PAGE: Final = "page.html"

_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file.

    Attributes:
        body, packed: as it is, and in gzip.
        etag: names this content.
        content_type: for the browser.
    """

    body: bytes
    packed: bytes
    etag: str
    content_type: str


def load_assets(folder: Path) -> dict[str, Asset]:
    """Return the files of the page by their names.

    Raises:
        ConfigError: the package has no page.
    """
    try:
        files = [each for each in folder.iterdir() if each.name.rpartition(".")[2] in _TYPES]
        found = {each.name: _asset(each.name, each.read_bytes()) for each in files}
    except OSError as e:
        raise ConfigError(f"The page's files cannot be read ({e.strerror}): install ecsbatch again.") from e
    if PAGE not in found:
        raise ConfigError("The page's files are not in this installation: install ecsbatch again.")
    template = found[PAGE].body.decode()
    return found | {PAGE: _asset(PAGE, live_page(template).encode())}


def _asset(name: str, body: bytes) -> Asset:
    content_type = _TYPES[name.rpartition(".")[2]]
    return Asset(body, gzip.compress(body, 9, mtime=0), f'"{hashlib.sha256(body).hexdigest()[:32]}"', content_type)
