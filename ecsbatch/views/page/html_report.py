"""The HTML report of a run: one file that can be mailed, opened from a disk and printed.

What it says stands in plain HTML first. Every server follows as compressed columns, which the script of the live page
draws. Nothing is loaded from elsewhere: styles and scripts are in it, and its policy lets no other run.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, Final

from ecsbatch.model.json_text import json_bytes
from ecsbatch.policy.progress import progress
from ecsbatch.views.page.cells import cell_states
from ecsbatch.views.page.columns import fleet_object
from ecsbatch.views.page.figures import Figures
from ecsbatch.views.page.files import MARKS, SCRIPTS, STYLES, asset
from ecsbatch.views.page.html_text import safe
from ecsbatch.views.page.report_sections import sections
from ecsbatch.views.page.reported_run import ReportedRun
from ecsbatch.views.receipt import receipt_lines
from ecsbatch.views.summary import headline
from ecsbatch.views.text import visible_values

_LIVE, _REPORT = 'data-mode="live"', 'data-mode="report"'
_TITLE: Final = "<title>ecsbatch</title>"
_GZIP: Final = 31
_ENCODED: Final = 3 * 16_384
"""Bytes that are written in base64 together; a multiple of three needs no padding."""


def report_html(report: ReportedRun, file: Callable[[str], bytes] = asset) -> Iterator[bytes]:
    """Yield the pieces of a report.

    Args:
        report: what it is about.
        file: returns one of the files that a browser gets, by its name.
    """
    figures = Figures(report.state)
    style = b"\n".join(map(file, STYLES))
    scripts = [file(name) for name in SCRIPTS]
    title = f"<title>{safe(headline(report.state, report.at))}</title>"
    template = file("page.html").decode().replace(_LIVE, _REPORT, 1).replace(_TITLE, title, 1)
    parts = _cut(template)
    yield parts[0].encode()
    yield _policy(style, scripts) + b"<style>" + style + b"</style>\n"
    yield parts[1].encode()
    yield from (part.encode() for part in sections(report, figures))
    yield parts[2].encode()
    yield b'<script type="application/octet-stream;base64" id="data">'
    yield from _encoded(_packed(_data(report, figures)))
    yield b"</script>\n"
    yield parts[3].encode()
    yield from (b"<script>" + script + b"</script>\n" for script in scripts)
    yield parts[4].encode()


def _cut(template: str) -> list[str]:
    """Return what stands between the marks of a template."""
    parts: list[str] = []
    for mark in MARKS:
        before, _, template = template.partition(mark)
        parts.append(before)
    return [*parts, template]


def _policy(style: bytes, scripts: Iterable[bytes]) -> bytes:
    """Return the policy that lets these styles and scripts work, and nothing else."""
    allowed = " ".join(map(_hash, scripts))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'.encode()


def _hash(text: bytes) -> str:
    return f"'sha256-{b64encode(sha256(text).digest()).decode()}'"


def _data(report: ReportedRun, figures: Figures) -> Iterator[bytes]:
    """Yield the pieces of one JSON object: what the page's script draws."""
    state = report.state
    told: list[tuple[str, Any]] = [
        ("fleet", fleet_object(state.run_id, state.plan)),
        ("cells", b64encode(cell_states(state)).decode()),
        ("details", report.details.table()),
        ("times", figures.times.table()),
        ("progress", visible_values(progress(state, report.at).as_dict())),
        ("timeline", report.timeline.as_dict()),
        ("audit", visible_values(_audit(report))),
        ("summary", {"headline": headline(state, report.at), "at": report.at, "version": report.version}),
    ]
    for i, (name, value) in enumerate(told):
        yield b'%b"%b":%b' % (b"," if i else b"{", name.encode(), json_bytes(value))
    yield b"}"


def _audit(report: ReportedRun) -> dict[str, Any]:
    if report.receipt is None:
        return {"ok": None, "lines": [], "not_audited": report.not_audited}
    return {"ok": report.receipt.ok, "lines": receipt_lines(report.receipt), "not_audited": ""}


def _packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def _encoded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    left = bytearray()
    for piece in pieces:
        left += piece
        whole = len(left) // _ENCODED * _ENCODED
        if whole:
            yield b64encode(left[:whole])
            del left[:whole]
    yield b64encode(left)
