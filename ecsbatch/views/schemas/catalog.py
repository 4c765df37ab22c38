"""Which schemas there are. A name of them is a contract, as what it describes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from ecsbatch.views.schemas.words import Schema

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class SchemaEntry(NamedTuple):
    """What is known of a schema before it is made.

    Attributes:
        module: in `ecsbatch.views.schemas`.
        text: what it is of, in a line.
    """

    module: str
    text: str


SCHEMAS: Final[dict[str, SchemaEntry]] = {
    "summary": SchemaEntry("runs", "-o json of restart, apply, resume and watch; --on-end's standard input"),
    "status": SchemaEntry("runs", "status -o json"),
    "wait": SchemaEntry("runs", "wait -o json"),
    "runs": SchemaEntry("runs", "runs -o json"),
    "report": SchemaEntry("runs", "report -o json"),
    "explain": SchemaEntry("runs", "explain -o json"),
    "audit": SchemaEntry("runs", "audit -o json"),
    "rehearse": SchemaEntry("runs", "rehearse -o json"),
    "events": SchemaEntry("event_lines", "a line of --events and of the journal"),
    "log": SchemaEntry("event_lines", "a line of stderr with --log-format json"),
    "plan": SchemaEntry("plans", "-o json of plan and restart --dry-run"),
    "plan-file": SchemaEntry("plans", "the file of plan --out, which apply carries out"),
    "servers": SchemaEntry("plans", "servers -o json"),
    "server": SchemaEntry("plans", "a line of servers -o jsonl"),
    "check": SchemaEntry("answers", "check -o json"),
    "store": SchemaEntry("answers", "-o json of store check, upgrade and prune"),
    "quota": SchemaEntry("answers", "quota -o json"),
    "freeze": SchemaEntry("answers", "freeze -o json"),
    "thaw": SchemaEntry("answers", "thaw -o json"),
    "config": SchemaEntry("answers", "config show -o json"),
    "simulate": SchemaEntry("answers", "simulate -o json, its first line and its last"),
    "healthz": SchemaEntry("answers", "what work --healthz answers"),
    "gate": SchemaEntry("answers", "what a gate's command reads"),
    "error": SchemaEntry("answers", "an error of the library as a service answers with it"),
}


def schema_of(name: str) -> Schema:
    """Return a schema by its name, whole: it refers to no other one.

    Raises:
        KeyError: there is none of this name.
    """
    module = import_module(f"ecsbatch.views.schemas.{SCHEMAS[name].module}")
    made: Schema = getattr(module, name.replace("-", "_"))()
    return {"$schema": DIALECT, "$id": f"urn:ecsbatch:schema:1:{name}", "title": f"ecsbatch {name}", **made}
