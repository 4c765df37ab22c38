"""``ecsbatch audit``: a receipt of what a run's record proves. It reads the store and needs no cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from cyclopts import Parameter

from ecsbatch.audit.receipt import Finding, Receipt, Rule
from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import AskFlags, ConfigFile, RunName
from ecsbatch.cli.output import columns, print_json, print_lines
from ecsbatch.cli.wiring import make_store
from ecsbatch.model.events import BatchSubmitting, decode
from ecsbatch.store.history import pages
from ecsbatch.views.receipt import receipt_lines

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord
    from ecsbatch.store import DatabaseStore

_REACH: Final = 7_200.0
"""Seconds before and after a run in which another one's requests may share a window with its own: an hour of grace,
the longest timeouts and windows that are usual."""

_ALL_RUNS: Final = 1_000_000
_INTENT: Final = f'"event":"{BatchSubmitting.name}"'.encode()
_HEAD: Final = 160
"""Bytes of a line within which an event's name stands, before any text of the cloud's."""


def audit(
    run: RunName = "", /, *, flags: Annotated[AskFlags | None, Parameter(name="*")] = None, config: ConfigFile = None
) -> int:
    """Replay a run's record and say whether it kept what was promised: quota, budget, limits, nothing lost or twice.

    Other runs of the store that spent the same quota meanwhile are counted in. Ends with 1 where a promise is broken.
    """
    context = CliContext.of(flags, config)
    receipt = asyncio.run(_audit(context.store_url, run))
    if context.wants_json:
        print_json(receipt.to_json())
    else:
        print_lines(receipt_lines(receipt, columns(to_stdout=True)), to_stdout=True)
    return Exit.OK if receipt.ok else Exit.ERROR


async def _audit(url: str, name: str) -> Receipt:
    async with make_store(url, read_only=True) as store:
        record = await store.run(name)
        others = await _meanwhile(store, record)
        fleet = await store.targets(record.run_id) if record.kind == "rollout" else None
        loop = asyncio.get_running_loop()
        # The audit reads page after page without ever waiting: on a thread, while the store answers from this loop.
        return await asyncio.to_thread(_replay_run, store, record, fleet, others, loop)


def _replay_run(
    store: DatabaseStore, record: RunRecord, fleet: Any, others: list[RunRecord], loop: asyncio.AbstractEventLoop
) -> Receipt:
    from ecsbatch.audit.replay import audit as replay  # noqa: PLC0415 - imported when used

    spent: set[str] = set()
    own = _noting(pages(store, record.run_id, loop), spent)
    beside = (_of_groups(pages(store, each.run_id, loop), spent) for each in others)
    return _with_its_length(replay(own, fleet, beside=beside), record)


def _with_its_length(receipt: Receipt, record: RunRecord) -> Receipt:
    """Compare the record's length with what the store has counted: lines that are gone from its end leave no gap."""
    missing = record.seq - receipt.events
    if missing <= 0:
        return receipt
    gone = Finding(Rule.RECORD, f"The store has counted {record.seq:,} events, {missing:,} of them are not there.")
    breaches = {**receipt.breaches, Rule.RECORD: receipt.breaches.get(Rule.RECORD, 0) + 1}
    return replace(receipt, findings=(*receipt.findings, gone), breaches=breaches)


async def _meanwhile(store: DatabaseStore, record: RunRecord) -> list[RunRecord]:
    """Return the other runs of the store that were going on near this one's time."""
    begun, ended = record.created_at - _REACH, await _ended(store, record) + _REACH
    others = [each for each in await store.runs(limit=_ALL_RUNS) if each.run_id != record.run_id]
    return [each for each in others if each.created_at <= ended and await _ended(store, each) >= begun]


async def _ended(store: DatabaseStore, record: RunRecord) -> float:
    """Return when a run's last event was stored."""
    for line in await store.lines(record.run_id, max(0, record.seq - 1), 1):
        try:
            last = decode(line)
        except ValueError:
            last = None
        if last is not None:
            return last.ts
    return float("inf")


def _noting(lines: Iterator[bytes], groups: set[str]) -> Iterator[bytes]:
    """Pass lines on, and note whose quota they spend."""
    for line in lines:
        if _is_intent(line):
            groups.add(_group(line))
        yield line


def _of_groups(lines: Iterator[bytes], groups: Collection[str]) -> Iterator[bytes]:
    """Pass lines on, without requests that spend another quota."""
    return (line for line in lines if not _is_intent(line) or _group(line) in groups)


def _is_intent(line: bytes) -> bool:
    return _INTENT in line[:_HEAD]


def _group(line: bytes) -> str:
    try:
        told: dict[str, Any] = orjson.loads(line)
    except ValueError:
        return ""
    # Older versions wrote the endpoint into it; a project is of one region.
    return str(told.get("group") or "").rpartition("/")[2] or str(told.get("site") or "")
