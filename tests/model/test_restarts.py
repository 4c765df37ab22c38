"""Restarts that are folded together leave the state that they leave one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.restarts import restarts_together, servers_of
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState

IDS = [f"s{i}" for i in range(12)]
PLAN = Plan(
    fleet=Fleet(IDS, ["a", "b", "c"] * 4), waves=(Wave(1, 0, 6, "50%"), Wave(2, 6, 11, "100%")), max_unavailable=12
)


def restarted(server: str, **more: Any) -> ev.ServerRestarted:
    return ev.ServerRestarted(**{"server": server, "batch": 1, "evidence": "job", "job_id": "j1"} | more)


def recorded(*events: ev.Event, ts: float = 5.0) -> list[Recorded]:
    return [Recorded(seq, ts, "k7f", event) for seq, event in enumerate(events, 1)]


@pytest.mark.parametrize(
    "other",
    [
        ev.JobProgress(batch=1),
        restarted("s1", batch=2),
        restarted("s1", evidence="state"),
        restarted("s1", holds=True),
        restarted("s1", not_retried="not_found"),
        restarted("s1", reason="odd"),
        restarted("s1", host="h"),
        ev.ServerFailed(server="s1", batch=1, evidence="job"),
    ],
)
def test_only_restarts_that_are_alike_are_in_one_group(other: ev.Event) -> None:
    groups = restarts_together(recorded(restarted("s0"), restarted("s5"), other, restarted("s2"), restarted("s3")))

    assert [servers_of(group) for group in (groups[0], groups[-1])] == [["s0", "s5"], ["s2", "s3"]]
    assert [each.event for group in groups[1:-1] for each in group] == [other]
    assert [each.seq for group in groups for each in group] == [1, 2, 3, 4, 5]


def test_restarts_of_different_times_are_in_groups_of_their_own() -> None:
    early, late = recorded(restarted("s0")), recorded(restarted("s1"), ts=6.0)

    assert restarts_together([*early, *late]) == [early, late]


def history(chance: Random) -> Iterator[list[ev.Event]]:
    """Yield what is stored together, of a run to which anything may happen in any order."""
    yield [ev.RunStarted(total=12), ev.HolderChanged(holder="bob", fence=1), ev.WaveStarted(wave=1)]
    for batch in range(1, 16):
        some = chance.sample(IDS, chance.randint(1, 8))
        yield [ev.BatchSubmitting(batch=batch, servers=some, wave=1, updated=[""] * len(some))]
        yield chance.choice([[ev.BatchAccepted(batch=batch, job_id=f"j{batch}")], [ev.BatchUnknown(batch=batch)]])
        ends: list[type[ev.ServerEvent]] = [ev.ServerFailed, ev.ServerTimedOut, ev.ServerUnknown, ev.ServerSkipped]
        for server in chance.sample(some, chance.randint(0, len(some) // 2)):
            how, reason = chance.choice(ends), chance.choice(["", "odd"])
            holds = chance.random() < 0.5
            yield [how(server=server, batch=batch, reason=reason, host="h", holds=holds, job_id="j")]
        yield [restarted(s, batch=batch) for s in chance.choices(chance.choice([some, IDS]), k=chance.randint(1, 9))]
        if chance.random() < 0.3:
            yield [ev.BatchUnstarted(batch=batch, servers=some)]
        if chance.random() < 0.2:
            retry, skip = chance.choice([[], ["failed"], ["unknown"]]), chance.choice([[], [], ["a"]])
            yield [
                ev.RunResumed(
                    retry=retry, forgive=chance.random() < 0.5, skip_domains=skip, keeps_outcomes=batch % 2 > 0
                )
            ]
        if chance.random() < 0.2:  # who is not tried again after all keeps the outcome that it had
            kept = chance.sample(IDS, chance.choice([6, 12]))
            yield [ev.ServerSkipped(server=server, reason="locked", not_retried="locked") for server in kept]
        yield [restarted(server, batch=batch) for server in chance.sample(some, (len(some) + 1) // 2)]


def known(value: Any) -> Any:
    """Return all that a value remembers, to be compared, where it cannot be by itself."""
    if isinstance(value, dict):
        return {key: known(each) for key, each in value.items()}
    if value is None or type(value).__eq__ is not object.__eq__:
        return value
    names = vars(value) if hasattr(value, "__dict__") else value.__slots__
    return {name: known(getattr(value, name)) for name in names}


def folded(commits: Sequence[Sequence[Recorded]], *, together: bool) -> RolloutState:
    state = RolloutState("k7f", PLAN)
    for commit in commits:
        for group in restarts_together(commit) if together else ():
            state.apply_restarts(group)
        for each in () if together else commit:
            state.apply(each)
    return state


@pytest.mark.parametrize("seed", range(150))
def test_restarts_that_are_folded_together_leave_the_state_that_they_leave_one_by_one(seed: int) -> None:
    commits: list[list[Recorded]] = []
    for events in history(Random(seed)):
        after = commits[-1][-1].seq if commits else 0
        commits.append([Recorded(after + n, float(len(commits)), "k7f", each) for n, each in enumerate(events, 1)])

    one_by_one, together = folded(commits, together=False), folded(commits, together=True)

    assert known(together) == known(one_by_one)
    assert any(len(group) > 1 for commit in commits for group in restarts_together(commit))
