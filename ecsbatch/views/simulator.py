"""What the simulated cloud's auditor has counted, for people."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any, Final

_WIDTH: Final = 80
_LABEL: Final = 19


def is_clean(audit: Mapping[str, Any]) -> bool:
    """Tell whether the quota held in every window and no server was restarted twice."""
    return _quota_held(audit) and not audit["restarted_more_than_once"]


def verdict_lines(audit: Mapping[str, Any], *, several_runs: bool = False) -> list[str]:
    """Write the auditor's summary; over several runs a second restart may be what a person asked for."""
    limit, share = audit["quota_limit"], audit.get("quota_share")
    window = audit.get("quota_window_real", audit["quota_window"])
    fullest = f"{audit['fullest_window']:,} servers in {window:g} s"
    if limit:
        fullest += f", {limit:,} are allowed: {_mark(ok=_quota_held(audit))}"
    restarted, twice = audit["restarted_servers"], audit["restarted_more_than_once"]
    judged = " (a person may have asked for it)" if several_runs and twice else f": {_mark(ok=not twice)}"
    by_zone = ", ".join(f"{zone} {count:,}" for zone, count in audit["most_down_by_zone"].items())
    rows = [
        ("fullest window", fullest),
        ("use of quota", f"{share:.1%} after the first window" if share is not None else ""),
        ("restarted", f"{restarted:,} servers, {twice:,} of them more than once{judged}"),
        ("most down", f"{audit['most_down']:,} at once ({by_zone})"),
        ("requests", f"{audit['requests']:,}, {audit['throttled_requests']:,} of them over the quota (429)"),
        ("misfortunes", ", ".join(f"{name} {count:,}" for name, count in sorted(audit["faults"].items())) or "none"),
    ]
    lines = ["The simulated cloud's own books:"]
    for label, text in rows:
        parts = wrap(text, _WIDTH - _LABEL, break_on_hyphens=False)
        lines += [f"{f'  {label}':{_LABEL}}{parts[0]}", *(" " * _LABEL + part for part in parts[1:])] if parts else []
    return lines


def _quota_held(audit: Mapping[str, Any]) -> bool:
    return not audit["quota_limit"] or audit["fullest_window"] <= audit["quota_limit"]


def _mark(*, ok: bool) -> str:
    return "ok" if ok else "BREACH"
