"""Spans, read from the SDK's memory: whose child each is, what it links to, and what never stands in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from ecsbatch.config.settings import Strategy
from ecsbatch.model.events import BatchAccepted
from ecsbatch.restarter import Restarter
from ecsbatch.testing import Faults, Killed, World
from ecsbatch.views.traces import Traces

SUBMIT = "POST /v1/{project_id}/cloudservers/action"


class Told:
    """Makes spans in a world, and keeps those that have ended.

    Attributes:
        tracer: of the program, too.
        traces: what watches its engines.
    """

    def __init__(self, world: World, *, looks: bool = False) -> None:
        self.world = world
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("tests")
        self.traces = Traces(self.tracer, looks=looks)

    def spans(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a name, in the order of their ends."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def all(self) -> Sequence[ReadableSpan]:
        """Return all spans."""
        return self._exporter.get_finished_spans()

    @asynccontextmanager
    async def restarter(self) -> AsyncGenerator[Restarter]:
        """Start an engine that is traced."""
        world, watchers = self.world, [self.traces]
        async with (
            world.client(watchers=watchers) as ecs,
            world.store() as store,
            Restarter(ecs, store, clock=world.clock, seed=7, watchers=watchers) as restarter,
        ):
            yield restarter


def parent(span: ReadableSpan) -> int:
    return 0 if span.parent is None else span.parent.span_id


def own(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def links(span: ReadableSpan) -> set[int]:
    return {link.context.span_id for link in span.links}


def attribute(span: ReadableSpan, name: str) -> object:
    return (span.attributes or {}).get(name)


def test_a_rollout_of_200_servers_is_one_trace_below_its_caller_s_span() -> None:
    async def main() -> None:
        async with told.restarter() as restarter:
            with told.tracer.start_as_current_span("request"):
                rollout = await restarter.rollout(world.ids, Strategy(waves=["10", "100%"]), run_id="r").start()
            await rollout

    with World(servers=200, seed=3) as world:
        told = Told(world)
        world.run(main)

    [caller], [rollout], batches, posts = (told.spans(n) for n in ("request", "rollout", "batch", SUBMIT))
    assert parent(rollout) == own(caller)
    assert {parent(batch) for batch in batches} == {own(rollout)}
    assert sorted(map(parent, posts)) == sorted(map(own, batches)), "each batch is sent once"
    assert len({span.context.trace_id for span in told.all() if span.context}) == 1
    assert sum(int(str(attribute(batch, "ecsbatch.batch.restarted"))) for batch in batches) == 200
    assert [event.name for event in rollout.events] == ["wave.started", "wave.finished"] * 2
    assert attribute(rollout, "ecsbatch.run.status") == "succeeded"
    assert all(batch.start_time <= post.start_time for batch in batches for post in posts if parent(post) == own(batch))  # type: ignore[operator]


def test_a_batch_links_to_each_of_the_callers_whose_servers_it_carries() -> None:
    """They are of different traces, and of none: the batch is a trace of its own."""

    async def ask(restarter: Restarter, server: str, n: int) -> None:
        if n == 9:
            await restarter.restart(server)
            return
        with told.tracer.start_as_current_span(f"request {n}"):
            await restarter.restart(server)

    async def main() -> None:
        async with told.restarter() as restarter:
            await asyncio.gather(*(ask(restarter, server, n) for n, server in enumerate(world.ids)))

    with World(servers=10, seed=3) as world:
        told = Told(world)
        world.run(main)

    restarts, [batch] = told.spans("restart"), told.spans("batch")
    callers = {own(told.spans(f"request {n}")[0]) for n in range(9)}
    assert {parent(span) for span in restarts} == callers | {0}
    assert links(batch) == {own(span) for span in restarts}
    assert len(links(batch)) == 10
    assert batch.parent is None
    assert {attribute(span, "ecsbatch.outcome") for span in restarts} == {"restarted"}
    assert [parent(span) for span in told.spans(SUBMIT)] == [own(batch)]


def test_who_asks_for_a_server_that_is_under_way_is_linked_to_as_well() -> None:
    async def main() -> None:
        async with told.restarter() as restarter:
            first = restarter.submit(world.ids[0])
            async for recorded in restarter.events():
                if isinstance(recorded.event, BatchAccepted):
                    break
            await asyncio.gather(first, restarter.restart(world.ids[0]))

    with World(servers=1, seed=3) as world:
        told = Told(world)
        world.run(main)

    [batch] = told.spans("batch")
    assert links(batch) == {own(span) for span in told.spans("restart")}
    assert len(links(batch)) == 2


def test_a_single_restart_that_joins_a_rollout_is_linked_to_by_its_batch() -> None:
    async def main() -> None:
        async with told.restarter() as restarter:
            rollout = await restarter.rollout(world.ids, Strategy(waves=["100%"]), run_id="r").start()
            await restarter.restart(world.ids[3])
            await rollout

    with World(servers=10, seed=3) as world:
        told = Told(world)
        world.run(main)

    [single], carriers = told.spans("restart"), [batch for batch in told.spans("batch") if batch.links]
    assert [links(batch) for batch in carriers] == [{own(single)}]


def test_http_spans_follow_the_semantic_conventions_and_tell_nothing_secret() -> None:
    async def main() -> None:
        async with told.restarter() as restarter:
            await restarter.rollout(world.ids, Strategy(max_failures="100%"), run_id="r").run()

    with World(servers=40, seed=4, submit_faults=Faults(reject_503=0.3, reset_before=0.3)) as world:
        told = Told(world)
        world.run(main)
        secrets = [world.config.secret_key, world.config.access_key, world.config.user_data]

    posts = told.spans(SUBMIT)
    assert {span.kind for span in posts} == {SpanKind.CLIENT}
    for span in posts:
        status, error = attribute(span, "http.response.status_code"), attribute(span, "error.type")
        assert attribute(span, "http.request.method") == "POST"
        assert attribute(span, "server.address") == "ecs.example.com"
        assert attribute(span, "server.port") == 443
        assert attribute(span, "url.template") == "/v1/{project_id}/cloudservers/action"
        assert error == (None if status == 200 else "503" if status == 503 else "ConnectionResetError")
        assert (span.status.status_code is StatusCode.ERROR) == (error is not None)
    assert len({attribute(span, "http.response.status_code") for span in posts}) == 3, "not every end was seen"
    everything = "".join(span.to_json() for span in told.all())
    assert not [
        secret for secret in [*secrets, "Authorization", "/v1/" + world.config.project_id] if secret in everything
    ]


@pytest.mark.parametrize("looks", [False, True])
def test_looks_have_spans_only_where_that_is_asked_for(*, looks: bool) -> None:
    async def main() -> None:
        async with told.restarter() as restarter:
            await restarter.restart(world.ids[0])

    with World(servers=1, seed=3) as world:
        told = Told(world, looks=looks)
        world.run(main)

    assert bool([span for span in told.all() if span.name.startswith("GET ")]) == looks


def test_failures_are_told_where_they_belong() -> None:
    async def main() -> None:
        async with told.restarter() as restarter:
            await restarter.restart(world.ids[0])
            await restarter.rollout(world.ids[1:], Strategy(max_failures=0), run_id="r").run()

    with World(servers=4, seed=3) as world:
        world.cloud.doom(world.ids[0], "fail")
        world.cloud.doom(world.ids[2], "fail")
        told = Told(world)
        world.run(main)

    [single], [rollout] = told.spans("restart"), told.spans("rollout")
    assert (single.status.status_code, attribute(single, "ecsbatch.outcome")) == (StatusCode.ERROR, "failed")
    assert (rollout.status.status_code, attribute(rollout, "error.type")) == (StatusCode.ERROR, "max_failures")


def test_no_span_is_left_open_and_nothing_is_remembered() -> None:
    """Of a run that ends, one that is closed half way, and callers who give up."""

    async def main() -> None:
        async with told.restarter() as restarter:
            await restarter.rollout(world.ids[:5], run_id="whole").run()
            restarter.submit(world.ids[5]).cancel()
            half = await restarter.rollout(world.ids[6:], Strategy(waves=["100%"]), run_id="half").start()
            async for recorded in half.events():
                if isinstance(recorded.event, BatchAccepted):
                    break

    with World(servers=20, seed=3) as world:
        told = Told(world)
        world.run(main)

    traces = told.traces
    assert (traces._runs, traces._asking, traces._carried) == ({}, {}, {})
    assert {attribute(span, "ecsbatch.run.status") for span in told.spans("rollout")} == {"succeeded", "interrupted"}
    assert [attribute(span, "error.type") for span in told.spans("restart")] == ["cancelled"]
    assert sum(int(str(attribute(span, "ecsbatch.batch.left") or 0)) for span in told.spans("batch")) > 0


def test_who_goes_on_with_a_run_has_a_rollout_of_its_own() -> None:
    async def begin() -> None:
        async with first.restarter() as restarter:
            await restarter.rollout(world.ids, Strategy(waves=["100%"], max_unavailable="30%"), run_id="r").run()

    async def go_on() -> None:
        async with second.restarter() as restarter:
            await (await restarter.resume("r")).run()

    with World(servers=40, seed=3) as world:
        first, second = Told(world), Told(world)
        with pytest.raises(Killed):
            world.run(begin, kill_after=450)
        world.run(go_on)

    [rollout] = second.spans("rollout")
    assert attribute(rollout, "ecsbatch.run.holder") == 2
    assert {parent(batch) for batch in second.spans("batch")} == {own(rollout)}
