"""The schemas of what is said of runs: summary, status, wait, runs, report, explain, audit, rehearse."""

from __future__ import annotations

from typing import Any, Final

from ecsbatch.audit.receipt import FullestWindow, Receipt, Rule
from ecsbatch.model.outcome import Evidence, OutcomeKind, RunStatus
from ecsbatch.model.run import RunRecord
from ecsbatch.policy.counts import Counts
from ecsbatch.policy.decide import Limits
from ecsbatch.policy.explanation import Cause, Explanation
from ecsbatch.policy.progress import FailedServer, Progress
from ecsbatch.policy.resume_options import ResumeOption
from ecsbatch.policy.standing import Phase
from ecsbatch.views.schemas.derived import about, attributes, bullets, of_class
from ecsbatch.views.schemas.event_lines import events
from ecsbatch.views.schemas.plans import freeze, plan_fields
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
_RETRIED: Final = text("An outcome.")
_CONSTANT: Final[Schema] = {"const": 1}


def _counts() -> Schema:
    return of_class(Counts, more={"down": count("Servers that take a slot of the budget: in flight, or not back.")})


def _failed() -> Schema:
    meant = attributes(FailedServer)
    told = {
        "id": text("The server's id."),
        "name": text("Its name; empty for none."),
        "outcome": word("How it ended.", [kind.value for kind in OutcomeKind if kind.is_failure]),
        **{name: text(meant[name]) for name in ("reason", "message", "domain", "host")},
        "error_code": text(meant["code"]),
    }
    return record(about(FailedServer), told)


def _quota() -> Schema:
    told = {
        "limit": nullable(count("Servers in a window.")),
        "window": nullable(number("The window, in seconds.")),
        "held": nullable(count("Tokens of requests without an answer.")),
        "cooling": nullable(count("Tokens whose request was answered less than a window ago.")),
        "free": nullable(count("Tokens that may be taken now.")),
        "next_free_in": nullable(number("Seconds until more are free.")),
        "waited_out": flag("True where nobody gets any before: requests may have been sent that the store forgot."),
        "lowered_to": nullable(count("Servers that are sent in a window meanwhile, after a 429; null for all of it.")),
        "lowered_until": nullable(moment("Until when.")),
    }
    return nullable(record("The quota.", told))


def _waits_for() -> Schema:
    meant = attributes(Explanation)
    told = {
        "cause": word(meant["cause"], [cause.value for cause in Cause]),
        "text": text(meant["text"]),
        "until": nullable(moment("When it is expected to change.")),
        "commands": each(meant["commands"], text("A command.")),
    }
    return record("What it waits for.", told)


def _hold() -> Schema:
    told = {"before_wave": count("The wave before which it stands."), "since": nullable(moment("Since when."))}
    return nullable(record("The hold.", told))


def progress_fields() -> dict[str, Schema]:
    """Return the fields of `Progress.as_dict`, each with what its docstring says."""
    fields: dict[str, Schema] = {
        "v": _CONSTANT,
        "run_id": text(""),
        "seq": count(""),
        "at": moment(""),
        "status": word("", [status.value for status in RunStatus]),
        "reason": text(""),
        "message": text(""),
        "total": count(""),
        **{kind.value: count("") for kind in OutcomeKind},
        "elapsed_s": number(""),
        "began_at": nullable(moment("")),
        "left_out": by_name("", _SERVERS),
        "not_retried": by_name("", _SERVERS),
        "standing": word("", [phase.value for phase in Phase]),
        "standing_text": text(""),
        "standing_until": nullable(moment("")),
        "sending": flag(""),
        "per_minute": nullable(number("")),
        "left_s": nullable(number("")),
        "barriers": each("", word("What no pace tells the time of.", ("soaks", "holds", "gates"))),
        "hold": _hold(),
        "held_after": count(""),
        "wave": count(""),
        "waves": count(""),
        "wave_label": text(""),
        "servers": _counts(),
        "wave_servers": _counts(),
        "domains": by_name("", _counts()),
        **{name: count("") for name in ("down", "restarting", "not_healthy", "not_back", "failures")},
        "limits": of_class(Limits),
        "last_failures": each("", _failed()),
        "quota": _quota(),
        "waits_for": _waits_for(),
        "paused_by": text(""),
        "aborting": flag(""),
        "throttled_s": number(""),
        "resume_options": each("", _resume_option()),
        "frozen": freeze(""),
    }
    meant = bullets(Progress.as_dict)
    return {name: described(schema, _MEANT.get(name) or meant[name]) for name, schema in fields.items()}


_MEANT: Final = {
    "restarting": "Of `down`: those that were sent and have not restarted yet.",
    "not_healthy": "Of `down`: those that have restarted, and whose health check has not passed yet.",
    "not_back": "Of `down`: those that have an outcome and were not seen up since.",
}


def _resume_option() -> Schema:
    value = {"type": ["integer", "string"], "description": "A count or a percentage of servers."}
    limits = by_name("Limits that it changes, by setting.", value)
    asked = attributes(ResumeOption)
    flags = text("Its flags for ecsbatch resume, with a space before each.")
    instead = {"limits": limits, "retry": each(asked["retry"], _RETRIED)}
    return of_class(ResumeOption, instead=instead, more={"flags": flags})


def _run_fields() -> dict[str, Schema]:
    return progress_fields() | {"not_found": each("Its servers that do not exist, by id.", text("An id."))}


def _head() -> dict[str, Schema]:
    return {"head": text("The head of the run's record, for audit --head; empty where it is not known.")}


def _holder_fields() -> dict[str, Schema]:
    meant = attributes(RunRecord)
    return {
        "held": flag(meant["held"]),
        "holder": text("Who holds the run, or held it last: user@host, or what a service calls itself."),
        "pid": count("The id of that process."),
        "host": text("Where it runs."),
        "since": moment("Since when it has the run."),
        "lease_left": nullable(number(meant["lease_left"])),
    }


def summary() -> Schema:
    """Return the schema of what restart, apply, resume and watch print of a run, and of what --on-end gets."""
    holder = {name: schema for name, schema in _holder_fields().items() if name != "lease_left"}
    fields = _run_fields() | _head() | holder
    return record(
        "A run as restart, apply, resume and watch leave it. Who has taken it over is told where another process has.",
        fields,
        [*holder, "head"],
    )


def _standing_fields() -> dict[str, Schema]:
    steering = each("What has steered it, oldest first: events, see `ecsbatch schema events`.", _any_event())
    return _run_fields() | _head() | _holder_fields() | {"steering": steering}


def _any_event() -> Schema:
    return {"type": "object", "description": events()["description"], "required": ["v", "ts", "seq", "run_id", "event"]}


def status() -> Schema:
    """Return the schema of ``status -o json``."""
    other = {
        "run_id": text("The run."),
        "status": word("Its status.", [status.value for status in RunStatus]),
        "standing": nullable(word("How it stands; null where it was not looked at.", [phase.value for phase in Phase])),
    }
    others = {"others": each("Runs that go on beside it.", record("A run.", other))}
    return record("Where a run stands, who holds it and who has steered it.", _standing_fields() | others)


def wait() -> Schema:
    """Return the schema of ``wait -o json``."""
    awaited = {
        "awaited": text("What was waited for: finished, stopped or wave:N."),
        "in_time": flag("False where --timeout was over before."),
    }
    return record("Where a run stands that was waited for.", _standing_fields() | awaited)


def rehearse() -> Schema:
    """Return the schema of ``rehearse -o json``."""
    more = {
        "planned_s": number("Seconds that the plan expects."),
        "most_down": count("The most servers that were down at once, by the simulated cloud's books."),
        "most_down_by_zone": by_name("The same by zone.", _SERVERS),
        "fullest_window": count("The most servers that one window of the quota has had, by the same books."),
    }
    return record("How a rollout went in virtual time.", _run_fields() | more)


def runs() -> Schema:
    """Return the schema of ``runs -o json``."""
    meant = attributes(RunRecord)
    fields = {
        "run_id": text(meant["run_id"]),
        "kind": word(meant["kind"], ("rollout", "direct")),
        "status": word(meant["status"], [status.value for status in RunStatus]),
        "created_at": moment("When it was created."),
        "total": count(meant["total"]),
        "counts": by_name(meant["counts"], _SERVERS),
        "seq": count(meant["seq"]),
        **_holder_fields(),
        "aborting": flag("True while it is being ended for good, or somebody has asked for it."),
        **_standing(),
    }
    told = {
        "runs": each("The last runs, the newest first.", record("A run.", fields)),
        "frozen": freeze("The freeze of the store, null where there is none."),
    }
    return record("The last runs of a store.", told)


def _standing() -> dict[str, Schema]:
    told = progress_fields()
    return {name: told[name] for name in ("standing", "standing_text", "standing_until")}


def report() -> Schema:
    """Return the schema of ``report -o json``."""
    run = _run_fields() | {
        "started_at": nullable(moment("When it began.")),
        "ended_at": nullable(moment("When it ended; null while it has not.")),
        "plan": record("Its plan, without the servers.", plan_fields()),
    }
    row = {
        "id": text("The server's id."),
        "outcome": word("How it ended.", [kind.value for kind in OutcomeKind]),
        "reason": text("Why, in a word; empty where the outcome says it all."),
        "evidence": word("What it is known by; empty where nothing was sent.", ["", *(one.value for one in Evidence)]),
        "error_code": text("As the cloud gave it; empty where it gave none."),
        "job_id": text("The job that restarted it or failed to; empty for none."),
        "wave": nullable(count("Its wave; null where it is in none.")),
        "domain": text("Where it is; empty where not known."),
        "attempts": count("Requests that named it."),
        "submitted_at": nullable(moment("When the last of these was about to be sent; null for none.")),
        "ended_at": nullable(moment("When its outcome was recorded; null where it has none.")),
        "not_retried": text("Why it was not tried again, where it was to be; else empty."),
        "name": text("Its name, escaped for a terminal; empty for none."),
        "host": text("The physical host that it is on, as the cloud names it; empty where not known."),
    }
    servers = each("The servers in the order of the rollout.", record("A server and its outcome.", row, ["host"]))
    return record("Every server of a run with its outcome.", {"run": record("The run.", run), "servers": servers})


def explain() -> Schema:
    """Return the schema of ``explain -o json``."""
    told = {
        "run_id": text("The run."),
        "server": nullable(text("The id of the server that was asked about, null for the whole run.")),
        "name": nullable(text("Its name, null for none.")),
        **_waits_for()["properties"],
        "standing": text("How the run stands, in a word; empty where it was not asked about."),
        "standing_text": text("The same for people."),
        "frozen": freeze("The freeze of the store, null where there is none."),
    }
    return record("Why a server is not restarted yet, or what holds a run.", told)


def audit() -> Schema:
    """Return the schema of ``audit -o json``."""
    meant = attributes(Receipt)
    breaches: dict[str, Any] = {
        "type": "object",
        "properties": {rule.value: count(f"Findings about {rule.value}.") for rule in Rule},
        "description": meant["breaches"],
    }
    windows = each(meant["windows"], of_class(FullestWindow))
    ok = {"ok": flag("True where nothing in the record breaks a promise.")}
    return of_class(Receipt, instead={"breaches": breaches, "windows": windows}, more=ok)
