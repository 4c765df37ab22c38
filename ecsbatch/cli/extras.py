"""Packages that only some settings need: what is missing is said before anything is done."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ecsbatch.cli.exit_codes import UsageError

if TYPE_CHECKING:
    from ecsbatch.config.settings import Observability


def need_extras(settings: Observability) -> None:
    """Refuse to begin what cannot be watched as settings ask.

    Raises:
        UsageError: a package is missing; it says what to install.
    """
    asks = "--metrics" if settings.metrics else "--metrics-file" if settings.metrics_file else ""
    if asks and find_spec("prometheus_client") is None:
        raise UsageError(f"{asks} needs prometheus-client: pip install 'ecsbatch[metrics]'.")
    if settings.traces:
        _need_tracing()


def _need_tracing() -> None:
    with suppress(ModuleNotFoundError):
        if find_spec("opentelemetry.trace") is not None and find_spec("opentelemetry.sdk.trace") is not None:
            from ecsbatch.cli.tracing import begin  # noqa: PLC0415 - imported when used

            return begin()
    packages = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
    raise UsageError(f"--traces needs OpenTelemetry and its SDK: pip install 'ecsbatch[otel]' {packages}.")
