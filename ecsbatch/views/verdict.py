"""The simulator's auditor speaks: what the cloud itself counted, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_clean(audit: Mapping[str, Any]) -> bool:
    """Tell whether the quota held in every window and no server was restarted twice."""
    return _quota_held(audit) and not audit["restarted_more_than_once"]


def verdict_lines(audit: Mapping[str, Any]) -> list[str]:
    """Write the auditor's summary."""
    limit = audit["quota_limit"]
    share = audit.get("quota_share")
    used = f", {share:.1%} of it used after the first window" if share is not None else ""
    window = audit.get("quota_window_real", audit["quota_window"])
    fullest = f"{audit['fullest_window']:,} servers in {window:g} s"
    quota = f"{fullest}, {limit:,} are allowed{used}" if limit else fullest
    faults = ", ".join(f"{name} {count:,}" for name, count in sorted(audit["faults"].items())) or "none"
    restarted, twice = audit["restarted_servers"], audit["restarted_more_than_once"]
    by_zone = ", ".join(f"{zone} {count:,}" for zone, count in audit["most_down_by_zone"].items())
    return [
        "The simulated cloud's own books:",
        f"  fullest window   {quota}  {_mark(ok=_quota_held(audit))}",
        f"  restarted        {restarted:,} servers, {twice:,} of them more than once  {_mark(ok=not twice)}",
        f"  most down        {audit['most_down']:,} at once ({by_zone})",
        f"  requests         {audit['requests']:,}, {audit['throttled_requests']:,} of them throttled (429)",
        f"  misfortunes      {faults}",
    ]


def _quota_held(audit: Mapping[str, Any]) -> bool:
    return not audit["quota_limit"] or audit["fullest_window"] <= audit["quota_limit"]


def _mark(*, ok: bool) -> str:
    return "ok" if ok else "BREACH"
