"""`OutcomeColumns`: what is remembered of each server's requests and of its end, from which an `Outcome` is made.

A million servers fit into some tens of megabytes: what most have is an entry of a column, what few have is by index.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from sys import intern
from typing import Final

from ecsbatch.model.events import ServerEvent
from ecsbatch.model.outcome import Evidence, Outcome, OutcomeKind
from ecsbatch.model.servers import Fleet
from ecsbatch.model.tally import KIND, Attempt, Stage

_EVIDENCES: Final = ("", *(e.value for e in Evidence))
_EVIDENCE: Final = {word: i for i, word in enumerate(_EVIDENCES)}

_UNTOLD: Final = frozenset({Stage.TIMED_OUT, Stage.UNKNOWN})
"""Ends that a job has not told."""


class OutcomeColumns:
    """Servers are indexes in the fleet, batches are numbers.

    Attributes:
        attempts: how many requests have named each server, up to 255.
        details: reason, code and message of those whose end has any.
        submitted: when each batch's intent was stored, seconds since 1970; 0 where there was none.
    """

    def __init__(self, fleet: Fleet) -> None:
        """Begin with a fleet to which nothing was done."""
        n = len(fleet)
        self._fleet = fleet
        self.attempts = bytearray(n)
        self._evidence = bytearray(n)
        self._batch = array("i", bytes(4 * n))
        self._ended_at = array("d", bytes(8 * n))
        self._jobs: list[str] = [""]
        self.submitted = array("d", [0.0])
        self.details, self._hosts = dict[int, tuple[str, str, str]](), dict[int, str]()
        self._untold = set[int]()  # ended although the job that they were followed by has not told their end

    def submitting(self, batch: int, indexes: Iterable[int], ts: float) -> None:
        """Note a batch's intent."""
        while len(self._jobs) <= batch:
            self._jobs.append("")
            self.submitted.append(0.0)
        self.submitted[batch] = ts
        for i in indexes:
            self._batch[i] = batch
            self.attempts[i] = min(255, self.attempts[i] + 1)

    def accepted(self, batch: int, job_id: str) -> None:
        """Note a batch's job."""
        self._jobs[batch] = job_id

    def ended(self, i: int, stage: Stage, event: ServerEvent, ts: float) -> None:
        """Note how a server ended."""
        self._ended_at[i] = ts
        self._evidence[i] = _EVIDENCE[event.evidence]
        if event.reason or event.code or event.message:
            self.details[i] = (event.reason, event.code, event.message)
        else:
            self.details.pop(i, None)
        if event.host or self._hosts:
            self._note_host(i, event.host)
        if stage in _UNTOLD and event.job_id:
            self._untold.add(i)
        else:
            self._untold.discard(i)

    def restarted(self, indexes: Iterable[int], evidence: str, ts: float) -> None:
        """Note that servers were restarted and that there is no more to say: what `ended` does for each."""
        number = _EVIDENCE[evidence]
        for i in indexes:
            self._ended_at[i], self._evidence[i] = ts, number
        for by_index in (self.details, self._hosts):
            if by_index:
                for i in indexes:
                    by_index.pop(i, None)
        self._untold.difference_update(indexes)

    def _note_host(self, i: int, host: str) -> None:
        """Remember where a server ended, if that is elsewhere than the plan has it; few texts are shared by many."""
        if host and host != self._fleet.host(i):
            self._hosts[i] = intern(host)
        else:
            self._hosts.pop(i, None)

    def last_attempt(self, i: int) -> Attempt:
        """Return a server's last request, of which a look may yet show that it was carried out."""
        job_id = self._jobs[self._batch[i]] if i in self._untold else ""
        return Attempt(self._batch[i], "", 0.0, job_id)

    def outcome(self, i: int, stage: Stage, not_retried: str) -> Outcome:
        """Return how a server at a stage ended, or stands; ``not_retried`` as in `Outcome`."""
        kind = KIND.get(stage, OutcomeKind.NOT_STARTED if stage == Stage.WAITING else OutcomeKind.UNKNOWN)
        reason, code, message = self.details.get(i, ("", "", "")) if stage >= Stage.RESTARTED else ("", "", "")
        if stage is Stage.LEFT_OUT:
            reason, code, message = "left_out", "", ""
        if Stage.SUBMITTING <= stage <= Stage.UNSETTLED:
            reason = "in_flight"
        evidence = _EVIDENCES[self._evidence[i]] if Stage.RESTARTED <= stage < Stage.LEFT_OUT else ""
        batch = self._batch[i]
        return Outcome(
            server=self._fleet.ids[i],
            kind=kind,
            reason=reason,
            evidence=Evidence(evidence) if evidence else None,
            code=code,
            message=message,
            job_id=self._jobs[batch],
            attempts=self.attempts[i],
            submitted_at=self.submitted[batch] or None,
            ended_at=self._ended_at[i] or None,
            not_retried=not_retried,
            name=self._fleet.name(i),
            domain=self._fleet.domain(i),
            host=self._hosts.get(i) or self._fleet.host(i),
        )
