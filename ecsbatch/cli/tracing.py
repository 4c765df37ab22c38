"""Traces of a command: its own span, in which those of its rollouts are, written as OpenTelemetry's variables say.

Where the program was begun by ``opentelemetry-instrument``, what that has set up is used. Else the SDK is set up by its
own variables: ``OTEL_TRACES_EXPORTER`` (``otlp`` where it is not set, ``console`` prints), ``OTEL_TRACES_SAMPLER``,
``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES`` and those of the exporter. ``TRACEPARENT`` names the span that the
command is a part of.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from opentelemetry import context, propagate, trace

from ecsbatch.cli.catalog import installed_version
from ecsbatch.cli.endings import began_at, when_over
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.views.traces import Traces

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
"""The exporter of each protocol that ``otlp`` may mean; where none is named, the first that is installed."""


def begin() -> None:
    """Set the SDK up and begin the command's span, once.

    Raises:
        UsageError: an exporter is missing; it says what to install.
    """
    _command_span()


@contextmanager
def tracing() -> Generator[Traces]:
    """Have all that happens in the block be a part of the command's span; give what is to hear of its engines."""
    token = context.attach(trace.set_span_in_context(_command_span()))
    try:
        yield Traces(_tracer())
    finally:
        context.detach(token)


@cache
def _tracer() -> trace.Tracer:
    _set_up()
    return trace.get_tracer("ecsbatch", installed_version())


@cache
def _command_span() -> trace.Span:
    """Begin the span of this process's command, once; it ends with the process's exit code."""
    carrier = {name.lower(): os.environ[name] for name in ("TRACEPARENT", "TRACESTATE") if name in os.environ}
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    span = _tracer().start_span(
        f"ecsbatch {command}".rstrip(),
        context=propagate.extract(carrier),
        attributes={"process.executable.name": "ecsbatch", "process.pid": os.getpid()},
        start_time=began_at(),
    )

    def end(code: int) -> None:
        span.set_attribute("process.exit.code", code)
        if code:
            span.set_attribute("error.type", str(code))
            span.set_status(trace.Status(trace.StatusCode.ERROR))
        span.end()

    when_over(end)
    return span


def _named(found: Resource) -> Resource:
    """Return a resource with this program's name where the SDK's variables give none."""
    unnamed = str(found.attributes["service.name"]).startswith("unknown_service")
    return found.merge(type(found)({"service.name": "ecsbatch"})) if unnamed else found


def _set_up() -> None:
    """Set the SDK up by its variables, unless the program's caller has.

    Raises:
        UsageError: an exporter that they name is not installed.
    """
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - of the user's choice, and checked before
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the same
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - the same

    named = [name.strip() for name in os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")]
    exporters = [_exporter(name) for name in named if name not in {"", "none"}]
    provider = TracerProvider(resource=_named(Resource.create()))
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def _exporter(name: str) -> SpanExporter:
    """Make the exporter of a name, as the packages that are installed name theirs."""
    protocol = next(filter(None, map(os.environ.get, _PROTOCOLS)), "")
    wanted = [name] if name != "otlp" else [_OTLP[protocol]] if protocol in _OTLP else list(_OTLP.values())
    for each in wanted:
        for found in entry_points(group="opentelemetry_traces_exporter", name=each):
            made: SpanExporter = found.load()()
            return made
    install = "pip install opentelemetry-exporter-otlp-proto-http, or OTEL_TRACES_EXPORTER=console to print spans"
    raise UsageError(f"--traces needs an exporter, and {name} is not installed: {install}.")
