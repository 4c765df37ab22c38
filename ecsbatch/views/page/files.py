"""The files that a browser gets, as they lie in the package, and where ``page.html`` is filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ASSETS: Final = Path(__file__).parent / "assets"
"""The folder of them."""

STYLES: Final = ("uplot.css", "page.css")
SCRIPTS: Final = ("uplot.js", "page.js")

MARKS: Final = ("<!--head-->", "<!--summary-->", "<!--data-->", "<!--scripts-->")
"""Where ``page.html`` is filled in: with styles, a report's summary and its data, and scripts, in this order."""


def asset(name: str) -> bytes:
    """Return a file of ``assets/``, such as ``page.css``."""
    return (ASSETS / name).read_bytes()


def live_page(template: str) -> str:
    """Fill ``page.html`` as a server gives it: its styles and scripts are files beside it."""
    styles = "".join(f'<link rel="stylesheet" href="/assets/{name}">\n' for name in STYLES)
    scripts = "".join(f'<script src="/assets/{name}"></script>\n' for name in SCRIPTS)
    for mark, filling in zip(MARKS, (styles, "", "", scripts), strict=True):
        template = template.replace(f"{mark}\n", filling)
    return template
