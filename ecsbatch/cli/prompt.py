"""Asking before anything happens. ``--yes`` skips the question, and nothing else."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from ecsbatch.cli.exit_codes import Declined, UsageError
from ecsbatch.config.types import Amount
from ecsbatch.config.words import Bool
from ecsbatch.errors import ConfigError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.plan import Plan
from ecsbatch.model.text import counted, first_of, printable

TYPED_ABOVE: Final = 100
"""Above so many servers a y is not enough: the number must be typed."""


_HASH: Final = re.compile("[0-9a-f]{64}")

YES_VARIABLE: Final = "ECSBATCH_YES"

_ALSO: Final = {"y": "yes", "t": "true", "n": "no", "f": "false"}


@dataclass(frozen=True, slots=True)
class Consent:
    """What was said on the command line already.

    Attributes:
        yes: the question is answered.
        confirm_count: the number that would be typed.
        max_servers: more servers than this count, or percentage of the project's, are refused.
        stdin_taken: standard input is the list of servers, so that the terminal is asked.
    """

    yes: bool = False
    confirm_count: int | None = None
    max_servers: Amount | None = None
    stdin_taken: bool = False


def variable_that_agrees(environment: Mapping[str, str]) -> str:
    """Return the variable that stands for ``--yes``, "" where it is not set or says no.

    Raises:
        ConfigError: it says neither yes nor no.
    """
    text = environment.get(YES_VARIABLE, "").strip()
    try:
        agrees = bool(text) and Bool().read(_ALSO.get(text.lower(), text))
    except ValueError as e:
        raise ConfigError(f"{YES_VARIABLE}={text}: give {e}.") from None
    return YES_VARIABLE if agrees else ""


def agreed_lines(agreed_by: str) -> list[str]:
    """Say that nobody is asked because a variable has agreed."""
    return [f"Agreed by {agreed_by}: nobody is asked."] if agreed_by else []


def parse_guard(text: str | None) -> Amount | None:
    """Read ``--max-servers``.

    Raises:
        ConfigError: it is neither a count nor a percentage.
    """
    if text is None:
        return None
    try:
        return Amount.parse(text)
    except ValueError as e:
        raise ConfigError(f"--max-servers {text}: give {e}.") from None


def parse_hash(flag: str, text: str) -> str:
    """Read a hash that somebody was given, "" for none.

    Raises:
        UsageError: it is no whole hash.
    """
    told = text.strip().lower()
    if told and not _HASH.fullmatch(told):
        raise UsageError(f"{flag} {printable(text, 80)}: give all 64 of its digits and letters a to f.")
    return told


def guard(count: int, consent: Consent, inventory: int | None) -> None:
    """Refuse more servers than were allowed, or another number than was announced.

    Args:
        count: servers that the plan restarts.
        consent: what was said on the command line.
        inventory: servers in the project, None where nobody has counted them.

    Raises:
        Declined: there are more servers than ``--max-servers``, or not as many as ``--confirm-count``.
    """
    if consent.max_servers is not None:
        most = consent.max_servers.resolve(inventory or 0)
        if count > most:
            of = f" ({most:,} of the project's {inventory or 0:,})" if consent.max_servers.percent is not None else ""
            raise Declined(
                f"the plan restarts {counted(count, 'server')}, more than --max-servers {consent.max_servers}{of}: "
                "nothing was sent; check the selection, or raise the limit."
            )
    if consent.confirm_count is not None and consent.confirm_count != count:
        raise Declined(
            f"the plan restarts {counted(count, 'server')}, --confirm-count says {consent.confirm_count:,}: "
            "nothing was sent; check the selection."
        )


def guard_not_found(plan: Plan, consent: Consent) -> None:
    """Refuse a list of which too much does not exist, where nobody is asked: whoever reads the plan has seen it.

    Args:
        plan: what would be done.
        consent: what was said on the command line.

    Raises:
        Declined: more ids do not exist than ``--max-not-found`` allows.
    """
    gone = plan.not_found
    asks = _at_terminal(consent) and not _answered(plan.to_restart, consent)
    if asks or len(gone) <= plan.max_not_found:
        return
    do = "does" if len(gone) == 1 else "do"
    raise Declined(
        f"{len(gone):,} of the {counted(len(plan.fleet), 'id')} given {do} not exist, and --max-not-found allows "
        f"{plan.max_not_found:,}: {first_of(gone)}. Nothing was sent: correct the list (the same with --dry-run "
        f"-o json names all of them), or allow them with restart or plan --max-not-found {len(gone)}."
    )


def confirm(count: int, consent: Consent, show: Callable[[], None]) -> None:
    """Show what it is about and ask, unless it was answered already or there is nothing to ask about.

    Args:
        count: servers that would be restarted.
        consent: what was said on the command line.
        show: prints what it is about, before the question.

    Raises:
        Declined: nobody can be asked, or the answer was no.
    """
    if _answered(count, consent):
        show()
        return
    servers = counted(count, "server")
    with _terminal(consent, f"give --yes, or --confirm-count {count}, to restart {servers}") as terminal:
        show()
        if count > TYPED_ABOVE:
            answer = _ask(terminal, f"To restart {servers}, type their number: ")
            agreed = answer.replace(",", "").replace("_", "") == str(count)
        else:
            agreed = _agrees(terminal, f"Restart {servers}?")
    if not agreed:
        raise Declined("not confirmed: nothing was sent.")


def agree(question: str, *, yes: bool) -> None:
    """Ask a plain question, unless it was answered already.

    Raises:
        Declined: nobody can be asked, or the answer was no.
    """
    if yes:
        return
    with _terminal(Consent(), "give --yes") as terminal:
        if not _agrees(terminal, question):
            raise Declined("not confirmed: nothing was changed.")


def _answered(count: int, consent: Consent) -> bool:
    return consent.yes or consent.confirm_count is not None or not count


def _at_terminal(consent: Consent) -> bool:
    return sys.stderr.isatty() and (consent.stdin_taken or sys.stdin.isatty())


def _agrees(terminal: TextIO, question: str) -> bool:
    return _ask(terminal, f"{question} [y/N] ").lower() in {"y", "yes"}


def _terminal(consent: Consent, remedy: str) -> TextIO:
    """Open the terminal, also where standard input is the list of servers.

    Raises:
        Declined: there is none; ``remedy`` says what to do instead.
    """
    if _at_terminal(consent):
        with suppress(OSError):
            return Path("/dev/tty").open(encoding="utf-8", errors="replace")
    raise Declined(f"nobody can be asked here: {remedy}; nothing was sent.")


def _ask(terminal: TextIO, question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    answer = terminal.readline()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    return answer.strip()
