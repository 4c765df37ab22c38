"""``--traces`` as it is typed: what OpenTelemetry's own variables say is done, and what is missing is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typed_commands import Simulator, Terminal

from ecsbatch.cli.app import main

QUICK = ("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s")
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def printed(text: str) -> Iterator[dict[str, Any]]:
    """Yield the objects that the SDK prints, one after another, among lines for people."""
    decoder, place = json.JSONDecoder(), text.find("{\n")
    while place >= 0:
        value, end = decoder.raw_decode(text[place:])
        yield value
        place = text.find("{\n", place + end)


def typed(terminal: Terminal, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Type a command in a process of its own: spans are written when it leaves its interpreter."""
    state = {"XDG_STATE_HOME": str(terminal.folder / "state")}
    environment = {**os.environ, **state, **terminal.environment, **variables}
    command = [sys.executable, "-m", "ecsbatch", *words]
    return subprocess.run(  # noqa: S603 - our own program
        command, cwd=terminal.folder, env=environment, check=False, capture_output=True, text=True
    )


def test_a_command_is_a_span_below_that_of_its_caller_with_its_exit_code(terminal: Terminal, cloud: Simulator) -> None:
    (terminal.folder / "ids.txt").write_text("\n".join(cloud.ids[10:14]), encoding="utf-8")
    variables = {"OTEL_TRACES_EXPORTER": "console", "TRACEPARENT": f"00-{TRACE}-{PARENT}-01"}
    done = typed(terminal, "restart", "ids.txt", *QUICK, "--yes", "-q", "--traces", **variables)
    spans = {span["name"]: span for span in printed(done.stdout)}
    command, rollout = spans["ecsbatch restart"], spans["rollout"]

    assert done.returncode == 0, done.stderr
    assert {span["context"]["trace_id"] for span in spans.values()} == {f"0x{TRACE}"}
    assert command["parent_id"] == f"0x{PARENT}"
    assert command["attributes"]["process.exit.code"] == 0
    assert command["attributes"]["process.executable.name"] == "ecsbatch"
    assert {span["resource"]["attributes"]["service.name"] for span in spans.values()} == {"ecsbatch"}
    assert rollout["parent_id"] == command["context"]["span_id"]
    assert spans["batch"]["parent_id"] == rollout["context"]["span_id"]
    assert spans["POST /v1/{project_id}/cloudservers/action"]["parent_id"] == spans["batch"]["context"]["span_id"]
    assert "Authorization" not in done.stdout


def test_a_command_that_fails_is_a_span_with_an_error(terminal: Terminal, cloud: Simulator) -> None:
    (terminal.folder / "ids.txt").write_text(cloud.ids[20], encoding="utf-8")
    words = ("restart", "ids.txt", *QUICK, "--yes", "-q", "--metrics-file", "no/such/folder.prom")
    variables = {"OTEL_TRACES_EXPORTER": "console", "ECSBATCH_TRACES": "true", "OTEL_SERVICE_NAME": "nightly"}
    done = typed(terminal, *words, **variables)
    [command] = printed(done.stdout)

    assert command["attributes"]["process.exit.code"] == done.returncode == 2
    assert command["status"]["status_code"] == "ERROR"
    assert command["resource"]["attributes"]["service.name"] == "nightly"


@pytest.mark.parametrize("name", ["opentelemetry.trace", "opentelemetry.sdk.trace"])
def test_what_is_missing_is_said_before_anything_is_looked_at(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)

    assert main(["restart", "ids.txt", "--traces"]) == 2
    assert capsys.readouterr().err == (
        "ecsbatch: --traces needs OpenTelemetry and its SDK: "
        "pip install 'ecsbatch[otel]' opentelemetry-sdk opentelemetry-exporter-otlp-proto-http.\n"
    )


def test_an_exporter_that_is_missing_is_said_too(terminal: Terminal) -> None:
    done = typed(terminal, "restart", "ids.txt", "--traces", OTEL_TRACES_EXPORTER="zipkin")

    assert done.returncode == 2
    assert "--traces needs an exporter, and zipkin is not installed: pip install " in done.stderr
