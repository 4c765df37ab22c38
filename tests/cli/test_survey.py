"""What a command keeps of the servers that it has looked at."""

from __future__ import annotations

from dataclasses import fields

from ecsbatch.cli.survey import PreparedPlan, Survey
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.servers import Fleet, Server, ServerView, Site

IDS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(1_000)]


def test_the_repr_of_a_survey_does_not_grow_with_the_fleet() -> None:
    # `asyncio.run` makes the repr of what its task has returned, to no end: it took 4% of a restart of 20,000 servers.
    servers, views = [Server(each) for each in IDS], {each: ServerView(each) for each in IDS}
    surveyed = Survey(
        servers, views, Site("https://ecs.example.com", "p"), excluded=frozenset(IDS), recent=frozenset(IDS)
    )
    plan = Plan(Fleet(IDS), (Wave(1, 0, len(IDS), "100%"),), max_unavailable=1, max_failures=1)

    assert len(repr(surveyed)) < 500
    assert len(repr(plan)) < 1_000
    assert not next(field for field in fields(PreparedPlan) if field.name == "views").repr
