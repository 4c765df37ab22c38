"""Servers, sites, and what the cloud says of servers and jobs: frozen values, in the words of the README's glossary.

Read `Server`, `ServerView` and `Fleet` first: what a run is to restart, what a look showed of it, and a million of it.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import field
from datetime import datetime
from itertools import chain, islice, repeat
from typing import Final, Literal, NamedTuple

from ecsbatch.errors import Invalid, Refused
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.arguments import refuses_unknown
from ecsbatch.model.id_index import IdIndex
from ecsbatch.model.in_parts import Sharing, counted, in_order, kept

RestartType = Literal["SOFT", "HARD"]

RestartWord = Literal["SOFT", "HARD", "soft", "hard"]
"""How a restart's type may be given; it is kept in capitals, as the API has it."""

MAX_BATCH: Final = 1000
"""Servers that one request may name (API reference, BatchRebootServers)."""

MAX_LOOK: Final = 100
"""Servers that one ``server_id=`` query may name (API reference, ListServersDetails: at most 100 advised)."""


_HASHED_AT_ONCE: Final = 500
"""Servers whose lines are hashed together; a line by itself costs more to hand over than to hash."""


def restart_type(word: object) -> RestartType:
    """Return a restart's type in capitals.

    Raises:
        Invalid: there is no such type.
    """
    match word.upper() if isinstance(word, str) else word:
        case "SOFT":
            return "SOFT"
        case "HARD":
            return "HARD"
        case _:
            given = word if isinstance(word, str) else None
            raise Invalid(
                f'type = {word!r}: give "soft" or "hard".', field="type", value=given, expected='"soft" or "hard"'
            )


@refuses_unknown()
@dataclass(frozen=True, slots=True)
class Server:
    """One ECS that is to be restarted; `EcsClient.select` yields them. Where only the id is known, a text will do.

        Server("6d87ff69-d8fa-4e28-847a-6decb4973294", domain="az1", name="web-08142")

    Attributes:
        id: its UUID.
        domain: what fails together with it, the availability zone unless another key was chosen; "" where not known.
        name: as the cloud or the fleet file names it; for people only.
        site: the key of its site in a `Restarter` of several sites; "" where there is only one.
        address: its first private address, for health checks; "" where not known.

    Raises:
        Invalid: there is no such argument.
    """

    id: str
    domain: str = ""
    name: str = ""
    site: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """One project in one region.

    Attributes:
        endpoint: ``https://ecs.{region}.myhuaweicloud.com`` or another, without a trailing slash.
        project_id: the project in whose path all requests go.
        region: its region's name; "" where only the endpoint was given.
    """

    endpoint: str
    project_id: str
    region: str = ""

    @property
    def quota_group(self) -> str:
        """The key under which all processes share this site's quota: the project, whatever its endpoint is called."""
        return self.project_id


class ServerView(NamedTuple):
    """What one look showed of a server (API reference, ListServersDetails and ShowServer).

    A tuple, for there is one for each server in each look: a frozen dataclass takes four times as long to make.

    Attributes:
        id: its UUID.
        found: False where the cloud does not know the id; all else is empty then.
        status: ``ACTIVE``, ``SHUTOFF``, ``REBOOT``, ...
        task_state: ``OS-EXT-STS:task_state``, "" where the server is in no transition.
        updated: the cloud's time of the last change, as it wrote it (RFC 3339).
        locked: True where a lock forbids restarts.
        az, name, host_id, enterprise_project_id: as the cloud has them, "" where it gave none.
        tags: ``key=value`` or ``key``, as the cloud writes them.
        address: the first private (fixed) address, IPv4 before IPv6.
    """

    id: str
    found: bool = True
    status: str = ""
    task_state: str = ""
    updated: str = ""
    locked: bool = False
    az: str = ""
    name: str = ""
    host_id: str = ""
    enterprise_project_id: str = ""
    tags: tuple[str, ...] = ()
    address: str = ""

    @property
    def updated_at(self) -> float | None:
        """``updated`` in seconds since 1970; None where it cannot be read."""
        try:
            then = datetime.fromisoformat(self.updated)
        except ValueError:
            return None
        return then.timestamp() if then.tzinfo is not None else None


@dataclass(frozen=True, slots=True)
class Look:
    """One query of up to `MAX_LOOK` servers' states.

    Attributes:
        servers: a view of every server that the answer showed, by id; one that is left out may exist all the same.
        cloud_time: the answer's ``Date``, seconds since 1970, or None where it had none.
        asked_at: when it was asked, in seconds of the event loop's clock. What it shows need not have been so for
            longer than since then.
        observed_at: the same instant in seconds of the site's observed time, which stands still while nothing is seen.
        refused: servers of which the cloud refuses to show anything, with its error.
        unseen: servers that cannot be shown although others can, with how often in a row they could not.
        unasked: rows of servers that were not asked for: this cloud ignores the filter by id.
    """

    servers: Mapping[str, ServerView]
    cloud_time: float | None = None
    asked_at: float = 0.0
    observed_at: float = 0.0
    refused: Mapping[str, Refused] = field(default_factory=dict[str, Refused])
    unseen: Mapping[str, int] = field(default_factory=dict[str, int])
    unasked: int = 0


class SubJob(NamedTuple):
    """The part of a job that is about one server, once it has ended; a tuple, as `ServerView` is.

    Attributes:
        server_id: the server's UUID.
        succeeded: True for SUCCESS, False for FAIL.
        code, message: why it failed, "" where it did not say.
        seconds: how long it took by the cloud's own times, None where they cannot be read.
        ended_at: when it ended by the cloud's clock, seconds since 1970; None where that cannot be read.
    """

    server_id: str
    succeeded: bool
    code: str = ""
    message: str = ""
    seconds: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What one look showed of a job (API reference, ShowJob).

    Attributes:
        id: as the submit was answered with it.
        status: of the job itself: ``INIT``, ``RUNNING``, ``SUCCESS``, ``FAIL`` or a word that we do not know yet.
        ended: the ended sub-jobs of the servers that were asked about.
        running: the servers that it shows under way, where that was asked for.
        code, message: the job's own, "" where it gave none.
    """

    id: str
    status: str
    ended: Sequence[SubJob] = ()
    code: str = ""
    message: str = ""
    running: frozenset[str] = frozenset()

    @property
    def over(self) -> bool:
        """True where the job itself has ended, whatever its sub-jobs say."""
        return self.status in {"SUCCESS", "FAIL"}


class Fleet(Sequence[Server]):
    """A frozen, ordered list of servers, held in columns: a million fit into memory.

    The order is the order of the rollout. It is a sequence: ``fleet[0]`` and ``for server in fleet`` give a `Server`
    each.

    Attributes:
        ids: the servers' ids.
        domains, names, sites: the same of each; None where no server has one.
        hosts: the physical host of each, as the cloud named it when the plan was made; None where no host is known.
        tags: of each tag that is worth grouping by, its value for each server, "" where a server has no such tag.
            Hosts and tags are for people only: neither a plan's hash nor its order knows of them.
    """

    __slots__ = ("_index", "_targets", "domains", "hosts", "ids", "names", "sites", "tags")

    def __init__(
        self,
        ids: Sequence[str],
        domains: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        sites: Sequence[str] | None = None,
        hosts: Sequence[str] | None = None,
        tags: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Take one entry per server in each column; a column that is left out is empty for all.

        A tuple stays what it is, whatever else is made one of, with one text of equal ones.

        Raises:
            ValueError: an id is listed twice.
        """
        self.ids = ids if isinstance(ids, tuple) else kept(ids)
        self.domains: tuple[str, ...] | None = _column(domains)
        self.names: tuple[str, ...] | None = _column(names)
        self.sites: tuple[str, ...] | None = _column(sites)
        self.hosts: tuple[str, ...] | None = _column(hosts)
        self.tags: Mapping[str, tuple[str, ...]] = _columns(tags or {})
        self._index = IdIndex(self.ids)
        self._targets = ""

    @classmethod
    def of(cls, servers: Sequence[Server]) -> Fleet:
        """Build the columns from servers."""
        return cls(
            [s.id for s in servers], [s.domain for s in servers], [s.name for s in servers], [s.site for s in servers]
        )

    def described(
        self, domains: Sequence[str], names: Sequence[str], hosts: Sequence[str], tags: Mapping[str, Sequence[str]]
    ) -> Fleet:
        """Return the same servers with these columns; a million ids are neither copied nor indexed again for that."""
        fleet = self.grouped(hosts, tags)
        fleet.domains, fleet.names = _column(domains), _column(names)
        return fleet

    def grouped(self, hosts: Sequence[str], tags: Mapping[str, Sequence[str]]) -> Fleet:
        """Return the same servers with these hosts and tags alone."""
        fleet = copy(self)
        fleet.hosts, fleet.tags = _column(hosts), _columns(tags)
        return fleet

    def arranged(self, order: Sequence[int]) -> Fleet:
        """Return the same servers in another order, that of all their indexes."""

        def column(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if values is None else kept(values[i] for i in order)

        ids = kept(self.ids[i] for i in order)
        tags = {key: kept(values[i] for i in order) for key, values in self.tags.items()}
        return Fleet(ids, column(self.domains), column(self.names), column(self.sites), column(self.hosts), tags)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Server:  # type: ignore[override]  # slices would hide the cost of copying
        return Server(self.ids[i], self.domain(i), self.name(i), self.site(i))

    def __iter__(self) -> Iterator[Server]:
        return (self[i] for i in range(len(self.ids)))

    def domain(self, i: int) -> str:
        """Return the domain of the server with index ``i``."""
        return self.domains[i] if self.domains else ""

    def name(self, i: int) -> str:
        """Return the name of the server with index ``i``, "" where it has none."""
        return self.names[i] if self.names else ""

    def name_of(self, server_id: str) -> str:
        """Return the name of a server, "" where it has none or is not in this fleet."""
        index = self._index.get(server_id)
        return "" if index is None else self.name(index)

    def label(self, i: int) -> str:
        """Return what a sentence calls the server with index ``i``: its name with its id, or its id alone."""
        return labelled(self.ids[i], self.name(i))

    def site(self, i: int) -> str:
        """Return the site's key of the server with index ``i``."""
        return self.sites[i] if self.sites else ""

    def host(self, i: int) -> str:
        """Return the host of the server with index ``i``, "" where it is not known."""
        return self.hosts[i] if self.hosts else ""

    def find(self, server_id: str) -> int:
        """Return the index of a server.

        Raises:
            KeyError: it is not in this fleet.
        """
        index = self._index.get(server_id)
        if index is None:
            raise KeyError(server_id)
        return index

    def key_order(self) -> Callable[[], Iterator[tuple[str, str]]]:
        """Sort the servers by ``(site, id)`` once; each call of what is returned goes through them from the first."""
        ids, sites = self.ids, self.sites
        if sites is None:
            ordered = in_order(ids, range(len(ids)))
            return lambda: (("", ids[i]) for i in ordered)
        by_site = {site: array("i") for site in sorted(counted(sites))}
        for i, site in enumerate(sites):
            by_site[site].append(i)
        places = [in_order(ids, of_site) for of_site in by_site.values()]
        return lambda: ((sites[i], ids[i]) for i in chain.from_iterable(places))

    def targets_hash(self) -> str:
        """Return the SHA-256 of the servers in whatever order, in 64 hex digits; it is found once."""
        self._targets = self._targets or targets_hash(self.key_order()())
        return self._targets

    def order_hash(self, before: bytes) -> str:
        """Return the SHA-256 of ``before`` and of the servers in their order, in 64 hex digits."""
        digest = hashlib.sha256(before)
        columns = zip(self.sites or repeat(""), self.ids, self.domains or repeat(""), strict=False)
        lines = (f"\n{site}\t{server_id}\t{domain}" for site, server_id, domain in columns)
        while part := "".join(islice(lines, _HASHED_AT_ONCE)):
            digest.update(part.encode())
        return digest.hexdigest()

    def index_of(self, server_id: str) -> int | None:
        """Return the index of a server, None where it is not in this fleet."""
        return self._index.get(server_id)


def labelled(server_id: str, name: str) -> str:
    """Return what a sentence calls a server: its name with its id, or its id alone where it has no name."""
    return f"{name} ({server_id})" if name and name != server_id else server_id


def targets_hash(keys: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 of servers, in 64 hex digits, from their sorted ``(site, id)``."""
    digest = hashlib.sha256()
    lines = (f"{site}\t{server_id}\n" for site, server_id in keys)
    while part := "".join(islice(lines, _HASHED_AT_ONCE)):
        digest.update(part.encode())
    return digest.hexdigest()


def _column(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return a column with equal strings shared, None where it is empty throughout."""
    if values is None or not any(values):
        return None
    return values if isinstance(values, tuple) else kept(Sharing[str]().of(values))


def _columns(named: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return those of the columns that are not empty throughout."""
    columns = {key: _column(values) for key, values in named.items()}
    return {key: column for key, column in columns.items() if column is not None}
