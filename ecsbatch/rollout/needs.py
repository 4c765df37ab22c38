"""What a run needs of whoever goes on with it unattended, by its record, and what a worker lacks of that. Pure.

Whoever may write a store can steer its runs, and must not execute anything by that: what stands in a record is never a
reason to run a program, to ask a host that it names, or to read a file. A worker's own settings give the same text, or
it leaves the run alone. The checks ``tcp:``, ``http:`` and ``https:`` need no such word: their host is never the
record's, it is the address that the cloud's own listing tells of a server of the worker's project, and not one of this
machine, its neighbours on the link or its metadata service (`ecsbatch.rollout.check_addresses`). They send no
credentials, follow no redirect and read no answer; the record chooses a port and a path on servers that it restarts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from shlex import quote
from typing import Any, Final, cast

from ecsbatch.model.ownership import Exposure
from ecsbatch.model.quota import quota_group
from ecsbatch.model.text import printable

A_CALLABLE: Final = "a callable"
"""What a plan says of a check or a gate that its program brought."""

ACTING: Final = ("cmd:", "url:")
"""Checks that run a command here, or ask whatever host they name; all others ask the run's own servers."""

UNATTENDED: Final = Exposure(
    "nobody is asked here, and a worker runs nothing for the sole reason that a record names it"
)
"""Why a worker runs no program that only a record names, whoever may write that."""

_NAMES: Final = {"check": "check", "gate": "gate", "check_ca": "file of certificates"}


def own_words_in(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the texts of a plan that act by themselves, so that a worker's own settings must have them, by their names.

    Args:
        plan: as a record has it, `Plan.to_json`.
    """
    check, gate, certificates = (_text(plan, name) for name in ("check", "gate", "check_ca"))
    if check.startswith(ACTING):
        yield "check", check
    if gate and gate != A_CALLABLE:
        yield "gate", gate
    if certificates:
        yield "check_ca", certificates


def lacking(
    plan: Mapping[str, Any], sites: Mapping[str, str], allowed: Collection[str], brought: Collection[str] = ()
) -> list[str]:
    """Return a clause for each thing that a worker lacks to go on with a run; none: it has all of them.

    Args:
        plan: of the run, as its record has it.
        sites: the worker's sites by their keys, each with its quota group.
        allowed: the texts of ``allow_programs``.
        brought: which of ``check`` and ``gate`` the worker's program brings for runs that were planned with a callable.
    """
    callables = [name for name in ("check", "gate") if _text(plan, name) == A_CALLABLE and name not in brought]
    foreign = [(name, text) for name, text in own_words_in(plan) if text not in allowed]
    return [
        *_other_sites(plan, sites),
        *(f"it was planned with a {name} of its own program, which this one does not bring" for name in callables),
        *(
            f"it names the {_NAMES[name]} {quote(printable(text))}, which is none of allow_programs here"
            for name, text in foreign
        ),
    ]


def only_to_end(plan: Mapping[str, Any], *, under_way: bool) -> dict[str, Any]:
    """Return the plan of a run that is being aborted without what is not asked any more.

    Args:
        plan: of the run, as its record has it.
        under_way: servers are, whose check is asked.
    """
    return {**plan, "gate": ""} if under_way else {**plan, "gate": "", "check": "", "check_ca": ""}


def _other_sites(plan: Mapping[str, Any], sites: Mapping[str, str]) -> Iterator[str]:
    told = plan.get("sites")
    wanted = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
    for site, named in wanted.items():
        group = quota_group(str(named))
        if group != sites.get(site, ""):
            mine = sites.get(site) or ", ".join(sites.values())
            yield f"it belongs to project {printable(group)}, and the key here is for {printable(mine)}"


def _text(plan: Mapping[str, Any], name: str) -> str:
    value = plan.get(name)
    return value.strip() if isinstance(value, str) else ""
