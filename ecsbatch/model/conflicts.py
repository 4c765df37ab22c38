"""How two runs or two processes can be in each other's way: the kinds of `RunConflict`.

RunConflict
+-- ServersClaimed   another run has some of the servers: watch it, go on with it, or leave them out
|   +-- ServersWanted  that run is just being created: wait until it has begun
+-- RunExists        the run id is taken: the same targets continue that run, others need another id
+-- RunHeld          a living process holds the run: ask it, or wait until it has ended
+-- RunTaken         the run was taken over: this process must not go on with it
+-- RunOver          the run was aborted: nothing resumes it
"""

from __future__ import annotations

from ecsbatch.errors import RunConflict
from ecsbatch.model.events import stamp
from ecsbatch.model.run import Holder, RunRecord
from ecsbatch.model.text import counted


def _named(holder: Holder) -> str:
    where = "" if holder.name.endswith(f"@{holder.host}") else f" on {holder.host}"
    return f"{holder.name}, pid {holder.pid}{where} since {stamp(holder.since)[:19]}Z"


class ServersClaimed(RunConflict):
    """Another run that is not over has some of the servers.

    Attributes:
        run_id: the run that has most of them.
        servers: how many it has.
        runs: every run in the way, with the number of servers it has.
    """

    def __init__(self, record: RunRecord, runs: dict[str, int]) -> None:
        self.run_id = record.run_id
        self.servers = runs[record.run_id]
        self.runs = runs
        more = len(runs) - 1
        others = f", and {counted(more, 'other run')} {'holds' if more == 1 else 'hold'} more of them" if more else ""
        run, belong = record.run_id, "belongs" if self.servers == 1 else "belong"
        last = "" if record.held else "last held by "
        way = f"wait for it (`ecsbatch watch {run}`)" if record.held else f"go on with it (`ecsbatch resume {run}`)"
        super().__init__(
            f"{self.servers:,} of these servers {belong} to run {run} ({record.status}, {record.ended:,} of "
            f"{record.total:,} done, {last}{_named(record.holder)}){others}: {way}, "
            f"end it (`ecsbatch abort {run}`), "
            "or leave its servers out with --exclude-claimed."
        )


class ServersWanted(ServersClaimed):
    """A run that is just being created has some of the servers.

    Attributes:
        run_id: the run that has most of them.
        servers: how many it has.
        runs: every run in the way, with the number of servers it has.
    """

    def __init__(self, run_id: str, runs: dict[str, int]) -> None:
        self.run_id = run_id
        self.servers = runs[run_id]
        self.runs = runs
        RunConflict.__init__(
            self,
            f"{self.servers:,} of these servers belong to run {run_id}, which another process is just creating: "
            "wait until it has begun, then try again.",
        )


class RunExists(RunConflict):
    """The run id is taken.

    Attributes:
        run_id: the id.
        targets_hash: the hash of the existing run's targets.
        record: the existing run.
    """

    def __init__(self, record: RunRecord) -> None:
        self.run_id = record.run_id
        self.targets_hash = record.targets_hash
        self.record = record
        super().__init__(f"Run {record.run_id} exists already ({record.status}): resume it, or choose another run id.")


class RunHeld(RunConflict):
    """A living process holds the run.

    Attributes:
        run_id: the run.
        holder: that process.
    """

    def __init__(self, run_id: str, holder: Holder) -> None:
        self.run_id = run_id
        self.holder = holder
        super().__init__(
            f"Run {run_id} is held by {_named(holder)}: pause, resume or abort it there, or wait until it has ended."
        )


class RunTaken(RunConflict):
    """The run was taken over by another holder; what the caller wanted to write was not written.

    Attributes:
        run_id: the run.
        holder: who has it now.
    """

    def __init__(self, run_id: str, holder: Holder) -> None:
        self.run_id = run_id
        self.holder = holder
        super().__init__(
            f"Run {run_id} was taken over by {_named(holder)}: this process writes nothing more to it; watch it there."
        )


class RunOver(RunConflict):
    """The run was aborted, which is final.

    Attributes:
        run_id: the run.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"Run {run_id} was aborted, which is final: start a new run for what is left.")
