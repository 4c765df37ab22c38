"""Who is to be restarted: takes lists of servers, and filters what the cloud lists.

Read `as_fleet` first, which takes a program's list; `fleet_file.py` reads the command line's. `Selection` is what the
command line was told, or `EcsClient.select`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from typing import Any, Final, TypeGuard

from ecsbatch.errors import SelectionError, SelectionRefused
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.servers import Fleet, Server, ServerView

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LONGEST_ID: Final = 64


def as_server_id(text: str) -> str:
    """Return an id as it is kept: a UUID in small letters, any other id as it is. All that takes ids calls it."""
    small = text.lower()
    # Nearly all ids come in small letters, and this is called for a million of them.
    return small if small != text and _UUID.fullmatch(small) else text


def server_id(text: object) -> str:
    """Check a server's id and return it as it is kept.

    Raises:
        SelectionError: it is not 1 to 64 printable characters.
    """
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_ID or not text.isprintable():
        raise SelectionError(f"{in_short(text)} is no server id: give 1 to {_LONGEST_ID} printable characters.")
    return as_server_id(text)


def is_uuid(text: str) -> bool:
    """Return True where an id is a UUID, as all ids of ECS are."""
    return _UUID.fullmatch(text.lower()) is not None


def as_fleet(targets: Iterable[Server | str]) -> Fleet:
    """Return servers or ids that a program gives as a fleet; a million ids become columns, not objects.

    Raises:
        SelectionError: a server is named twice, or something is no server and no id.
        SelectionRefused: there is no server.
    """
    if isinstance(targets, str):
        raise SelectionError(f"{in_short(targets)} is one text: give a list of servers or of their ids.")
    if isinstance(targets, Fleet) and all(id_ == server_id(id_) for id_ in targets.ids):
        return targets
    columns = (targets, (), (), ()) if _are_kept(targets) else _columns(targets)
    ids = columns[0]
    if not ids:
        raise SelectionRefused("No server is selected; an empty selection never means all.")
    try:
        return Fleet(*columns)
    except ValueError:
        twice, times = Counter(ids).most_common(1)[0]
        raise SelectionError(f"Server {in_short(twice)} is named {times} times; name each server once.") from None


def as_target(server: Server | str) -> tuple[str, str]:
    """Return the id and the site of one server that a program gives; quick, for it may be called thousands of times.

    Raises:
        SelectionError: it is no server and no id.
    """
    if isinstance(server, str):
        return server_id(server), ""
    target = as_fleet([server])[0]
    return target.id, target.site


def _are_kept(targets: Iterable[object]) -> TypeGuard[tuple[str, ...]]:
    """Tell whether a list that cannot change has nothing but ids, as they are kept: no million of them is copied."""
    return isinstance(targets, tuple) and all(isinstance(each, str) and server_id(each) is each for each in targets)


def _columns(targets: Iterable[object]) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return ids, domains, names and sites as columns; one without any value is empty."""
    ids: list[str] = []
    others: tuple[list[str], list[str], list[str]] = ([], [], [])
    for target in targets:
        if isinstance(target, str):
            ids.append(server_id(target))
            continue
        if not isinstance(target, Server):
            raise SelectionError(f"{in_short(target)} is no server: give ids, or a Server for each.")
        for column, value in zip(others, (target.domain, target.name, target.site), strict=True):
            column.extend([""] * (len(ids) - len(column)))
            column.append(value)
        ids.append(server_id(target.id))
    for column in others:
        _refuse_no_text(column)
        column.extend([""] * (len(ids) - len(column)) if column else ())
    return ids, *others


def _refuse_no_text(column: list[Any]) -> None:
    """Check that all names, domains or sites can be written as text.

    Raises:
        SelectionError: one cannot.
    """
    try:
        "".join(column).encode()
    except (TypeError, UnicodeEncodeError):
        strange = next(value for value in column if not isinstance(value, str) or _is_half(value))
        raise SelectionError(f"{in_short(strange)} is no text: mend the server's name, domain or site.") from None


def _is_half(text: str) -> bool:
    """Return True where a text has half of a character, which Python can read and nothing can write."""
    return any("\ud800" <= c <= "\udfff" for c in text)


def from_view(view: ServerView, site: str = "") -> Server:
    """Return a listed server as a target, with its availability zone as its domain."""
    return Server(view.id, view.az, view.name, site, view.address)


def filter_views(
    views: Iterable[ServerView],
    *,
    tags: Sequence[str] = (),
    name: str = "",
    az: Sequence[str] = (),
    status: Sequence[str] = (),
    enterprise_project: str = "",
    exclude: Container[str] = (),
) -> list[ServerView]:
    """Return the servers of a listing that fit; the cloud's own filters are fuzzy, and some return more than asked.

    Args:
        views: the listing.
        tags: ``key=value`` or ``key`` for a tag without a value; a server must bear all of them, exactly.
        name: the whole name, with ``*`` and ``?`` as wildcards.
        az: availability zones, one of which must be the server's.
        status: states, one of which must be the server's.
        enterprise_project: the id of the enterprise project.
        exclude: ids to leave out.
    """
    wanted = {_tag(tag) for tag in tags}
    states = {state.upper() for state in status}
    return [
        view
        for view in views
        if view.found
        and view.id not in exclude
        and wanted <= {_tag(tag) for tag in view.tags}
        and (not name or fnmatchcase(view.name, name))
        and (not az or view.az in az)
        and (not states or view.status in states)
        and (not enterprise_project or view.enterprise_project_id == enterprise_project)
    ]


def _tag(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def in_short(given: object) -> str:
    """Return what was given in a short form for messages; what a terminal cannot show is escaped."""
    said = given if isinstance(given, str) else repr(given)
    shown = said if len(said) <= 60 else said[:60] + "…"  # noqa: PLR2004  # about what fits into one line of a terminal
    return repr(shown) if isinstance(given, str) else shown


@dataclass(frozen=True, slots=True)
class Selection:
    """Which servers are to be restarted, as the command line was told.

    Attributes:
        servers: those of a file, with the id "" where only the name is given; None where the cloud is to be asked.
        tags, name, az, status, enterprise_project: see `filter_views`; without any of them the whole project.
        excluded, excluded_names: ids to leave alone, and names: all servers that are called so.
        exclude_claimed: True to leave other runs' servers out.
        restarted_since, updated_since: seconds since 1970; what was restarted or changed since then is left alone.
        restarted_ago: the first of them was named as how long ago, by the clock of this machine.
        from_stdin: True where the servers came from standard input.
    """

    servers: Sequence[Server] | None = None
    tags: tuple[str, ...] = ()
    name: str = ""
    az: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    enterprise_project: str = ""
    excluded: frozenset[str] = field(default=frozenset(), repr=False)
    excluded_names: frozenset[str] = field(default=frozenset(), repr=False)
    exclude_claimed: bool = False
    restarted_since: float | None = None
    restarted_ago: bool = False
    updated_since: float | None = None
    from_stdin: bool = False

    def check(self, views: Iterable[ServerView]) -> list[ServerView]:
        """Return the servers of a listing that fit."""
        # `all_granted_eps` asks for all that the caller may see; no server's own project is called so.
        project = "" if self.enterprise_project == "all_granted_eps" else self.enterprise_project
        return filter_views(
            views, tags=self.tags, name=self.name, az=self.az, status=self.status, enterprise_project=project
        )

    def updated(self, views: Iterable[ServerView]) -> set[str]:
        """Return the ids of servers that have changed since ``updated_since``, by the cloud's record.

        Raises:
            SelectionError: the cloud does not say when a server has changed; to restart it would be a guess.
        """
        if self.updated_since is None:
            return set()
        since = self.updated_since
        return {view.id for view in views if view.found and _updated(view) >= since}


def selection_of(
    tags: Mapping[str, str] | Iterable[str] | None = None,
    *,
    everything: bool = False,
    name: str | None = None,
    az: str | Iterable[str] | None = None,
    status: str | Iterable[str] | None = None,
    enterprise_project: str | None = None,
) -> Selection:
    """Return the selection that a program asks for; see `EcsClient.select`.

    Raises:
        SelectionError: it has no filter and does not ask for everything, or has both, or a filter is empty.
    """
    given = (tags, name, az, status, enterprise_project)
    if everything is not True and all(each is None for each in given):
        raise SelectionError("select has no filter: give one, or all=True for every server of the project.")
    if everything is True and any(each is not None for each in given):
        raise SelectionError("select(all=True) means every server of the project: leave the filters out.")
    return Selection(
        tags=_filters("tags", _tags(tags)),
        name="" if name is None else _filter("name", name),
        az=_filters("az", az),
        status=_filters("status", status),
        enterprise_project="" if enterprise_project is None else _filter("enterprise_project", enterprise_project),
    )


def _tags(given: object) -> Any:
    """Return tags as texts where a mapping gives them, else as they are."""
    mapping: Any = given
    if not isinstance(given, Mapping):
        return mapping
    tags: dict[Any, Any] = dict(mapping)
    if strange := [key for key, value in tags.items() if not isinstance(value, str) or "=" in str(key)]:
        raise SelectionError(f"tags: {in_short(strange[0])} is to have a text as its value, and no = in itself.")
    return [f"{key}={value}" if value else key for key, value in tags.items()]


def _filters(filter_name: str, given: Iterable[Any] | None) -> tuple[str, ...]:
    """Return a filter's texts, none where it is not given."""
    if given is None:
        return ()
    texts = (given,) if isinstance(given, str) else tuple(given)
    return tuple(_filter(filter_name, text) for text in texts or ("",))


def _filter(filter_name: str, text: Any) -> str:
    """Return one text of a filter; an empty one, perhaps a mistake, must not select the whole project.

    Raises:
        SelectionError: it is empty, or is no text.
    """
    if not isinstance(text, str) or not text.strip() or text.startswith("="):
        raise SelectionError(f"{filter_name} = {in_short(text)}: give a text; an empty one is never taken to mean all.")
    return text


def _updated(view: ServerView) -> float:
    if (at := view.updated_at) is None:
        raise SelectionError(
            f"The cloud does not say when {view.id} changed last, so that nobody can tell whether it is to be left "
            "alone for that: exclude it, or do not ask for it."
        ).about("skip_updated_since", "exclude")
    return at
