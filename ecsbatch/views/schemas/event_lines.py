"""The schemas of events, as the journal and ``--events`` have them, and of the lines of ``--log-format json``.

They are made of the classes of `ecsbatch.model.events`: a field that is added there is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from ecsbatch.model.events import EVENTS, Event
from ecsbatch.model.recorded import VERSION, Recorded
from ecsbatch.views.schemas.derived import about, attributes, bullets, of_class
from ecsbatch.views.schemas.plans import plan, plan_fields
from ecsbatch.views.schemas.words import Schema, by_name, count, moment, number, record, text, word

_HEAD: Final = ("v", "ts", "seq", "run_id", "event")

_LIMIT: Final[Schema] = {"type": ["integer", "array", "object"], "items": {"type": "integer"}}

_NOT_LOGGED: Final = frozenset({"plan", "updated"})
"""Fields that are too long for a line of the log."""


def events() -> Schema:
    """Return the schema of one event: a line of ``--events`` and of the journal."""
    kinds = {name: _event(kind) for name, kind in EVENTS.items()}
    return _one_of(
        "One event of a run: a line of --events, of the journal, and of what a program follows. Events and fields are "
        "added, never renamed: ignore those that you do not know. A field that is empty, false or null is left out, "
        "and so is a time that is 0.",
        kinds,
    )


def log() -> Schema:
    """Return the schema of one line of stderr with ``--log-format json``."""
    logged = {name: _logged(kind) for name, kind in EVENTS.items()}
    return _one_of(
        "One line of stderr with --log-format json: an event of a run, or what the command itself has to say. Lines "
        "and fields are added, never renamed: ignore those that you do not know.",
        logged | {name: _own_line(name, said, fields_) for name, (said, fields_) in _own_lines().items()},
    )


def _one_of(said: str, kinds: Mapping[str, Schema]) -> Schema:
    return {
        "description": said,
        "type": "object",
        "required": ["event"],
        "discriminator": {"propertyName": "event"},
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds],
        "$defs": dict(kinds),
    }


def _event(kind: type[Event]) -> Schema:
    meant = bullets(Recorded.as_dict)
    head: dict[str, Schema] = {
        "v": {"const": VERSION, "description": meant["v"]},
        "ts": moment(meant["ts"].removesuffix(", RFC 3339 in UTC to the millisecond.")),
        "seq": {"type": "integer", "minimum": 1, "description": meant["seq"]},
        "run_id": text(meant["run_id"]),
        "event": {"const": kind.name, "description": meant["event"]},
    }
    last = text("The head of the record behind this event; the last line of what was stored together has one.")
    own = of_class(kind, instead=_in_json(kind))["properties"]
    return record(about(kind), head | own | {"head": last}, [*own, "head"])


def _in_json(kind: type[Event]) -> dict[str, Schema]:
    """Return the fields whose annotations say less than is known."""
    named, meant = {f.name for f in fields(kind)}, attributes(kind)
    limits = {name: {**_LIMIT, "description": meant[name]} for name in ("old", "new") if name in named}
    return limits | ({"plan": _recorded_plan(meant["plan"])} if "plan" in named else {})


def _recorded_plan(said: str) -> Schema:
    """Return the schema of a plan on record: that of an older version has fewer fields."""
    sites = by_name("The quota group of each site that its servers are at, by the site's key.", text("A group."))
    told = plan_fields() | {"sites": sites}
    return record(said, told, told)


def _logged(kind: type[Event]) -> Schema:
    of_event = _event(kind)["properties"]
    told: dict[str, Any] = {"level": _LEVEL}
    for name, schema in of_event.items():
        if name not in {"v", "head", *_NOT_LOGGED}:
            told[name] = count("How many servers it names.") if name == "servers" else schema
        if name == "server":
            told["name"] = text("The name of that server, left out where it has none.")
    return record(about(kind), told, set(told) - {"level", *_HEAD})


_LEVEL: Final = word("How much it matters.", ("debug", "info", "warning", "error"))
_MESSAGE: Final = text("What there is to say, for people.")
_WHY: Final = text("What went wrong.")


def _own_line(name: str, said: str, told: Mapping[str, Schema]) -> Schema:
    head: dict[str, Schema] = {
        "ts": moment("When it was written."),
        "level": _LEVEL,
        "event": {"const": name, "description": "What the line is about."},
    }
    return record(said, head | dict(told), _LEFT_OUT.get(name, ()))


def _own_lines() -> dict[str, tuple[str, Mapping[str, Schema]]]:
    """Return what commands write besides events, by the line's ``event``."""
    only_message = {"message": _MESSAGE}
    of_run = {"run_id": text("The run."), **only_message}
    work = {f"work.{word_}": (f"A standby: {said}", of_run) for word_, said in _WORK.items()}
    return {
        "message": ("Lines for people, in one.", only_message),
        "warning": ("A warning; it is said once.", only_message),
        "error": ("Why the command ends.", only_message),
        "traceback": ("Where a bug of ecsbatch is, with --verbose.", {"traceback": text("Python's traceback.")}),
        "looking": (
            "The fleet is being looked at.",
            {
                **only_message,
                "seen": count("Servers seen so far."),
                "of": count("Servers that are looked for; 0 where that is not known."),
            },
        ),
        "plan": ("The plan that is carried out.", _plan_fields()),
        "cold_start": ("The first request waits.", {**only_message, "seconds": number("For how long, in seconds.")}),
        "progress": ("How the run goes on, now and then.", _progress_fields()),
        "view.failed": ("A view has failed and is missed; the run goes on.", {"why": _WHY}),
        "events.lost": ("The events' file took no more.", {"why": _WHY}),
        "on_end.failed": ("The command of --on-end has not done its work.", of_run),
        "on_end.output": ("What the command of --on-end has printed.", of_run),
        "page": ("Where the live page is.", {"url": text("Its address, with the token that opens it.")}),
        **work,
    }


def _plan_fields() -> dict[str, Schema]:
    told: dict[str, Schema] = plan()["properties"]
    return told | {"agreed_by": text("The variable that has agreed to it, such as ECSBATCH_YES; or empty.")}


_WORK: Final[Mapping[str, str]] = {
    "standing_by": "it waits for runs.",
    "taken": "it goes on with a run.",
    "left_alone": "it lacks something for a run; told once.",
    "ended": "a run is over, or stands still, here.",
    "handed_over": "a run was left for another process.",
    "lost": "another process has taken a run.",
    "store_away": "runs cannot be looked at.",
    "store_back": "runs can be looked at again.",
    "ending": "it was told to end.",
    "metrics": "metrics cannot be written any more.",
    "not_handed_over": "a run could not be left for another process.",
}

_OUTCOMES: Final = ("restarted", "failed", "timed_out", "unknown", "skipped", "not_started")

_MAY_BE_LEFT_OUT: Final = frozenset({"status", "left_out", "notice", "quota_free", "per_minute", "left_s", *_OUTCOMES})

_LEFT_OUT: Final[Mapping[str, frozenset[str]]] = {
    "progress": _MAY_BE_LEFT_OUT,
    **{f"work.{name}": frozenset({"run_id"}) for name in _WORK},
}


def _progress_fields() -> dict[str, Schema]:
    return {
        "run_id": text("The run."),
        "status": text("How it stands in a word, where it does not simply run; left out else."),
        "wave": text("The wave under way and how many there are, such as 2/5."),
        "total": count("Servers of the run."),
        **{name: count(f"Servers that ended so ({name}); left out where it is none.") for name in _OUTCOMES},
        "left_out": count("Servers to which nothing is sent any more; left out where it is none."),
        "in_flight": count("Servers that were sent and have no outcome yet."),
        "down": count("Servers that take a slot of the budget."),
        "standing": text("How it stands, for people."),
        "elapsed_s": number("Seconds for which processes have held the run."),
        "notice": text("What else is to be known now; left out for nothing."),
        "quota_free": count("Tokens of the quota that are free; left out where nobody asked."),
        "per_minute": count("Servers that end in a minute; left out where that is not known."),
        "left_s": count("Seconds of sending that the rest takes at this pace; left out where that is not known."),
    }
