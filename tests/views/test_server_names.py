"""People know servers by their names: beside its id, a server's name stands wherever one is shown."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from scenes import HOSTILE, history, plan, shown

from ecsbatch.model import events as ev
from ecsbatch.model.recorded import Recorded, encode
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import one_line, without_code
from ecsbatch.planning.drift import Drifted, DriftKind
from ecsbatch.policy.explain import explain
from ecsbatch.policy.explanation import Cause
from ecsbatch.views.explanation import explanation_json, explanation_lines
from ecsbatch.views.log import Log
from ecsbatch.views.plan import drift_lines
from ecsbatch.views.progress import render_progress
from ecsbatch.views.summary import summary_lines

FAILED = "00000004-0000-4000-8000-000000000000"


def named(*more: ev.Event, name: str = "web-04") -> RolloutState:
    """A run whose failed server is called so, and all others by their numbers."""
    nameless = plan()
    names = [name if server == FAILED else f"n{i}" for i, server in enumerate(nameless.fleet.ids)]
    return history(replace(nameless, fleet=Fleet(nameless.fleet.ids, nameless.fleet.domains, names)), *more)


def test_a_failure_on_the_screen_has_its_name() -> None:
    wide, narrow = ([line.plain for line in render_progress(shown(named()), width)] for width in (80, 60))

    assert any(line.startswith(f"{FAILED}  web-04  failed  az1  Ecs.0227") for line in wide)
    assert narrow[-2] == FAILED
    assert narrow[-1].startswith("  web-04  failed  az1  Ecs.0227")


def test_a_failure_in_the_summary_has_its_name() -> None:
    assert f"  {FAILED}  web-04  failed  az1  Ecs.0227" in summary_lines(named())


def test_an_explanation_names_the_server_and_those_that_take_its_place() -> None:
    state = named(ev.LimitChanged(limit="max_unavailable", old=10, new=6))
    answer = explain(state, now=2_000.0)
    about = explanation_lines(answer, "k7f3q2", FAILED, now=2_000.0, name="web-04")

    assert answer.cause is Cause.BUDGET
    assert f"web-04 ({FAILED})" in answer.text
    assert about[0] == f"Server web-04 ({FAILED}) of run k7f3q2: budget."
    assert explanation_json(answer, "k7f3q2", FAILED, name="web-04")["name"] == "web-04"
    assert explanation_json(answer, "k7f3q2", "")["name"] is None


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("console", f"00:00:00Z warning server.failed server={FAILED} name=web-04 wave=1 code=Ecs.1 message=No."),
        ("json", {"server": FAILED, "name": "web-04"}),
    ],
)
def test_the_log_names_a_server_beside_its_id(form: str, line: object) -> None:
    out = io.BytesIO()
    log = Log(out, form="json" if form == "json" else "console", name_of=named().plan.fleet.name_of)
    log.line(encode(Recorded(1, 0.0, "k7f", ev.ServerFailed(server=FAILED, wave=1, code="Ecs.1", message="No."))))
    written = out.getvalue().decode().strip()

    if isinstance(line, dict):
        assert json.loads(written).items() >= line.items()
    else:
        assert written == line


def test_drift_names_the_servers() -> None:
    lines = drift_lines([Drifted(FAILED, DriftKind.STOPPED, "ACTIVE", "SHUTOFF", "web-04")])

    assert lines[-1] == f"    {FAILED}  web-04  ACTIVE -> SHUTOFF"


def test_a_hostile_name_reaches_no_terminal_as_it_came() -> None:
    state = named(name=HOSTILE * 20)
    drawn = [line.plain for line in render_progress(shown(state), 200)]
    explained = explanation_lines(explain(state, now=2_000.0), "k7f", FAILED, now=2_000.0, name=HOSTILE)

    for text in [*drawn, *summary_lines(state), *explained]:
        assert text.isprintable()
    assert any("Ecs.0227" in line[:100] for line in drawn), "a long name leaves room for what failed"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Ecs.0001: No.", "No."),
        ("Ecs.0001", ""),
        ("Ecs.0001: Ecs.0001", ""),
        ("Ecs.0001:", ""),
        (" Ecs.0001 : ", ""),
        ("Ecs.00012: No.", "Ecs.00012: No."),
        ("No.", "No."),
    ],
)
def test_a_message_never_repeats_the_code_beside_it(message: str, said: str) -> None:
    assert without_code(message, "Ecs.0001") == said
    assert without_code("No: ", "") == "No:"


def test_what_says_nothing_is_left_out_of_every_sentence() -> None:
    refused = ev.BatchRejected(batch=2, kind="refused", code="Ecs.0013")
    failed = ev.ServerFailed(server=FAILED, batch=2, code="Ecs.0001", message="Ecs.0001: Ecs.0001")
    out = io.BytesIO()
    Log(out, form="console").line(encode(Recorded(1, 0.0, "k7f", failed)))

    assert one_line(" \t ") == ""
    assert one_line("  ") == ""
    assert explain(history(plan(), refused), now=2_000.0).text.endswith("the reason is looked for.")
    assert ", Ecs.0001." in explain(history(plan(), failed), now=2_000.0, server=FAILED).text
    assert out.getvalue().decode().count("Ecs.0001") == 1
