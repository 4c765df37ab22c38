"""The schemas of plans and servers: ``plan -o json``, the file of ``plan --out``, ``servers -o json`` and jsonl."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final, get_type_hints

from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import SkipReason
from ecsbatch.model.plan import Plan, Skip, Wave
from ecsbatch.model.servers import Site
from ecsbatch.planning.time_model import TimeModel
from ecsbatch.views.schemas.derived import about, attributes, of_class, of_type
from ecsbatch.views.schemas.words import (
    Schema,
    by_name,
    count,
    described,
    each,
    flag,
    moment,
    nullable,
    record,
    text,
    word,
)

_NOT_IN_JSON: Final = frozenset({"fleet", "basis"})


def plan_fields() -> dict[str, Schema]:
    """Return the fields of a plan without its servers, as runs, reports and plans have them."""
    meant, types = attributes(Plan), get_type_hints(Plan)
    told: dict[str, Any] = {
        f.name: described(of_type(types[f.name]), _in_seconds(f.name, meant[f.name]))
        for f in fields(Plan)
        if f.name not in _NOT_IN_JSON
    }
    told["waves"] = each(meant["waves"], of_class(Wave))
    told["skips"] = each(meant["skips"], of_class(Skip, instead={"reason": text("Why they are left alone.")}))
    return told | {
        "total": count("All servers of the plan."),
        "to_restart": count("Servers in waves: those with the indexes 0 to this (exclusive)."),
        "domains": by_name("Servers to restart by domain.", count("Servers.")),
        "hash": text("The SHA-256 of targets, order and numbers, in 64 hex digits."),
        "targets": text("The SHA-256 of the servers in whatever order, in 64 hex digits."),
    }


_SECONDS: Final = frozenset({"soak", "min_ready", "check_interval", "gate_timeout", "server_timeout"})


def _in_seconds(name: str, meant: str) -> str:
    return f"{meant} In seconds." if name in _SECONDS else meant


def freeze(said: str) -> Schema:
    """Return the schema of a freeze as JSON has it, null where there is none."""
    meant = attributes(Freeze)
    told = {
        "by": text(meant["by"]),
        "reason": text(meant["reason"]),
        "since": moment("From when on, by the store's clock."),
        "until": nullable(moment("When it ends by itself, null: once somebody thaws it.")),
    }
    return nullable(record(said, told))


def plan() -> Schema:
    """Return the schema of ``plan -o json`` and ``restart --dry-run -o json``."""
    return record(
        "What a restart would do: the plan without its servers, and how long it takes.",
        {
            "plan": record(about(Plan), plan_fields()),
            "time": of_class(TimeModel),
            "quota": text("Servers per window that it keeps to, such as 1000/60s."),
            "claimed_by_others": by_name("Servers left out since other runs have them, by run.", count("Servers.")),
            "not_found": each("Ids that do not exist.", text("An id.")),
            "conflicts": by_name("Servers that other runs have, so that it is refused, by run.", count("Servers.")),
            "warnings": each("What is to be seen to beforehand.", text("A sentence.")),
            "frozen": freeze("The freeze of the store, null where there is none or nobody has looked."),
        },
    )


def plan_file() -> Schema:
    """Return the schema of the file that ``plan --out`` writes and ``apply`` carries out."""
    row = {
        "id": text("The server's id."),
        "domain": text("Its domain, left out where it has none."),
        "name": text("Its name, left out where it has none."),
        "site": text("The site that it is at, left out where there is one."),
        "az": text("Its availability zone, left out where not known."),
        "host": text("The physical host that it is on, left out where not known."),
        "tags": by_name("Its tags, left out where it has none.", text("The tag's value; empty for none.")),
        "found": flag("False where the cloud did not know the id."),
        "status": text("Its state as the cloud called it, such as ACTIVE."),
        "task_state": text("What it was on its way to, left out where nothing."),
        "updated": text("When it last changed, as the cloud wrote it."),
        "locked": flag("True where a lock forbade restarts."),
    }
    return record(
        "A plan that is kept: the plan, and each of its servers as it was seen.",
        {
            "ecsbatch_plan": {"const": 1, "description": "The version of the file's form."},
            "made_at": moment("When it was made."),
            "made_by": text("The version of ecsbatch that made it."),
            "site": of_class(Site),
            "plan": record(about(Plan), plan_fields()),
            "sha256": text("The seal: the SHA-256 of all else, in 64 hex digits."),
            "servers": each("The servers in the order of the plan.", record("A server.", row, set(row) - {"id"})),
        },
    )


def server() -> Schema:
    """Return the schema of one server of ``servers -o json``, and of a line of ``servers -o jsonl``."""
    return record(
        "A server as the cloud shows it. Texts are as they came: escape them for a page.",
        {
            "id": text("Its id."),
            "az": text("Its availability zone."),
            "name": text("Its name."),
            "status": text("Its state as the cloud calls it, such as ACTIVE; empty where it does not exist."),
            "task_state": text("What it is on its way to; empty for nothing."),
            "skip": word("Why a restart would leave it alone now; empty where it would not.", _skips()),
            "updated": text("When it last changed, as the cloud wrote it."),
            "host_id": text("The physical host that it is on, as the cloud names it."),
            "enterprise_project_id": text("The enterprise project that it is of."),
            "address": text("Its first private address."),
            "locked": flag("True where a lock forbids restarts."),
            "tags": each("Its tags.", text("key=value or key.")),
        },
    )


def servers() -> Schema:
    """Return the schema of ``servers -o json``."""
    return record(
        "A fleet as the cloud shows it.",
        {"total": count("How many servers there are."), "servers": each("The servers.", server())},
    )


def _skips() -> list[str]:
    return ["", *(reason.value for reason in SkipReason)]
