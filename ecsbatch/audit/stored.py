"""Compares what a store keeps of a run beside its journal with the journal: the run's row, its claims, its chain.

A run goes by its journal; the rest is what `status` and other runs go by. Whoever edits the one and not the other is
found here. Pure, no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ecsbatch.audit.receipt import Finding, Receipt, Rule
from ecsbatch.model import events as ev
from ecsbatch.model.chain import ChainCheck
from ecsbatch.model.text import counted

_KINDS: Final[Mapping[type[ev.Event], str]] = {
    ev.ServerRestarted: "restarted",
    ev.ServerFailed: "failed",
    ev.ServerTimedOut: "timed_out",
    ev.ServerUnknown: "unknown",
    ev.ServerSkipped: "skipped",
}


@dataclass(slots=True)
class JournalTally:
    """What a run's events say of what its row says, too.

    Attributes:
        plan: the plan that the run began with, None where no event tells it.
        outcomes: servers by outcome.
        certain: False while servers are tried again, whose outcomes until then versions count in different ways.
    """

    plan: Mapping[str, Any] | None = None
    outcomes: Counter[str] = field(default_factory=Counter[str])
    certain: bool = True

    def feed(self, event: ev.Event) -> None:
        """Count the next event."""
        if kind := _KINDS.get(type(event)):
            self.outcomes[kind] += 1
        elif isinstance(event, ev.RunStarted):
            self.plan = event.plan or None
        elif isinstance(event, ev.RunResumed) and event.retry:
            self.certain = False
        elif isinstance(event, ev.RunFinished) and event.counts:
            self.outcomes, self.certain = Counter(event.counts), True


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What a store keeps of a run beside its journal.

    Attributes:
        seq, status, over, counts, plan: as its row has them, read before the journal.
        steady: True where nothing was added to the run while it was read.
        same_servers: False where its list of servers is not the one that its row tells.
        chain: its chain.
        anchor: the head that somebody has noted, "" for none.
        unclaimed: servers that it should have and that are anybody's, or another run's.
        overclaimed: servers that it has and that are none of its own.
    """

    seq: int
    status: str
    over: bool
    counts: Mapping[str, int]
    plan: Mapping[str, Any]
    chain: ChainCheck
    same_servers: bool = True
    steady: bool = True
    anchor: str = ""
    unclaimed: Sequence[str] = ()
    overclaimed: Sequence[str] = ()


def compare(receipt: Receipt, stored: StoredRun, tally: JournalTally) -> Receipt:
    """Return a receipt of the journal with what the rest of the store says against it."""
    found = [*_against_chain(stored), *_against_row(receipt, stored, tally), *_against_claims(stored)]
    counts = Counter(receipt.breaches) + Counter(finding.rule for finding in found)
    order = list(Rule)
    return replace(
        receipt,
        findings=tuple(sorted((*receipt.findings, *found), key=lambda finding: order.index(finding.rule))),
        breaches={rule: counts[rule] for rule in order if counts[rule]},
        chain=stored.chain,
        notes=(*receipt.notes, *_notes(stored)),
    )


def _against_chain(stored: StoredRun) -> Iterator[Finding]:
    chain = stored.chain
    if chain.breach:
        yield Finding(Rule.CHAIN, chain.breach, chain.breach_at)
    if stored.anchor and chain.anchored is None:
        yield Finding(
            Rule.CHAIN,
            "The head that was given is none of this record's: what it stood for was changed, added to or taken away.",
        )


def _against_row(receipt: Receipt, stored: StoredRun, tally: JournalTally) -> Iterator[Finding]:
    missing = stored.seq - receipt.events
    if missing > 0:
        yield Finding(Rule.RECORD, f"The store has counted {stored.seq:,} events, {missing:,} of them are not there.")
    elif missing and stored.steady:
        yield Finding(Rule.RECORD, f"The store has counted {stored.seq:,} events, and there are {receipt.events:,}.")
    elif tally.certain and not missing and +Counter(stored.counts) != +tally.outcomes:
        told, shown = dict(+Counter(stored.counts)), dict(+tally.outcomes)
        yield Finding(Rule.RECORD, f"The store has counted the outcomes {told}, and the events show {shown}.")
    if stored.over and receipt.status != stored.status:
        yield Finding(Rule.RECORD, f"The store says {stored.status}, and by its events it is {receipt.status}.")
    if tally.plan is not None and tally.plan != stored.plan:
        yield Finding(Rule.RECORD, "The store's plan is not the one that the run's first event tells.")
    if not stored.same_servers:
        yield Finding(Rule.TARGETS, "The list of servers is not the one that the run was made of.")


def _against_claims(stored: StoredRun) -> Iterator[Finding]:
    if free := stored.unclaimed:
        text = f"The run is not over and does not have {counted(len(free), 'server')} of its own: others may take them."
        yield Finding(Rule.CLAIMS, f"{text} The first is {free[0]}.", server=free[0] if len(free) == 1 else "")
    if over := stored.overclaimed:
        text = f"The run has {counted(len(over), 'server')} that it was not made of."
        yield Finding(Rule.CLAIMS, f"{text} The first is {over[0]}.", server=over[0] if len(over) == 1 else "")


def _notes(stored: StoredRun) -> Iterator[str]:
    chain = stored.chain
    if chain.since is None:
        yield (
            "The record has no chain of hashes, so an edit of it may not be found: a version from before there were "
            "any wrote it, or somebody has taken them away."
        )
    elif chain.since > 1:
        yield f"The chain of hashes begins at event {chain.since:,}: what was edited before that is not found by it."
    if chain.anchored is not None and chain.anchored < chain.events:
        yield f"The head that was given stands for the events up to {chain.anchored:,}; the others came later."
