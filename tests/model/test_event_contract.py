"""The events of version 1 are read by programs of others: nothing of them is renamed, and nothing goes away."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.recorded import VERSION, Recorded, decode

SERVER = "server wave domain batch reason evidence code message job_id host holds not_retried"
VERSION_1 = {
    "run.started": "total plan",
    "wave.started": "wave servers label",
    "batch.submitting": "batch servers wave type site grant updated cloud_time granted group",
    "batch.accepted": "batch job_id sent answered",
    "batch.rejected": "batch kind message status code request_id sent answered",
    "batch.unknown": "batch message status code request_id sent answered",
    "batch.unstarted": "batch servers",
    "batch.started": "batch servers",
    "quota.throttled": "wait message limit window",
    "quota.desync": "limit seconds",
    "cloud.unseen": "seconds timeout message",
    "cloud.seen": "",
    "store.failed_over": "timeline wait",
    "job.progress": "batch job_id ended running",
    "job.finished": "batch job_id status code message",
    "server.restarted": SERVER,
    "server.failed": SERVER,
    "server.timed_out": SERVER,
    "server.unknown": SERVER,
    "server.skipped": SERVER,
    "server.released": "server why",
    "gate.waiting": "gate wave timeout",
    "gate.checked": "gate verdict wave message",
    "limit.changed": "limit old new by",
    "holder.changed": "holder host pid fence previous limit window unknown_grace request_timeout boot ledger_time "
    "command agreed_by",
    "wave.finished": "wave restarted failed skipped",
    "run.paused": "reason by",
    "run.frozen": "by reason since until",
    "run.thawed": "by",
    "run.aborting": "by",
    "run.resumed": "by retry forgive skip_domains keeps_outcomes",
    "run.stopped": "status reason message elapsed_s",
    "run.finished": "status reason counts elapsed_s message",
}
"""Every event by its name, and the fields that it has. Add to it, behind what is there; change nothing else."""


def test_version_1_has_these_events_and_fields() -> None:
    there = {name: " ".join(field.name for field in fields(kind)) for name, kind in ev.EVENTS.items()}

    assert VERSION == 1
    assert there == VERSION_1


@pytest.mark.parametrize("kind", ev.EVENTS.values())
def test_every_field_is_told_of_by_its_class(kind: type[ev.Event]) -> None:
    """What is a contract says what it means, and in which unit."""
    told_by = ev.ServerEvent if issubclass(kind, ev.ServerEvent) else kind
    _, _, attributes = (told_by.__doc__ or "").partition("Attributes:")
    told = re.findall(r"^ {8}(\w[\w, ]*): ", attributes, re.MULTILINE)

    assert [name for names in told for name in names.split(", ")] == [field.name for field in fields(kind)]


def test_a_line_has_the_version_the_time_the_number_the_run_and_the_name_first() -> None:
    told = Recorded(7, 1_767_225_600.25, "k7f", ev.GateChecked(gate="./ok", verdict="wait", wave=2)).as_dict()

    assert list(told.items()) == [
        ("v", 1),
        ("ts", "2026-01-01T00:00:00.250Z"),
        ("seq", 7),
        ("run_id", "k7f"),
        ("event", "gate.checked"),
        ("gate", "./ok"),
        ("verdict", "wait"),
        ("wave", 2),
    ]


def test_what_is_empty_is_left_out_and_a_number_that_is_none_of_it_is_not() -> None:
    failed = Recorded(1, 0.0, "k7f", ev.ServerFailed(server="a1")).as_dict()
    accepted = Recorded(2, 0.0, "k7f", ev.BatchAccepted(batch=0, job_id="j")).as_dict()

    assert list(failed)[5:] == ["server", "wave", "batch"]
    assert list(accepted)[5:] == ["batch", "job_id"]


def test_a_reader_ignores_what_it_does_not_know() -> None:
    later = b'{"v":1,"ts":"2026-01-01T00:00:00.000Z","seq":1,"run_id":"k7f","event":"%s","by":"ann","new_field":[1]}'

    assert decode(later % b"run.aborting") == Recorded(1, 1_767_225_600.0, "k7f", ev.RunAborting(by="ann"))
    assert decode(later % b"moon.risen") is None


def test_each_outcome_but_what_is_not_started_has_an_event_of_its_own() -> None:
    kinds = [kind.kind for kind in ev.EVENTS.values() if issubclass(kind, ev.ServerEvent)]

    assert set(kinds) == set(OutcomeKind) - {OutcomeKind.NOT_STARTED}
