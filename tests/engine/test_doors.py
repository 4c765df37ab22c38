"""What comes through the library's door is brought into one form, or refused before it can harm anybody else."""

from __future__ import annotations

from typing import Any

import pytest
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import ConfigError, EcsbatchError, SelectionError
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.servers import Fleet, Server


@pytest.mark.parametrize("odd", ["abc\ud800", "", "a\nb", "x" * 129, Server("\x00")])
def test_one_odd_id_is_refused_and_the_engine_goes_on(odd: str | Server) -> None:
    """Python's JSON reads halves of characters, and so does a web service: this one ended the engine for everybody."""
    world = World(servers=2)

    async def main() -> tuple[list[EcsbatchError], Outcome]:
        refused: list[EcsbatchError] = []
        async with world.restarter() as restarter:
            for door in (restarter.restart, lambda each: restarter.rollout([world.ids[0], each]).start()):
                try:
                    await door(odd)
                except SelectionError as e:
                    refused.append(e)
            return refused, await restarter.restart(world.ids[1])

    refused, outcome = world.live(main)

    assert [str(each).partition(":")[0] for each in refused] == [f"{str(refused[0]).partition(':')[0]}"] * 2
    assert "is no server" in str(refused[0])
    assert outcome.kind is OutcomeKind.RESTARTED


def test_capital_letters_name_the_same_server() -> None:
    world = World(servers=2)

    async def main() -> list[Outcome]:
        async with world.restarter() as restarter:
            futures = [restarter.submit(world.ids[0].upper()), restarter.submit(world.ids[0])]
            result = await restarter.rollout([world.ids[1].upper()]).run()
            assert result.status is RunStatus.SUCCEEDED
            return [await each for each in futures]

    first, second = world.live(main)

    assert first == second
    assert (first.server, first.kind) == (world.ids[0], OutcomeKind.RESTARTED)
    assert [world.cloud.restarts(each) for each in world.ids] == [1, 1]


@pytest.mark.parametrize("word", ["soft", "SOFT", "hard", "HARD", "Soft"])
def test_a_type_may_be_written_in_small_letters(word: Any) -> None:
    world = World(servers=2)

    async def main() -> tuple[Outcome, str]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids[1:], Strategy(type=word))
            return await restarter.restart(world.ids[0], type=word), rollout.plan.type

    outcome, planned = world.live(main)

    assert (outcome.kind, planned) == (OutcomeKind.RESTARTED, word.upper())
    assert Plan(Fleet(["a"]), (Wave(1, 0, 1),), type=word).type == word.upper()


@pytest.mark.parametrize("word", ["reboot", "", None, 1])
def test_a_type_that_there_is_not_is_refused(word: Any) -> None:
    """It went to the cloud as it was."""
    world = World(servers=1)

    async def main() -> None:
        async with world.restarter() as restarter:
            restarter.submit(world.ids[0], type=word)

    for refuse in (
        lambda: world.live(main),
        lambda: Strategy(type=word),
        lambda: Plan(Fleet(["a"]), (Wave(1, 0, 1),), type=word),
    ):
        with pytest.raises(ConfigError, match='give "soft" or "hard"'):
            refuse()
