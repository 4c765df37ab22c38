"""Direct restarts, by their events: whose claims end with one, and who is still to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from ecsbatch.config.settings import Engine
from ecsbatch.engine.direct import DirectRestarts
from ecsbatch.model import events as ev
from ecsbatch.model.run import Holder
from ecsbatch.simulator.virtual_time import run

IDS = ["a", "b", "c"]


class Asked:
    """Three servers that callers have asked for."""

    def __init__(self) -> None:
        nothing: Any = lambda *_: None  # noqa: E731
        site: Any = SimpleNamespace(add=nothing, drop=nothing)
        runtime: Any = SimpleNamespace(
            store=None, holder=Holder("tester", "here", 1, 0.0), engine=Engine(), pipelines={"": site}, wake=nothing
        )
        self.direct = DirectRestarts(runtime, "d")
        self.waiting = {server: self.direct.submit(server, "", "SOFT") for server in IDS}
        self.queue = self.direct._queues["", "SOFT"]

    def fold(self, *events: ev.Event) -> None:
        """Follow what was stored."""
        self.direct._fold([ev.Recorded(seq, 1000.0, "d", event) for seq, event in enumerate(events, 1)])


def sent(*servers: str) -> ev.Event:
    return ev.BatchSubmitting(batch=1, servers=servers, updated=[""] * len(servers), type="SOFT")


@pytest.mark.parametrize(
    ("before", "event", "freed"),
    [
        ([], ev.ServerSkipped(server="a", reason="locked"), []),  # nothing was claimed for it yet
        ([sent("a", "b")], ev.ServerRestarted(server="a", batch=1), ["a"]),
        ([sent("a", "b")], ev.ServerFailed(server="b", batch=1), ["b"]),
        ([sent("a", "b")], ev.ServerTimedOut(server="b", batch=1), ["b"]),
        ([sent("a", "b")], ev.ServerUnknown(server="b", batch=1), ["b"]),
        ([sent("a", "b")], ev.BatchUnstarted(batch=1, servers=["a"]), ["a"]),
        ([sent("a", "b")], ev.BatchRejected(batch=1, kind="throttled"), ["a", "b"]),
        ([sent("a", "b"), ev.ServerRestarted(server="a", batch=1)], ev.BatchRejected(batch=1, kind="refused"), ["b"]),
        # Of what may still be carried out nobody else may have the servers.
        ([sent("a", "b")], ev.BatchUnknown(batch=1), []),
        ([sent("a", "b")], ev.BatchAccepted(batch=1, job_id="j"), []),
        ([sent("a", "b")], ev.BatchStarted(batch=1, servers=["a"]), []),
    ],
)
def test_a_claim_ends_with_whatever_ends_the_intent(
    before: Sequence[ev.Event], event: ev.Event, freed: list[str]
) -> None:
    async def main() -> list[str]:
        asked = Asked()
        asked.fold(*before)
        return sorted(server for _, server in asked.direct._freed_by(event))

    assert run(main()) == freed


@pytest.mark.parametrize(
    ("events", "cancelled", "wanted"),
    [
        ([], [], IDS),
        ([], ["a"], ["b", "c"]),
        ([], IDS, []),
        ([ev.ServerSkipped(server="a", reason="locked")], [], ["b", "c"]),
        ([sent("a", "b"), ev.BatchRejected(batch=1, kind="throttled")], ["b"], ["a", "c"]),
    ],
)
def test_who_is_to_be_sent_has_somebody_who_waits(
    events: list[ev.Event], cancelled: list[str], wanted: list[str]
) -> None:
    async def main() -> list[str]:
        asked = Asked()
        asked.fold(*events)
        for server in cancelled:
            asked.waiting[server].cancel()
        return [server for server in IDS if asked.direct.wanted(asked.queue, server)]

    assert run(main()) == wanted
