"""`Traces`: spans of rollouts, batches, requests and single restarts, by OpenTelemetry. Read `Traces` first.

It hears of a `Restarter`'s events and of an `EcsClient`'s requests, and is the only module that imports opentelemetry,
of which it needs the API alone: who samples, what exports and where to is for the SDK of whoever runs the program.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Outcome, RunStatus
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.requests import SENDING, OutgoingRequest
from ecsbatch.model.state import RolloutState

_FIRST_ERROR: Final = 400
"""The first HTTP status that a client's span calls an error."""

_TURNS: Final[Mapping[type[ev.Event], tuple[str, ...]]] = {
    ev.WaveStarted: ("wave", "servers", "label"),
    ev.WaveFinished: ("wave", "restarted", "failed", "skipped"),
    ev.GateWaiting: ("wave",),
    ev.GateChecked: ("wave", "verdict"),
    ev.LimitChanged: ("limit",),
    ev.RunPaused: ("reason",),
    ev.RunResumed: (),
    ev.RunAborting: (),
    ev.RunFrozen: (),
    ev.RunThawed: (),
    ev.CloudUnseen: ("seconds",),
    ev.CloudSeen: (),
    ev.QuotaThrottled: ("wait",),
    ev.QuotaDesync: ("limit",),
    ev.StoreFailedOver: (),
}
"""Events of a rollout that are told in its span, with those of their fields that are."""


@dataclass(slots=True)
class _BatchSpan:
    """A batch under way: its span, its servers without an outcome, and how the others have ended."""

    span: Span
    left: set[str]
    ended: Counter[str] = field(default_factory=Counter[str])


@dataclass(slots=True)
class _RunSpans:
    """A run under way: the span of the rollout, None for single restarts, and its batches by number."""

    span: Span | None = None
    batches: dict[int, _BatchSpan] = field(default_factory=dict[int, _BatchSpan])


class Traces:
    """Makes spans of what happens, in the traces of those who asked for it.

        traces = Traces()
        async with (
            EcsClient(region="eu-west-101", auth=credentials(), watchers=[traces]) as ecs,
            Restarter(ecs, watchers=[traces]) as restarter,
        ):
            await restarter.restart("web-1")

    - ``rollout``: from when this process has the run until it lets it go; a child of the span in which whoever called
      `Rollout.start` or `Rollout.run` was, else a root. Waves, pauses, gates and the like are its events.
    - ``batch``: from the intent to the last server's outcome; a child of its rollout, of single restarts a root. It has
      a **link** to the span of each single restart that it carries: it joins callers of different traces.
    - ``restart``: a single restart, from the call to its outcome; a child of the caller's span.
    - ``POST /v1/{project_id}/cloudservers/action`` and other HTTP requests that are made for a batch, its children, by
      OpenTelemetry's semantic conventions. Looks have spans only with ``looks``: there are hundreds of them.

    Attributes hold ids of runs, jobs and servers, and no secret: neither a header, nor a body, nor a whole URL, which
    has the project's id and those of servers in it.
    """

    def __init__(self, tracer: Tracer | None = None, *, looks: bool = False) -> None:
        """Make spans by ``tracer``, None for the one of the program's provider; ``looks`` for those of looks, too."""
        self._tracer = tracer or trace.get_tracer("ecsbatch")
        self._looks = looks
        self._runs = dict[str, _RunSpans]()
        self._asking = dict[str, list[Span]]()
        self._carried = dict[str, _BatchSpan]()

    # -- events ----------------------------------------------------------------------------------------------------

    def heard(self, recorded: Recorded, state: RolloutState | None) -> None:
        """Begin and end spans by an event, in the context of whoever has begun its run."""
        event = recorded.event
        if isinstance(event, ev.ServerEvent):
            self._land(recorded.run_id, event.batch, event.server, event.kind.value)
        elif isinstance(event, ev.HolderChanged):
            self._taken(recorded, event, state)
        elif (follow := self._followed.get(type(event))) is not None:
            follow(self, recorded, event)
        elif (fields := _TURNS.get(type(event))) is not None:
            self._turn(recorded, event, fields)

    def _taken(self, recorded: Recorded, event: ev.HolderChanged, state: RolloutState | None) -> None:
        run = self._runs.setdefault(recorded.run_id, _RunSpans())
        if state is None or run.span is not None:
            return
        told: dict[str, AttributeValue] = {
            "ecsbatch.run.id": recorded.run_id,
            "ecsbatch.run.servers": state.run.total,
            "ecsbatch.run.waves": len(state.plan.waves),
            "ecsbatch.run.holder": event.fence,
        }
        run.span = self._tracer.start_span("rollout", attributes=told)

    def _submitting(self, recorded: Recorded, event: ev.BatchSubmitting) -> None:
        run = self._runs.setdefault(recorded.run_id, _RunSpans())
        told: dict[str, AttributeValue] = {
            "ecsbatch.run.id": recorded.run_id,
            "ecsbatch.batch.number": event.batch,
            "ecsbatch.batch.servers": len(event.servers),
            "ecsbatch.batch.type": event.type,
            "ecsbatch.batch.wave": event.wave,
        }
        askers = [span for server in event.servers for span in self._asking.get(server, ())]
        span = self._tracer.start_span(
            "batch",
            # Not the caller's own span, which a single restart would be the child of: a batch has many callers.
            context=trace.set_span_in_context(run.span or trace.INVALID_SPAN, otel_context.Context()),
            attributes=told,
            links=[Link(asker.get_span_context()) for asker in askers],
        )
        made = run.batches[event.batch] = _BatchSpan(span, set(event.servers))
        self._carried.update(dict.fromkeys(event.servers, made))

    def _accepted(self, recorded: Recorded, event: ev.BatchAccepted) -> None:
        if (batch := self._batch(recorded.run_id, event.batch)) is not None:
            batch.span.set_attribute("ecsbatch.job.id", event.job_id)
            batch.span.add_event("accepted")

    def _unknown(self, recorded: Recorded, event: ev.BatchUnknown) -> None:
        if (batch := self._batch(recorded.run_id, event.batch)) is not None:
            batch.span.add_event("unknown", {"message": event.message})

    def _rejected(self, recorded: Recorded, event: ev.BatchRejected) -> None:
        if (batch := self._batch(recorded.run_id, event.batch)) is not None:
            batch.span.set_attribute("error.type", event.kind)
            batch.span.set_status(Status(StatusCode.ERROR, event.message))
            self._end_batch(recorded.run_id, event.batch)

    def _unstarted(self, recorded: Recorded, event: ev.BatchUnstarted) -> None:
        for server in event.servers:
            self._land(recorded.run_id, event.batch, server, "not_started")

    def _turn(self, recorded: Recorded, event: ev.Event, fields: Sequence[str]) -> None:
        run = self._runs.get(recorded.run_id)
        if run is not None and run.span is not None:
            told: dict[str, AttributeValue] = {name: getattr(event, name) for name in fields}
            run.span.add_event(event.name, told)

    def _over(self, recorded: Recorded, event: ev.RunStopped | ev.RunFinished) -> None:
        """End a run's spans: what is still under way is for a resume to find out."""
        run = self._runs.pop(recorded.run_id, None)
        if run is None:
            return
        self._end_batches(run)
        if run.span is not None:
            run.span.set_attribute("ecsbatch.run.status", event.status)
            if event.status != RunStatus.SUCCEEDED:
                run.span.set_attribute("error.type", event.reason or event.status)
                run.span.set_status(Status(StatusCode.ERROR, event.message))
            run.span.end()

    _followed: ClassVar[Mapping[type[ev.Event], Callable[[Any, Recorded, Any], None]]] = {
        ev.BatchSubmitting: _submitting,
        ev.BatchAccepted: _accepted,
        ev.BatchUnknown: _unknown,
        ev.BatchRejected: _rejected,
        ev.BatchUnstarted: _unstarted,
        ev.RunStopped: _over,
        ev.RunFinished: _over,
    }

    def left(self, run_id: str) -> None:
        """End the spans of a run that this process has let go without a word: another one has it."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            self._end_batches(run)
            if run.span is not None:
                run.span.end()

    # -- batches ---------------------------------------------------------------------------------------------------

    def _batch(self, run_id: str, number: int) -> _BatchSpan | None:
        run = self._runs.get(run_id)
        return None if run is None else run.batches.get(number)

    def _land(self, run_id: str, number: int, server: str, how: str) -> None:
        """Note a server's end; the last one ends the batch."""
        batch = self._batch(run_id, number)
        if batch is None or server not in batch.left:
            return
        batch.left.discard(server)
        batch.ended[how] += 1
        self._carried.pop(server, None)
        if not batch.left:
            self._end_batch(run_id, number)

    def _end_batch(self, run_id: str, number: int) -> None:
        self._end(self._runs[run_id].batches.pop(number))

    def _end_batches(self, run: _RunSpans) -> None:
        for batch in run.batches.values():
            self._end(batch)
        run.batches.clear()

    def _end(self, batch: _BatchSpan) -> None:
        for server in batch.left:
            self._carried.pop(server, None)
        batch.span.set_attributes({f"ecsbatch.batch.{how}": n for how, n in batch.ended.items()})
        if batch.left:
            batch.span.set_attribute("ecsbatch.batch.left", len(batch.left))
        batch.span.end()

    # -- single restarts -------------------------------------------------------------------------------------------

    def asked(self, server: str, answer: asyncio.Future[Outcome]) -> None:
        """Begin the span of a single restart in the caller's; a batch that has its server already links to it too."""
        span = self._tracer.start_span("restart", attributes={"ecsbatch.server.id": server})
        if (carrier := self._carried.get(server)) is not None:
            carrier.span.add_link(span.get_span_context())
        self._asking.setdefault(server, []).append(span)
        answer.add_done_callback(lambda done: self._answered(server, span, done))

    def _answered(self, server: str, span: Span, answer: asyncio.Future[Outcome]) -> None:
        asking = self._asking[server]
        asking.remove(span)
        if not asking:
            del self._asking[server]
        if answer.cancelled():
            span.set_attribute("error.type", "cancelled")
        elif (fault := answer.exception()) is not None:
            _fail(span, type(fault).__name__, str(fault))
        else:
            outcome = answer.result()
            span.set_attributes({"ecsbatch.outcome": outcome.kind.value, "ecsbatch.attempts": outcome.attempts})
            if outcome.kind.is_failure:
                _fail(span, outcome.reason or outcome.code or outcome.kind.value, outcome.message)
        span.end()

    # -- requests --------------------------------------------------------------------------------------------------

    def sending(self, request: OutgoingRequest) -> Callable[[int, str], None]:
        """Begin the span of a request that is made for a batch; of others only where looks have spans."""
        sent_for = SENDING.get()
        if sent_for is None and not self._looks:
            return _nothing
        batch = None if sent_for is None else self._batch(*sent_for)
        span = self._tracer.start_span(
            f"{request.method} {request.route}",
            context=None if batch is None else trace.set_span_in_context(batch.span, otel_context.Context()),
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": request.method,
                "server.address": request.host,
                "server.port": request.port,
                "url.template": request.route,
            },
        )

        def ended(status: int, error: str) -> None:
            if status:
                span.set_attribute("http.response.status_code", status)
            if error or status >= _FIRST_ERROR:
                _fail(span, error or str(status))
            span.end()

        return ended

    def saw_ends(self, delays: Sequence[float]) -> None:
        """Hear for how long restarts were over; that is for metrics."""


def _nothing(_: int, __: str) -> None:
    """Hear of the end of a request that has no span."""


def _fail(span: Span, kind: str, message: str = "") -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, message or None))
