"""The schemas of what is said of all else: a check, the store and its quota, settings, the simulator, errors, gates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ecsbatch.errors import EcsbatchError, RunConflict
from ecsbatch.model import conflicts
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.spending import GroupSpending
from ecsbatch.planning import plan_file
from ecsbatch.policy.standing import Phase
from ecsbatch.views.schemas.derived import about, attributes, of_class
from ecsbatch.views.schemas.plans import freeze as freeze_schema
from ecsbatch.views.schemas.words import (
    Schema,
    by_name,
    count,
    described,
    each,
    flag,
    moment,
    nullable,
    number,
    record,
    text,
    word,
)

_SERVERS: Final = count("Servers.")
_NAMED: Final = (conflicts, plan_file)
"""Modules that add errors to those of `ecsbatch.errors`."""


def _findings() -> Schema:
    row = {
        "name": text("What was looked at."),
        "state": word("How it is.", ("ok", "warning", "failed", "not tried")),
        "text": text("What was found, and what to do where it is not ok."),
    }
    return each("What was looked at, in this order.", record("A finding.", row))


def check() -> Schema:
    """Return the schema of ``check -o json``."""
    told = {
        "ok": flag("True where a restart could begin."),
        "requests": count("Requests that the cloud was sent for it."),
        "checks": _findings(),
        "frozen": freeze_schema("The freeze of the store, null where there is none."),
    }
    return record("Whether key, project, clock, listing, store and quota are ready.", told)


def store() -> Schema:
    """Return the schema of ``store check``, ``upgrade`` and ``prune`` with ``-o json``."""
    where = {"store": text("The store's address, without a password.")}
    looked = {"ok": flag("True where nothing of it has failed."), **where, "checks": _findings()}
    upgraded = {
        **where,
        "before": count("The schema that it had, 0 for none."),
        "schema": count("The schema that it has now."),
    }
    pruned = {
        "deleted": flag("False where --yes was not given: nothing is deleted then."),
        "older_than_s": number("How long ago runs must have ended, in seconds."),
        "runs": each("Which runs are that old.", text("A run.")),
    }
    return {
        "description": "What store check, store upgrade or store prune has found or done.",
        "oneOf": [
            record("store check", looked),
            record("store upgrade", upgraded),
            record("store prune", pruned),
        ],
    }


def quota() -> Schema:
    """Return the schema of ``quota -o json``."""
    told = {
        "groups": each("Each quota of the store.", of_class(GroupSpending)),
        "frozen": freeze_schema("The freeze of the store, null where there is none."),
    }
    return record("Who holds and who spent how much of each quota.", told)


def freeze() -> Schema:
    """Return the schema of ``freeze -o json``."""
    told = {
        "frozen": freeze_schema("The freeze from now on."),
        "replaced": freeze_schema("The one that it replaces, null for none."),
        **_waiting(),
        "in_flight": count("Servers whose requests have no answer yet."),
    }
    return record("A store that was frozen.", told)


def thaw() -> Schema:
    """Return the schema of ``thaw -o json``."""
    told = {
        "frozen": {"type": "null", "description": "There is no freeze any more."},
        "ended": freeze_schema("The freeze that has ended, null where there was none."),
        **_waiting(),
    }
    return record("A store that was thawed.", told)


def _waiting() -> dict[str, Schema]:
    return {"runs": each("Runs of the store that go on.", text("A run."))}


def config() -> Schema:
    """Return the schema of ``config show -o json``."""
    row = {
        "value": text("Its value as a settings file would have it."),
        "origin": text("Where it comes from: a flag, a variable, a file, or default."),
    }
    told = {"settings": by_name("All settings by their names.", record("A setting.", row))}
    return record("The settings that hold.", told)


def healthz() -> Schema:
    """Return the schema of what ``work --healthz`` answers at /healthz; /livez says ``status`` alone."""
    run = {"run_id": text("The run."), "standing": word("How it stands.", [phase.value for phase in Phase])}
    told = {
        "status": word("How it is; unavailable comes with 503.", ("ok", "unavailable")),
        "why": text("Why it is not well; empty where it is."),
        "runs": each("The runs that it has.", record("A run.", run)),
        "max_runs": count("How many runs it may have."),
        "looked_s_ago": nullable(number("Seconds since its last look at the store that succeeded; null before it.")),
    }
    return record("How a standby is.", told, [name for name in told if name != "status"])


def simulate() -> Schema:
    """Return the schema of both lines of ``simulate -o json``: the introduction, and what the cloud has counted."""
    introduction = {
        "url": text("Where the simulated cloud listens."),
        "environment": by_name("The variables that point ecsbatch at it.", text("A value.")),
    }
    return {
        "description": "The first line of simulate -o json says where the cloud is, the last one what it has counted.",
        "oneOf": [record("The introduction.", introduction), record("The books of the cloud.", _books())],
    }


def _books() -> dict[str, Schema]:
    times = "in seconds of the cloud's time"
    counted = {
        "quota_limit": "Servers that a window may have; 0 for no limit.",
        "fullest_window": "The most servers that one window has had.",
        "fullest_window_with_foreign": "The same with what others have sent.",
        "counted_servers": "Servers that were counted against the quota.",
        "accepted_servers": "Servers of accepted requests.",
        "accepted_requests": "Requests that were accepted.",
        "refused_servers": "Servers of refused requests.",
        "throttled_requests": "Requests that were refused (429) for the quota; a 429 by misfortune is in ``faults``.",
        "restarts": "Restarts that have begun.",
        "restarted_servers": "Servers that were restarted.",
        "restarted_more_than_once": "Servers that were restarted more than once.",
        "most_down": "The most servers that were down at once.",
        "requests": "All requests.",
        "bad_signatures": "Requests whose signature was wrong.",
    }
    moments = {
        "fullest_window_at": f"When that window began, {times}; null for none.",
        "first_submit": f"When the first request came, {times}; null for none.",
        "last_submit": f"When the last request came, {times}; null for none.",
        "most_down_at": f"When the most servers were down, {times}; null for none.",
        "quota_share": "The share of the quota that was used after the first window; null where that is not known.",
    }
    return {
        **{name: count(said) for name, said in counted.items()},
        **{name: nullable(number(said)) for name, said in moments.items()},
        "quota_window": number("The window of the quota, in seconds."),
        "restarted_more_than_once_ids": each("Which these are, the first of them.", text("An id.")),
        "most_down_by_zone": by_name("The most that were down at once, by zone.", _SERVERS),
        "looks": by_name("Looks by what was looked at.", count("Looks.")),
        "statuses": by_name("Answers by HTTP status.", count("Answers.")),
        "faults": by_name("Faults by their kind.", count("Faults.")),
    }


def gate() -> Schema:
    """Return the schema of what a gate's command reads."""
    by_outcome = {kind.value: count(f"Servers that ended so ({kind.value}).") for kind in OutcomeKind}
    last = {
        "wave": count("Its number."),
        "label": text("Its name in the strategy, such as 10%."),
        "servers": count("Its servers."),
        "failures": count("Its failures that count."),
        **by_outcome,
    }
    told = {
        "run_id": text("The run."),
        "status": word("Its status.", [status.value for status in RunStatus]),
        "wave": count("The wave that is to begin."),
        "waves": count("How many waves there are."),
        "total": count("Servers of the run."),
        **by_outcome,
        "failures": count("Failures that count."),
        "down": count("Servers that take a slot of the budget."),
        "elapsed_s": number("Seconds for which processes have held the run."),
        "last_wave": nullable(record("The wave before; null for none.", last, list(by_outcome))),
        "failed_by": by_name(
            "Failures by what they have in common: reason, host, zone.", by_name("By its value.", count("Failures."))
        ),
    }
    return record("A run before a wave, as a gate's command reads it on standard input.", told)


def error() -> Schema:
    """Return the schema of `EcsbatchError.as_dict`: an error as services answer with it."""
    known: list[type[EcsbatchError]] = [EcsbatchError, *_below(EcsbatchError)]
    kinds = {kind.__name__: _error(kind) for kind in known}
    return {
        "description": "An error, as EcsbatchError.as_dict gives it to programs.",
        "type": "object",
        "required": ["error", "message"],
        "discriminator": {"propertyName": "error"},
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds],
        "$defs": kinds,
    }


def _below(kind: type[EcsbatchError]) -> Iterator[type[EcsbatchError]]:
    """Yield the errors of the library that are of a kind."""
    rooms = {"ecsbatch.errors", *(module.__name__ for module in _NAMED)}
    for each_ in kind.__subclasses__():
        if each_.__module__ in rooms:
            yield each_
        yield from _below(each_)


def _error(kind: type[EcsbatchError]) -> Schema:
    head: dict[str, Schema] = {
        "error": {"const": kind.__name__, "description": "Its class."},
        "message": text("One sentence and the way on."),
    }
    meant = attributes(kind)
    own = {name: described(_FIELDS_OF_ERRORS[name], meant[name]) for name in kind.FIELDS}
    if "status" in own and issubclass(kind, RunConflict):
        own["status"] = text(meant["status"])
    return record(about(kind), head | own)


_FIELDS_OF_ERRORS: Final[dict[str, Schema]] = {
    **{name: text("") for name in ("field", "expected", "run_id", "server", "holder", "code", "request_id", "file")},
    **{name: text("") for name in ("host", "command")},
    **{name: count("") for name in ("status", "drifted", "servers", "pid")},
    **{name: flag("") for name in ("answered", "held")},
    **{name: nullable(number("")) for name in ("retry_after", "window")},
    **{name: each("", text("An id.")) for name in ("candidates", "names")},
    "value": {"description": ""},
    "drift": each("", by_name("A server.", text("What it was, or is now."))),
    "limit": nullable(count("")),
    "runs": by_name("", _SERVERS),
    "since": moment(""),
}
