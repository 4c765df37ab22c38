"""How two runs or two processes can be in each other's way: the kinds of `RunConflict`.

RunConflict
+-- ServersClaimed   another run has some of the servers: watch it, go on with it, or leave them out
|   +-- ServersWanted  that run is just being created: wait until it has begun
+-- RunExists        the run id is taken: the same targets continue that run, others need another id
+-- RunHeld          a living process holds the run: ask it, or wait until it has ended
+-- RunTaken         the run was taken over: this process must not go on with it
+-- RunOver          the run was aborted: nothing resumes it
+-- NotFollowed      the run's process has not followed a command in time: see what becomes of it
"""

from __future__ import annotations

from typing import ClassVar

from ecsbatch.errors import RunConflict
from ecsbatch.model.json_text import stamp
from ecsbatch.model.run import Holder, RunRecord
from ecsbatch.model.text import counted


def _named(holder: Holder) -> str:
    if not holder.pid:
        return holder.name  # one that is not known
    where = "" if holder.name.endswith(f"@{holder.host}") else f" on {holder.host}"
    return f"{holder.name}, pid {holder.pid}{where} since {stamp(holder.since)[:19]}Z"


class ServersClaimed(RunConflict):
    """Another run that is not over has some of the servers.

    Attributes:
        run_id: the run that has most of them.
        holder: the name of the process that holds it, or held it last.
        held: True where a living process holds it.
        servers: how many it has.
        runs: every run in the way, with the number of servers it has.
    """

    FIELDS: ClassVar[tuple[str, ...]] = (*RunConflict.FIELDS, "held", "servers", "runs")

    def __init__(self, record: RunRecord, runs: dict[str, int]) -> None:
        self.held = record.held
        self.servers = runs[record.run_id]
        self.runs = runs
        more = len(runs) - 1
        others = f", and {counted(more, 'other run')} {'holds' if more == 1 else 'hold'} more of them" if more else ""
        run, belong = record.run_id, "belongs" if self.servers == 1 else "belong"
        last = "" if record.held else "last held by "
        way = "wait for it" if record.held else "go on with it"
        super().__init__(
            f"{self.servers:,} of these servers {belong} to run {run} ({record.status}, {record.ended:,} of "
            f"{record.total:,} done, {last}{_named(record.holder)}){others}: {way}, "
            "end it, or leave its servers out.",
            run_id=run,
            holder=record.holder.name,
        )


class ServersWanted(ServersClaimed):
    """A run that is just being created has some of the servers.

    Attributes:
        run_id: the run that has most of them.
        holder: "": it is not stored yet.
        held: True.
        servers: how many it has.
        runs: every run in the way, with the number of servers it has.
    """

    def __init__(self, run_id: str, runs: dict[str, int]) -> None:
        self.held = True
        self.servers = runs[run_id]
        self.runs = runs
        RunConflict.__init__(
            self,
            f"{self.servers:,} of these servers belong to run {run_id}, which another process is just creating: "
            "wait until it has begun, then try again.",
            run_id=run_id,
        )


class RunExists(RunConflict):
    """The run id is taken.

    Attributes:
        run_id: the id.
        holder: the name of the process that holds the existing run, or held it last.
        status: how that run stands, a word of `RunStatus`.
        targets_hash: the hash of the existing run's targets.
        record: the existing run.
    """

    FIELDS: ClassVar[tuple[str, ...]] = (*RunConflict.FIELDS, "status")

    def __init__(self, record: RunRecord) -> None:
        self.status = record.status.value
        self.targets_hash = record.targets_hash
        self.record = record
        super().__init__(
            f"Run {record.run_id} exists already ({record.status}): resume it, or choose another run id.",
            run_id=record.run_id,
            holder=record.holder.name,
        )


class RunHeld(RunConflict):
    """A living process holds the run.

    Attributes:
        run_id: the run.
        holder: that process's name.
        process: that process.
    """

    def __init__(self, run_id: str, process: Holder) -> None:
        self.process = process
        super().__init__(
            f"Run {run_id} is held by {_named(process)}: pause, resume or abort it there, or wait until it has ended.",
            run_id=run_id,
            holder=process.name,
        )


class RunTaken(RunConflict):
    """The run was taken over by another holder; what the caller wanted to write was not written.

    Requests in the air then are settled by whoever has the run, by looking.

    Attributes:
        run_id: the run.
        holder: the name of the process that has it now.
        host, pid: where that process runs.
        since: when it took the run, RFC 3339 in UTC.
        process: that process.
    """

    FIELDS: ClassVar[tuple[str, ...]] = (*RunConflict.FIELDS, "host", "pid", "since")

    def __init__(self, run_id: str, process: Holder) -> None:
        self.process = process
        self.host, self.pid, self.since = process.host, process.pid, stamp(process.since)
        super().__init__(
            f"Run {run_id} was taken over by {_named(process)}: this process sends and writes nothing more of it; "
            "watch it there.",
            run_id=run_id,
            holder=process.name,
        )


class RunOver(RunConflict):
    """The run was aborted, which is final.

    Attributes:
        run_id: the run.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(f"Run {run_id} was aborted, which is final: start a new run for what is left.", run_id=run_id)


def gone_on(record: RunRecord) -> RunConflict:
    """Return the error of a run whose record has grown since somebody decided by it."""
    return RunConflict(
        f"Run {record.run_id} has gone on since it was looked at: look at it anew.",
        run_id=record.run_id,
        holder=record.holder.name,
    )


class NotFollowed(RunConflict):
    """The process that holds a run has not followed a command in time; it is asked of it all the same.

    Attributes:
        run_id: the run.
        holder: the name of the process that holds it.
        command: what was asked for, such as ``pause``.
    """

    FIELDS: ClassVar[tuple[str, ...]] = (*RunConflict.FIELDS, "command")

    def __init__(self, run_id: str, process: Holder, command: str, seconds: float) -> None:
        self.command = command
        super().__init__(
            f"Run {run_id} has not followed within {seconds:g} s: {command} is asked of its process "
            f"({_named(process)}), which follows once it reads it.",
            run_id=run_id,
            holder=process.name,
        )
