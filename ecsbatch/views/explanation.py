"""The answer to why: a cause in a word, sentences, when it is expected to change, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any, Final

from ecsbatch.model.json_text import stamp
from ecsbatch.model.servers import labelled
from ecsbatch.model.text import printable
from ecsbatch.policy.explanation import Explanation
from ecsbatch.policy.standing import Phase
from ecsbatch.views.text import NOTHING_TO_REPEAT, RepeatFlags, format_span

_GOING_ON: Final = frozenset({"resume", "abort"})
"""Commands that need the cloud: they go on with a run."""

_LONGEST: Final = 2_000


def explanation_json(
    explanation: Explanation, run_id: str, server: str, repeat: RepeatFlags = NOTHING_TO_REPEAT, *, name: str = ""
) -> dict[str, Any]:
    """Return the one object that ``explain -o json`` prints; see `explanation_lines`."""
    until = None if explanation.until is None else stamp(explanation.until)
    commands = _commands(explanation, repeat)
    whom = {"run_id": run_id, "server": server or None, "name": name or None}
    frozen = explanation.frozen.as_dict() if explanation.frozen is not None else None
    return {**whom, **explanation.to_json(), "until": until, "commands": commands, "frozen": frozen}


def explanation_lines(
    explanation: Explanation,
    run_id: str,
    server: str,
    *,
    now: float,
    name: str = "",
    repeat: RepeatFlags = NOTHING_TO_REPEAT,
    width: int = 80,
) -> list[str]:
    """Write an answer for people.

    Args:
        explanation: the answer.
        run_id: of the run.
        server: whose id was asked about, "" for the whole run.
        now: seconds since 1970.
        name: the server's, "" where it has none.
        repeat: flags that the next commands need too.
        width: of the screen, in columns.
    """
    whom = f"Server {printable(labelled(server, name))} of run" if server else "Run"
    lines = [f"{whom} {printable(run_id)}: {explanation.cause.value.replace('_', ' ')}."]
    if explanation.standing_text and not server:
        why = f" ({explanation.cause.value.replace('_', ' ')})" if explanation.standing == Phase.RUNNING else ""
        lines = [f"{whom} {printable(run_id)}: {explanation.standing_text}{why}."]
    text = printable(explanation.text, _LONGEST)
    lines += [f"  {line}" for line in wrap(text, width - 2, break_on_hyphens=False, break_long_words=False)]
    if explanation.standing_text and server:
        lines.append(f"  The run: {explanation.standing_text}.")
    if explanation.until is not None:
        left = explanation.until - now
        when = f"in {format_span(left)}" if left > 0 else "any moment"
        lines.append(f"  It is expected to change by {stamp(explanation.until)} ({when}).")
    commands = _commands(explanation, repeat)
    if commands:
        lines += ["", "Next:", *(f"  {printable(command, _LONGEST)}" for command in commands)]
    return lines


def _commands(explanation: Explanation, repeat: RepeatFlags) -> Sequence[str]:
    """Add to each command the flags without which it would look at another store."""
    return [
        command + (repeat.go_on if command.split()[1:2] and command.split()[1] in _GOING_ON else repeat.read)
        for command in explanation.commands
    ]
