"""The files that a browser gets, as they lie in the package."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_ASSETS: Final = Path(__file__).parent / "assets"


def asset(name: str) -> bytes:
    """Return a file of ``assets/``, such as ``page.css``."""
    return (_ASSETS / name).read_bytes()
