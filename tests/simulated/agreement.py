"""`audit` must find a promise broken only where the checker, which also sees the cloud's side, does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ecsbatch.audit.replay import audit
from ecsbatch.model.servers import Fleet, Server

from .play import Record
from .run_log import RunLog, read_run_logs


def false_alarms(record: Record) -> Iterator[str]:
    """Yield what `audit` finds in the runs of a world in which nothing was broken."""
    lines: dict[str, list[bytes]] = defaultdict(list)
    for row in record.database.journal():
        lines[row.run_id] += row.lines
    for run_id, tale in read_run_logs(record.database).items():
        beside = [others for other, others in lines.items() if other != run_id]
        receipt = audit(lines[run_id], _fleet(tale), quota=record.world.engine.quota, beside=beside)
        for finding in receipt.findings:
            yield f"audit: {run_id} #{finding.seq}: {finding.rule}: {finding.text}"


def _fleet(tale: RunLog) -> Fleet | None:
    if tale.kind != "rollout":
        return None
    return Fleet.of([Server(server, tale.domain[server]) for server in tale.targets])
