"""The audit's receipt for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ecsbatch.audit.receipt import Finding, Peak, Receipt
from ecsbatch.model.json_text import stamp
from ecsbatch.model.servers import labelled
from ecsbatch.model.text import counted, printable
from ecsbatch.views.text import WORDS, paragraph

_EXAMPLES: Final = 5
"""Findings of one rule that are written out."""

_DOMAINS: Final = 6
_KINDS: Final = {kind.value: word for kind, word in WORDS.items()}
_COLUMN: Final = 16


def receipt_lines(receipt: Receipt, width: int = 80) -> list[str]:
    """Write a receipt for people."""
    broken = sum(receipt.breaches.values())
    times = "once" if broken == 1 else f"{broken:,} times"
    verdict = "no promise is broken." if receipt.ok else f"promises are broken {times}."
    lines = [f"Audit of run {printable(receipt.run_id)} ({printable(receipt.status)}): {verdict}"]
    for label, text in _rows(receipt):
        lines += _row(label, text, width)
    if not receipt.ok:
        lines += ["", "Broken:"]
    for rule, count in receipt.breaches.items():
        shown = [finding for finding in receipt.findings if finding.rule is rule][:_EXAMPLES]
        for finding in shown:
            lines += _row(f"  {rule.value}", (f"#{finding.seq}: " if finding.seq else "") + _told(finding), width)
        if count > len(shown):
            lines += _row("", f"... and {count - len(shown):,} more of these.", width)
    return lines


def _told(finding: Finding) -> str:
    """Return what was found, the server with its name."""
    server = finding.server
    return finding.text.replace(server, labelled(server, finding.name)) if server and finding.name else finding.text


def _rows(receipt: Receipt) -> Iterator[tuple[str, str]]:
    yield "  record", f"{counted(receipt.events, 'event')}, {counted(receipt.holders, 'holder')}"
    if receipt.chain is not None and receipt.chain.since is not None and not receipt.chain.breach:
        yield "  head", receipt.chain.head
    for window in receipt.windows:
        site = f" at {window.site}" if window.site else ""
        span = f"any {window.quota.window:g} s{site}"
        text = f"at most {window.servers:,} of {window.quota.limit:,} servers in {span}"
        yield "  quota", f"{text} ({window.certain:,} for certain), at {stamp(window.at)}"
    if receipt.requests:
        yield "  down at once", _down("", receipt.down)
    fullest = sorted(receipt.down_by_domain.items(), key=lambda item: -item[1].servers)
    for name, peak in fullest[:_DOMAINS] if len(fullest) > 1 else ():
        yield "", _down(f"{name or '(no domain)'}: ", peak)
    yield "  sent", _sent(receipt)
    allowed = "" if receipt.allowed_failures is None else f", {receipt.allowed_failures:,} are allowed"
    yield "  failures", f"{receipt.failures:,}{allowed}"
    yield "  outcomes", ", ".join(_outcomes(receipt)) or "none"
    for note in receipt.notes:
        yield "  note", note


def _outcomes(receipt: Receipt) -> Iterator[str]:
    """Yield how many servers have each outcome, and how many are under way: they add up to all."""
    told = receipt.outcomes
    yield from (f"{count:,} {_KINDS.get(kind, kind)}" for kind, count in told.items())
    if receipt.total is not None and (under_way := receipt.total - sum(told.values())) > 0:
        yield f"{under_way:,} on their way"


def _sent(receipt: Receipt) -> str:
    text = f"{counted(receipt.submitted, 'server')} in {counted(receipt.requests, 'request')}"
    if receipt.repeated:
        text += f"; {receipt.repeated:,} again after a request that did nothing"
    return text + (f"; {receipt.retried:,} again by a person's retry" if receipt.retried else "")


def _down(where: str, peak: Peak) -> str:
    of = "" if peak.allowed is None else f" of {peak.allowed:,}"
    return f"{where}at most {peak.servers:,}{of}" + (f", at {stamp(peak.at)}" if peak.servers else "")


def _row(label: str, text: str, width: int) -> list[str]:
    return paragraph(label, printable(text, len(text)), width, _COLUMN)
