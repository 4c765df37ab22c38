"""Jobs and their sub-jobs: ``GET /v1/{project}/jobs/{job_id}``.

A job knows when each sub-job ends and how; its JSON is computed when somebody looks. Each sub-job is written once as
running and once as ended, so that a look at 1,000 of them joins bytes instead of building them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.replies import Rejected, Reply, ecs_error, milliseconds

JOB_TYPE: Final = "serversAction"
SUB_JOB_TYPE: Final = "serverActions"
"""As recorded from the real API: the job's type and its sub-jobs' differ in where one s stands."""


@dataclass(frozen=True, slots=True)
class SimulatedSubJob:
    """One server's part of a job: when it ends (infinity for never) and, where it fails, the code and the reason."""

    server_id: str
    ends: float
    code: str = ""
    reason: str = ""


class SimulatedJob:
    """One accepted request.

    Attributes:
        id: the job's id.
        begins: when it begins.
        sub_ends: when each sub-job ends.
        ends: when the job itself ends: some seconds after the last sub-job, infinity where one never does.
    """

    __slots__ = ("_bytes", "_failures", "_first", "_next", "_order", "_server_ids", "begins", "ends", "id", "sub_ends")

    def __init__(
        self, job_id: str, first: str, begins: float, sub_jobs: Sequence[SimulatedSubJob], parent_lag: float
    ) -> None:
        self.id = job_id
        self.begins = begins
        self.sub_ends = array("d", [sub_job.ends for sub_job in sub_jobs])
        self.ends = max(self.sub_ends, default=begins) + parent_lag
        self._first = first
        self._server_ids = [sub_job.server_id for sub_job in sub_jobs]
        self._failures = {i: (sub_job.code, sub_job.reason) for i, sub_job in enumerate(sub_jobs) if sub_job.code}
        self._order: list[int] = []
        self._next = 0
        self._bytes: list[bytes] = []

    def failed(self) -> bool:
        """Return True where any sub-job fails."""
        return bool(self._failures)

    def first_failure(self) -> tuple[str, str]:
        """Return the code and reason that the job itself shows."""
        return next(iter(self._failures.values()))

    def render(self, at: float, begins: float, stamp: Callable[[float], float]) -> bytes:
        """Return the JSON array of sub-jobs at the instant `at`, without its brackets."""
        if not self._bytes:
            begin_time = milliseconds(stamp(begins))
            self._bytes = [self._running(i, begin_time) for i in range(len(self._server_ids))]
            self._order = sorted(range(len(self.sub_ends)), key=self.sub_ends.__getitem__)
            self._next = 0
        while self._next < len(self._order) and self.sub_ends[self._order[self._next]] <= at:
            index = self._order[self._next]
            self._bytes[index] = self._ended(
                index, milliseconds(stamp(begins)), milliseconds(stamp(self.sub_ends[index]))
            )
            self._next += 1
        rendered = b",".join(self._bytes)
        if at >= self.ends:
            # An ended job is seldom looked at again: a day's jobs would keep 300 bytes for each server.
            self._bytes, self._order = [], []
        return rendered

    def _sub_job_id(self, index: int) -> str:
        return f"{self._first}{index:08x}"

    def _running(self, index: int, begin_time: str) -> bytes:
        return (
            f'{{"status":"RUNNING","entities":{{"server_id":"{self._server_ids[index]}"}},'
            f'"job_id":"{self._sub_job_id(index)}","job_type":"{SUB_JOB_TYPE}",'
            f'"begin_time":"{begin_time}","end_time":""}}'
        ).encode()

    def _ended(self, index: int, begin_time: str, end_time: str) -> bytes:
        code, reason = self._failures.get(index, ("", ""))
        tail = ""
        if code:
            tail = f',"errorcode_message":{orjson.dumps(f"{code}: {reason}").decode()}'
        return (
            f'{{"status":"{"FAIL" if code else "SUCCESS"}",'
            f'"entities":{{"server_id":"{self._server_ids[index]}"{tail}}},'
            f'"job_id":"{self._sub_job_id(index)}","job_type":"{SUB_JOB_TYPE}",'
            f'"begin_time":"{begin_time}","end_time":"{end_time}",'
            f'"error_code":{_or_null(code)},"fail_reason":{_or_null(reason)}}}'
        ).encode()


class Jobs:
    """All jobs that the cloud remembers."""

    def __init__(self, config: CloudConfig, stamp: Callable[[float], float]) -> None:
        self._config = config
        self._stamp = stamp
        self._jobs: dict[str, SimulatedJob] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: SimulatedJob) -> None:
        """Remember a job."""
        self._jobs[job.id] = job

    def show(self, job_id: str, at: float) -> Reply:
        """Answer a look; for an unknown, invisible or forgotten id that is a 400 ``Common.0011``, not a 404.

        Raises:
            Rejected: there is no such job.
        """
        job = self._jobs.get(job_id)
        if job is None or at < job.begins + self._config.job_visible_after:
            raise Rejected(_unknown_job(job_id))
        if at >= job.ends + self._config.job_retention:
            del self._jobs[job_id]
            raise Rejected(_unknown_job(job_id))
        return Reply(200, self._body(job, at), {"Content-Type": "application/json;charset=UTF-8"})

    def _body(self, job: SimulatedJob, at: float) -> bytes:
        begin_time = milliseconds(self._stamp(job.begins))
        head = f'"job_id":"{job.id}","job_type":"{JOB_TYPE}","begin_time":"{begin_time}"'
        sub_begins = job.begins + self._config.init_time
        if at < sub_begins:
            return f'{{"status":"INIT","entities":{{}},{head},"end_time":""}}'.encode()
        total = len(job.sub_ends)
        sub_jobs = job.render(at, sub_begins, self._stamp)
        return b"".join(
            (
                f'{{"status":"{self._status(job, at)}","entities":{{"sub_jobs_total":{total},"sub_jobs":['.encode(),
                sub_jobs,
                f"]}},{head},{self._tail(job, at)}}}".encode(),
            )
        )

    def _status(self, job: SimulatedJob, at: float) -> str:
        if at < job.ends:
            return "RUNNING"
        return "FAIL" if self._config.parent_fails and job.failed() else "SUCCESS"

    def _tail(self, job: SimulatedJob, at: float) -> str:
        """Return the end of the job's JSON: no error fields while it runs, nulls when all went well."""
        if at < job.ends:
            return '"end_time":""'
        code, reason = job.first_failure() if self._status(job, at) == "FAIL" else ("", "")
        end_time = milliseconds(self._stamp(job.ends))
        return f'"end_time":"{end_time}","error_code":{_or_null(code)},"fail_reason":{_or_null(reason)}'


def _or_null(text: str) -> str:
    return orjson.dumps(text or None).decode()


def _unknown_job(job_id: str) -> Reply:
    return ecs_error(400, "Common.0011", f"Failed to query system tasks: invalid job id {job_id}")
