"""The trace of a rollout, as a tree, with the links of its batches: beside it others ask for single restarts.

The cloud is simulated and time is virtual; how long a span takes is therefore not told. What is printed is what a
back end of OpenTelemetry would get.

    python -m benchmarks trace [SERVERS]
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ecsbatch.config.settings import Strategy
from ecsbatch.restarter import Restarter
from ecsbatch.testing import World
from ecsbatch.views.traces import Traces

CALLERS = 4


def trace(servers: int) -> Sequence[ReadableSpan]:
    """Roll out over ``servers``, beside callers who each ask for one more; return the spans in the order of begin."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("benchmarks")
    watchers = [Traces(tracer)]

    async def ask(restarter: Restarter, server: str, caller: int) -> None:
        with tracer.start_as_current_span(f"GET /restart (caller {caller})"):
            await restarter.restart(server)

    async def main() -> None:
        async with (
            world.client(watchers=watchers) as ecs,
            world.store() as store,
            Restarter(ecs, store, clock=world.clock, seed=1, watchers=watchers) as restarter,
        ):
            with tracer.start_as_current_span("POST /rollouts"):
                strategy = Strategy(waves=["1", "10%", "100%"], max_unavailable="100%")
                rollout = await restarter.rollout(world.ids[:servers], strategy).start()
            # One of them asks for a server of the rollout.
            asked = [*world.ids[servers : servers + CALLERS - 1], world.ids[servers - 1]]
            await asyncio.gather(*(ask(restarter, server, n) for n, server in enumerate(asked, 1)))
            await rollout

    with World(servers=servers + CALLERS, seed=1) as world:
        world.run(main)
    return sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)


def print_trees(spans: Sequence[ReadableSpan]) -> None:
    """Print each span below its parent."""
    children: Mapping[int, list[ReadableSpan]] = defaultdict(list)
    names = {span.context.span_id: f"{span.name} {span.context.span_id:016x}" for span in spans}
    for span in spans:
        children[0 if span.parent is None else span.parent.span_id].append(span)

    def show(span: ReadableSpan, depth: int) -> None:
        hidden = ("server.", "url.", "process.")
        told = {k.removeprefix("ecsbatch."): v for k, v in (span.attributes or {}).items() if not k.startswith(hidden)}
        facts = " ".join(f"{name}={value}" for name, value in told.items())
        print(f"{'  ' * depth}{span.name} {span.context.span_id:016x}  {facts}")
        for link in span.links:
            print(f"{'  ' * depth}  -> {names[link.context.span_id]} of trace {link.context.trace_id:032x}")
        for event in span.events if span.name == "rollout" else ():
            print(f"{'  ' * depth}  * {event.name} {dict(event.attributes or {})}")
        for child in children[span.context.span_id]:
            show(child, depth + 1)

    for root in children[0]:
        print(f"trace {root.context.trace_id:032x}")
        show(root, 1)


def main() -> int:
    """Trace and print."""
    servers = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    spans = trace(servers)
    print_trees(spans)
    links = sum(len(span.links) for span in spans)
    print(f"{len(spans)} spans, {links} links, {servers} servers of the rollout and {CALLERS} callers")
    return 0 if links == CALLERS else 1
