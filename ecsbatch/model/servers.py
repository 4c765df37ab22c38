"""The nouns: frozen values without I/O. Words are those of the README's glossary."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from ecsbatch.errors import ConfigError, Refused

RestartType = Literal["SOFT", "HARD"]

RestartWord = Literal["SOFT", "HARD", "soft", "hard"]
"""How a restart's type may be written; inside it stands in capitals, as the API has it."""

MAX_BATCH: Final = 1000
"""Servers that one request may name (API reference, BatchRebootServers)."""

MAX_LOOK: Final = 100
"""Servers that one ``server_id=`` query may name (API reference, ListServersDetails: at most 100 advised)."""


def restart_type(word: object) -> RestartType:
    """Read a restart's type.

    Raises:
        ConfigError: there is no such type.
    """
    match word.upper() if isinstance(word, str) else word:
        case "SOFT":
            return "SOFT"
        case "HARD":
            return "HARD"
        case _:
            raise ConfigError(f'type = {word!r}: give "soft" or "hard".')


@dataclass(frozen=True, slots=True)
class Server:
    """One ECS, as a target.

    Attributes:
        id: its UUID.
        domain: its unit of failure, the availability zone unless another key was chosen; "" where not known.
        name: as the cloud or the fleet file names it; for people only.
        site: the key of its site in a `Restarter` of several sites; "" is the only one.
        address: its first private address, for health checks; "" where not known.
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
        region: for people; "" where only the endpoint was given.
    """

    endpoint: str
    project_id: str
    region: str = ""

    @property
    def quota_group(self) -> str:
        """The key under which all processes share this site's quota: a project has one, by whatever name it is met."""
        return self.project_id


@dataclass(frozen=True, slots=True)
class ServerView:
    """What one look showed of a server.

    Attributes:
        id: its UUID.
        found: False where the cloud does not know the id; all else is empty then.
        status: ``ACTIVE``, ``SHUTOFF``, ``REBOOT``, ...
        task_state: ``OS-EXT-STS:task_state``, "" where the server is in no transition.
        updated: the cloud's time of the last change, as it wrote it (RFC 3339).
        locked: a lock refuses restarts.
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
        """``updated`` in seconds since 1970; None where it is no time."""
        try:
            then = datetime.fromisoformat(self.updated)
        except ValueError:
            return None
        return then.timestamp() if then.tzinfo is not None else None


@dataclass(frozen=True, slots=True)
class Look:
    """One query of up to `MAX_LOOK` servers' states.

    Attributes:
        servers: a view for every id asked for that the answer told of; one that is left out may exist all the same.
        cloud_time: the answer's ``Date``, seconds since 1970, or None where it had none.
        asked_at: loop time at which it was asked, and the sighted clock then: what a look shows was so no later than
            it is heard, and perhaps no longer than it was asked.
        sighted_at: the same instant on the site's sighted clock.
        refused: servers about which the cloud refuses to say anything, with its words.
        unseen: servers that cannot be shown although others can, with how often in a row they could not.
        unasked: rows of servers that nobody had asked for: the cloud does not heed the filter by id.
    """

    servers: Mapping[str, ServerView]
    cloud_time: float | None = None
    asked_at: float = 0.0
    observed_at: float = 0.0
    refused: Mapping[str, Refused] = field(default_factory=dict[str, Refused])
    unseen: Mapping[str, int] = field(default_factory=dict[str, int])
    unasked: int = 0


@dataclass(frozen=True, slots=True)
class SubJob:
    """The ended part of a job that is about one server.

    Attributes:
        server_id: its UUID.
        succeeded: True for SUCCESS, False for FAIL.
        code, message: why it failed, "" where it did not say.
        seconds: from its begin to its end by the cloud's own times, or None.
    """

    server_id: str
    succeeded: bool
    code: str = ""
    message: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One look at a job.

    Attributes:
        id: as the submit answered it.
        status: of the parent: ``INIT``, ``RUNNING``, ``SUCCESS``, ``FAIL`` or a word we do not know yet.
        ended: the ended sub-jobs among the servers asked about.
        running: the servers that it shows under way, where that was asked for.
        code, message: the parent's own, "" where it gave none.
    """

    id: str
    status: str
    ended: Sequence[SubJob] = ()
    code: str = ""
    message: str = ""
    running: frozenset[str] = frozenset()

    @property
    def over(self) -> bool:
        """True where the parent has ended, whatever its sub-jobs say."""
        return self.status in {"SUCCESS", "FAIL"}


class Fleet(Sequence[Server]):
    """A frozen, ordered list of servers, held in columns: a million fit into memory.

    The order is the order of the rollout.
    """

    __slots__ = ("_index", "domains", "ids", "names", "sites")

    def __init__(
        self,
        ids: Sequence[str],
        domains: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        sites: Sequence[str] | None = None,
    ) -> None:
        """Hold one entry per server in each column; a column left out is empty for all."""
        self.ids = tuple(ids)
        self.domains: tuple[str, ...] | None = _column(domains)
        self.names: tuple[str, ...] | None = _column(names)
        self.sites: tuple[str, ...] | None = _column(sites)
        self._index = {id_: i for i, id_ in enumerate(self.ids)}
        if len(self._index) != len(self.ids):
            raise ValueError("A fleet names each server once.")

    @classmethod
    def of(cls, servers: Sequence[Server]) -> Fleet:
        """Build the columns from servers."""
        return cls(
            [s.id for s in servers], [s.domain for s in servers], [s.name for s in servers], [s.site for s in servers]
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Server:  # type: ignore[override]  # slices would hide the cost of copying
        return Server(self.ids[i], self.domain(i), self.names[i] if self.names else "", self.site(i))

    def __iter__(self) -> Iterator[Server]:
        return (self[i] for i in range(len(self.ids)))

    def domain(self, i: int) -> str:
        """Return the domain of the i-th server."""
        return self.domains[i] if self.domains else ""

    def site(self, i: int) -> str:
        """Return the site's key of the i-th server."""
        return self.sites[i] if self.sites else ""

    def find(self, server_id: str) -> int:
        """Return the place of a server; KeyError where it is not of this fleet."""
        return self._index[server_id]

    def key_order(self) -> Callable[[], Iterator[tuple[str, str]]]:
        """Sort the servers by ``(site, id)`` once; every call of the result goes through them."""
        if self.sites is None:
            ids = sorted(self.ids)
            return lambda: (("", server_id) for server_id in ids)
        keys = sorted(zip(self.sites, self.ids, strict=True))
        return lambda: iter(keys)

    def targets_hash(self) -> str:
        """Name the set of servers, in whatever order: 64 hex digits of SHA-256."""
        return targets_hash(self.key_order()())

    def place(self, server_id: str) -> int | None:
        """Return the place of a server, None where it is not of this fleet."""
        return self._index.get(server_id)


def targets_hash(keys: Iterable[tuple[str, str]]) -> str:
    """Name a set of servers by their sorted ``(site, id)``."""
    digest = hashlib.sha256()
    for site, server_id in keys:
        digest.update(f"{site}\t{server_id}\n".encode())
    return digest.hexdigest()


def _column(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """Drop a column that is empty throughout; share equal strings."""
    if values is None or not any(values):
        return None
    seen: dict[str, str] = {}
    return tuple(seen.setdefault(v, v) for v in values)
