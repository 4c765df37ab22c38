"""The words that schemas are made of: each returns a JSON Schema of one kind of value, with what it means.

Objects are open: fields are added to them, and a reader ignores those that it does not know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]


def text(about: str) -> Schema:
    """Return the schema of a text."""
    return {"type": "string", "description": about}


def word(about: str, words: Iterable[str]) -> Schema:
    """Return the schema of a text that is one of these words."""
    return {"type": "string", "enum": list(words), "description": about}


def count(about: str) -> Schema:
    """Return the schema of a number of things, or of a place among them."""
    return {"type": "integer", "minimum": 0, "description": about}


def number(about: str) -> Schema:
    """Return the schema of a quantity, whose unit ``about`` names."""
    return {"type": "number", "description": about}


def flag(about: str) -> Schema:
    """Return the schema of what is true or false."""
    return {"type": "boolean", "description": about}


def moment(about: str) -> Schema:
    """Return the schema of a time."""
    return {"type": "string", "format": "date-time", "description": f"{about} (RFC 3339 in UTC)"}


def nullable(schema: Schema) -> Schema:
    """Return the schema of a value that may not be there, or not be known."""
    if "enum" in schema:
        return {**schema, "type": [schema["type"], "null"], "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def each(about: str, schema: Schema) -> Schema:
    """Return the schema of a list of such values."""
    return {"type": "array", "items": schema, "description": about}


def by_name(about: str, schema: Schema) -> Schema:
    """Return the schema of an object whose names are not known beforehand, each with such a value."""
    return {"type": "object", "additionalProperties": schema, "description": about}


def record(about: str, fields: Mapping[str, Schema], optional: Collection[str] = ()) -> Schema:
    """Return the schema of an object with these fields, of which those that are ``optional`` may be left out."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": dict(fields), "required": required, "description": about}


def described(schema: Schema, about: str) -> Schema:
    """Return a schema that says of its value what it is here."""
    return {**schema, "description": about}
