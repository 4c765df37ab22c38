"""The files that a browser gets, as they lie in the package."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_ASSETS: Final = Path(__file__).parent / "assets"


def asset(name: str) -> bytes:
    """Return a file of ``assets/``, such as ``page.css``."""
    return (_ASSETS / name).read_bytes()


def live_page(template: str) -> str:
    """Fill ``page.html`` as a server gives it: its styles and scripts are files beside it."""
    head = "".join(f'<link rel="stylesheet" href="/assets/{name}">\n' for name in ("uplot.css", "page.css"))
    scripts = "".join(f'<script src="/assets/{name}"></script>\n' for name in ("uplot.js", "page.js"))
    return template.replace("<!--head-->\n", head).replace("<!--scripts-->\n", scripts)
