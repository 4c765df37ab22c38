"""The schemas of what is printed and written: valid, whole, with words for each field, and able to refuse.

`held_to_schemas` holds every command that the tests type to them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields
from typing import Any

import pytest
from held_to_schemas import faults, strict
from jsonschema import Draft202012Validator
from scenes import history, plan

from ecsbatch import errors
from ecsbatch.cli.healthz import WorkerHealth
from ecsbatch.errors import EcsbatchError
from ecsbatch.model import conflicts
from ecsbatch.model.events import EVENTS, Event
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.recorded import Recorded, encode
from ecsbatch.model.run import Holder, RunRecord
from ecsbatch.planning.plan_file import PlanFileUnreadable
from ecsbatch.policy.progress import progress
from ecsbatch.rollout.gates import gate_summary
from ecsbatch.rollout.standby import NewsWord
from ecsbatch.views.report import run_json, taken_json
from ecsbatch.views.schemas.catalog import SCHEMAS, schema_of
from ecsbatch.views.schemas.event_lines import log
from ecsbatch.views.schemas.runs import progress_fields

BOB = Holder("bob@lab", "lab", 22, 1000.0)
TAKEN = conflicts.RunTaken("k7f", BOB)


def without_words(path: str, schema: dict[str, Any]) -> Iterator[str]:
    """Find the fields that say nothing of themselves."""
    for name, told in schema.get("properties", {}).items():
        if not told.get("description"):
            yield f"{path}.{name}"
        yield from without_words(f"{path}.{name}", told)
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from without_words(f"{path}[]", schema[part])
    for told in [*schema.get("$defs", {}).values(), *schema.get("oneOf", [])]:
        yield from without_words(f"{path}|", told)


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one_and_has_words_for_each_field(name: str) -> None:
    schema = schema_of(name)

    Draft202012Validator.check_schema(schema)
    assert schema["description"]
    assert list(without_words(name, schema)) == []
    assert json.loads(json.dumps(schema)) == schema


def test_a_run_on_its_way_is_as_its_schema_says_and_so_is_one_that_was_taken() -> None:
    state = history(plan())

    assert faults("summary", run_json(state) | {"head": "f" * 64}) == []
    assert faults("summary", taken_json(state, TAKEN)) == []
    assert faults("gate", gate_summary(state)) == []
    assert set(progress_fields()) == set(progress(state, 0.0).as_dict())


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"new": 1}, "'new' was unexpected"),
        ({"total": "40"}, "$.total"),
        ({"total": -1}, "$.total"),
        ({"status": "asleep"}, "$.status"),
        ({"at": 5.0}, "$.at"),
        ({"limits": {"max_unavailable": 1}}, "$.limits"),
        ({"last_failures": [{"id": "a"}]}, "$.last_failures[0]"),
    ],
)
def test_what_is_not_as_the_schema_says_is_found(change: dict[str, Any], where: str) -> None:
    assert where in faults("summary", run_json(history(plan())) | change)[0]


@pytest.mark.parametrize("name", [name for name in progress_fields() if name != "message"])
def test_a_field_that_is_missing_is_found(name: str) -> None:
    told = run_json(history(plan()))
    del told[name]

    assert name in faults("summary", told)[0]


def test_the_schema_that_is_printed_lets_fields_be_added() -> None:
    told = run_json(history(plan())) | {"of_a_later_version": 1}

    Draft202012Validator(schema_of("summary")).validate(told)
    assert "additionalProperties" in str(strict(schema_of("summary"))["properties"]["servers"])


def example(kind: type[Event], *, full: bool) -> Event:
    """Return an event with every field, or with none."""
    by_type = {"int": 3, "float": 1.5, "str": "x", "bool": True, "Sequence[str]": ["x"]}
    by_type |= {
        "int | None": 3,
        "float | None": 2.0,
        "Any": [1, 2],
        "Mapping[str, Any]": {},
        "Mapping[str, int]": {"a": 1},
    }
    return kind(**{each.name: by_type[str(each.type)] for each in fields(kind)}) if full else kind()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", EVENTS.values(), ids=list(EVENTS))
def test_each_event_has_a_schema_by_its_name(kind: type[Event], full: bool) -> None:  # noqa: FBT001 - of a table
    line = json.loads(encode(Recorded(7, 1000.0, "k7f", example(kind, full=full))))

    assert faults("events", line) == []
    assert faults("events", line | {"head": "f" * 64}) == []
    assert faults("events", line | {"seq": 0}) != []
    assert faults("events", line | {"of_a_later_version": 1}) != []
    Draft202012Validator(strict(schema_of("events"))).validate(line)


def test_an_event_that_there_is_not_is_found() -> None:
    line = json.loads(encode(Recorded(7, 1000.0, "k7f", EVENTS["cloud.seen"]())))

    assert "no 'cloud.gone'" in faults("events", line | {"event": "cloud.gone"})[0]
    assert list(Draft202012Validator(schema_of("events")).iter_errors(line | {"event": "cloud.gone"})) != []


def test_the_log_has_all_events_and_every_word_of_a_standby() -> None:
    named = set(log()["$defs"])

    assert set(EVENTS) < named
    assert {f"work.{word}" for word in NewsWord.__args__} < named  # type: ignore[attr-defined]


TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EcsbatchError)]
RECORD = RunRecord(
    run_id="k7f",
    kind="rollout",
    created_at=1000.0,
    status=RunStatus.RUNNING,
    holder=BOB,
    held=True,
    fence=1,
    seq=5,
    total=40,
    counts={"restarted": 3},
    targets_hash="f" * 64,
    plan={},
)
ERRORS: list[EcsbatchError] = [
    *(kind("Something.") for kind in TREE),
    errors.PlanStale("No.", drift=[{"server": "a", "kind": "zone", "before": "az1", "now": "az2"}], drifted=1),
    conflicts.ServersClaimed(RECORD, {"k7f": 3}),
    conflicts.ServersWanted("k7f", {"k7f": 3}),
    conflicts.RunExists(RECORD),
    conflicts.RunHeld("k7f", BOB),
    TAKEN,
    conflicts.RunOver("k7f"),
    conflicts.NotFollowed("k7f", BOB, "pause", 10.0),
    PlanFileUnreadable("No.", file="plan.json"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_each_error_has_a_schema_by_its_class(error: EcsbatchError) -> None:
    assert faults("error", error.as_dict()) == []
    assert faults("error", error.as_dict() | {"new": 1}) != []


@pytest.mark.parametrize("looked", [None, 1.5])
def test_the_health_of_a_standby_has_a_schema(looked: float | None) -> None:
    _, body = WorkerHealth(looked, "", ending=False, runs={"k7f": "running"}, max_runs=4).answer()

    assert faults("healthz", body) == []
    assert faults("healthz", {"status": "ok"}) == []
    assert faults("healthz", deepcopy(body) | {"runs": [{"run_id": "k7f", "standing": "asleep"}]}) != []
