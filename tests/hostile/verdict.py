"""What a scenario came to: what was seen, and what was promised and not kept, judged by the cloud's books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .stage import CloudRecord, Ended, Hostile, Machine

OVER = ("succeeded", "failed", "aborted")


@dataclass
class Verdict:
    """One scenario's verdict, written as it is played."""

    name: str
    seen: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything that is promised was kept."""
        return not self.complaints

    def line(self) -> str:
        """Say it in one line."""
        told = "; ".join([*self.complaints, *self.seen])
        return f"{self.name:12} {'holds ' if self.holds else 'BROKEN'} {told}"

    def note(self, text: str) -> None:
        """Say what was seen."""
        self.seen.append(text)

    def expect(self, kept: bool, complaint: str) -> None:  # noqa: FBT001 - it reads as a sentence
        """Complain where something was not kept."""
        if not kept:
            self.complaints.append(complaint)

    def code(self, what: str, ended: Ended, *codes: int) -> None:
        """Note an exit code, complain where it is none of those expected."""
        self.note(f"{what} exit {ended.code}")
        wanted = " or ".join(map(str, codes))
        self.expect(ended.code in codes, f"{what} ended with {ended.code} and not {wanted} ({ended.last_words[:140]})")

    def books(self, cloud: Hostile, limit: int, window: float, *, count: int | None = None) -> CloudRecord:
        """Judge what the cloud has counted: the fullest window, nothing twice, and so many servers in all."""
        books = cloud.books()
        fullest = books.fullest(window)
        self.note(f"fullest window {fullest} of {limit}")
        restarted = len(books.begun)
        self.note(f"{restarted} restarted by the books" + (f" of {count}" if count is not None else ""))
        self.expect(fullest <= limit, f"{fullest} servers in a window of {limit}")
        self.expect(not books.twice, f"{books.twice} servers restarted twice")
        if count is not None:
            self.expect(restarted == count, f"{restarted} servers were restarted and not {count}")
        return books

    def run(self, machine: Machine, run_id: str, cloud: Hostile, *statuses: str) -> Mapping[str, Any]:
        """Judge how a run stands, every outcome against the books, and what the audit says."""
        report = machine.report(run_id)
        run, servers = report["run"], report["servers"]
        counts = Counter(f"{s['outcome']}{':' + s['reason'] if s['reason'] else ''}" for s in servers)
        shown = ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))
        reason = f" {run['reason']}" if run["reason"] else ""
        self.note(f"{run_id} {run['status']}{reason} ({shown})")
        wanted = statuses or OVER
        self.expect(run["status"] in wanted, f"run {run_id} is {run['status']}{reason} and not {' or '.join(wanted)}")
        if run["status"] in OVER:
            self.expect(len(servers) == run["total"], f"{len(servers)} outcomes of {run['total']} servers")
        for complaint, number in Counter(untrue(servers, cloud.books())).items():
            self.expect(kept=False, complaint=f"{number} {complaint}")
        audit = machine.type("audit", run_id)
        self.note(f"audit {audit.code}")
        self.expect(audit.code == 0, f"the audit of {run_id} ends with {audit.code}")
        return report


def untrue(servers: Sequence[Mapping[str, Any]], books: CloudRecord) -> Iterator[str]:
    """Yield what is told of a server and is not so."""
    for server in servers:
        times, said, reason = len(books.begun.get(server["id"], ())), server["outcome"], server["reason"]
        if said == "restarted" and not times:
            yield "say restarted and were not"
        elif said in {"not_started", "skipped"} and times:
            yield f"say {said} {reason} and were restarted".replace("  ", " ")
        elif reason == "not_found":
            yield "say not_found and exist"
        elif said == "timed_out" and server["id"] in books.up:
            yield "say timed_out and are back"
