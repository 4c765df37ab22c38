"""``ecsbatch schema``: the JSON Schema of what is printed and written, for programs that read it."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from ecsbatch.cli import candidates
from ecsbatch.cli.exit_codes import Exit, UsageError
from ecsbatch.cli.output import print_lines
from ecsbatch.model.text import printable
from ecsbatch.views.schemas.catalog import SCHEMAS, schema_of


def schema(
    name: Annotated[
        str,
        Parameter(
            help="Which one; what there is where left out.",
            show_default=False,
            completer=candidates.offered(*SCHEMAS),
        ),
    ] = "",
    /,
) -> int:
    """Print the JSON Schema (2020-12) of one kind of JSON that ecsbatch prints or writes, or say which there are.

    Objects are open: fields are added to them, never renamed, and a reader ignores those that it does not know.
    """
    if not name:
        width = max(map(len, SCHEMAS))
        print_lines([f"{each:{width}}  {entry.text}" for each, entry in SCHEMAS.items()], to_stdout=True)
        return Exit.OK
    if name not in SCHEMAS:
        raise UsageError(f"There is no schema {printable(name, 40)}: give {', '.join(SCHEMAS)}.")
    import orjson  # noqa: PLC0415 - only where there is something to write

    sys.stdout.buffer.write(orjson.dumps(schema_of(name), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return Exit.OK
