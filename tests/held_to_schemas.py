"""Holds what commands print and write to its schemas, strictly: a field that no schema has fails here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from ecsbatch.views.schemas.catalog import SCHEMAS, schema_of

OF_COMMAND = {
    **dict.fromkeys(("restart", "apply", "resume", "watch"), "summary"),
    **{name: name for name in ("status", "wait", "runs", "report", "explain", "audit", "rehearse", "servers", "check")},
    **{name: name for name in ("plan", "quota", "freeze", "thaw", "config", "store", "simulate")},
}
"""The schema of what a command prints with ``-o json``."""


def strict(schema: Any) -> Any:
    """Return a schema that refuses what it does not name."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


@cache
def validator(name: str, kind: str = "") -> Draft202012Validator:
    """Return what judges by a schema, or by one of its kinds alone: it would try them all."""
    whole = strict(schema_of(name))
    return Draft202012Validator(whole["$defs"][kind] if kind else whole)


def faults(name: str, told: Any) -> list[str]:
    """Return what is wrong with an object, nothing where it is as its schema says."""
    kinds = schema_kinds(name)
    word = told.get("error" if name == "error" else "event", "") if kinds and isinstance(told, dict) else ""
    if kinds and word not in kinds:
        return [f"{name}: it has no {word!r}: {told}"]
    error = best_match(validator(name, word).iter_errors(told))
    return [] if error is None else [f"{name} {word}: {error.json_path}: {error.message[:400]}"]


@cache
def schema_kinds(name: str) -> frozenset[str]:
    return frozenset(schema_of(name).get("$defs", ()))


def hold(name: str, told: Any) -> None:
    """Raise AssertionError where an object is not as its schema says."""
    if found := faults(name, told):
        raise AssertionError("; ".join(found))


def hold_output(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, out: str, err: str, code: int | None
) -> None:
    """Hold to its schemas what a command has printed, and what it has written into files.

    Args:
        arguments: what was typed behind ``ecsbatch``.
        environment: its variables.
        folder: where it was typed.
        out: all of its standard output, or what is left of it.
        err: the same of standard error.
        code: that it ended with, None or negative where it was killed.
    """
    if code is None or code < 0:
        return
    options = Options(arguments, environment)
    for line in options.logged(err):
        hold("log", json.loads(line))
    for name, text in options.printed(out):
        hold(name, json.loads(text))
    for name, path in options.written(folder):
        for told in _objects(name, path):
            hold(name, told)


class Options:
    """What of a command line says which JSON it brings."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._arguments = list(arguments)
        self._environment = environment
        self._command = arguments[0] if arguments else ""

    def _value(self, *names: str, variable: str = "") -> str:
        for place, word in enumerate(self._arguments):
            if word in names:
                return self._arguments[place + 1] if place + 1 < len(self._arguments) else ""
            if word.startswith(tuple(f"{name}=" for name in names)):
                return word.partition("=")[2]
        return self._environment.get(variable, "")

    def logged(self, err: str) -> Iterator[str]:
        """Yield the lines of stderr that are JSON."""
        if self._value("--log-format", variable="ECSBATCH_LOG_FORMAT") == "json":
            yield from (line for line in err.splitlines() if line.startswith('{"'))

    def printed(self, out: str) -> Iterator[tuple[str, str]]:
        """Yield the objects on standard output, each with its schema."""
        form = self._value("-o", "--output", variable="" if self._command == "report" else "ECSBATCH_OUTPUT")
        if self._command == "report" and not form:
            form = "json"
        text = "" if self._value("--out") else out.strip()
        if self._value("--events") == "-":
            yield from (("events", line) for line in text.splitlines() if line.startswith('{"v":'))
        elif text.startswith('{"') and form == "jsonl":
            yield from (("server", line) for line in text.splitlines())
        elif text.startswith('{"') and form == "json":
            plans = "--dry-run" in self._arguments
            name = "plan" if plans else OF_COMMAND[self._command]
            yield from ((name, line) for line in (text.splitlines() if name == "simulate" else [text]))

    def written(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """Yield the files, each with the schema of what is in it."""
        if (events := self._value("--events", variable="ECSBATCH_EVENTS")) not in {"", "-"}:
            yield "events", folder / events
        if self._command == "plan" and (out := self._value("--out")):
            yield "plan-file", folder / out


def _objects(name: str, path: Path) -> Iterator[Any]:
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    if name == "plan-file":
        if text.startswith('{"ecsbatch_plan":1,'):
            yield json.loads(text)
        return
    # What was there before, or is not written to its end yet, is no line of ours.
    yield from (
        json.loads(line) for line in text.splitlines(keepends=True) if line[:5] == '{"v":' and line[-2:] == "}\n"
    )


assert set(OF_COMMAND.values()) <= set(SCHEMAS)
