"""Pages of servers: ``GET /v1/{project}/cloudservers/detail`` and the single server."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, Final

from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.fleet import SimulatedFleet
from ecsbatch.simulator.replies import Rejected, ecs_error, microseconds, whole_seconds

DEFAULT_LIMIT: Final = 25
MAX_LIMIT: Final = 1000
MAX_SERVER_IDS: Final = 100
COUNT_AGE: Final = 5.0
"""Seconds for which the cloud keeps what a filter by status has found: readers must check the rows themselves."""

ALSO_RETURNED: Final[Mapping[str, frozenset[str]]] = {
    "ACTIVE": frozenset({"ACTIVE", "REBOOT", "HARD_REBOOT", "REBUILD", "MIGRATING", "RESIZE"}),
    "SHUTOFF": frozenset({"SHUTOFF", "RESIZE", "REBUILD"}),
    "ERROR": frozenset({"ERROR", "REBUILD"}),
}
"""The statuses that a filter by one status returns (the reference's list)."""

FLAVOR: Final = "s6.large.2"
FILTERS: Final = (
    "name",
    "status",
    "tags",
    "not-tags",
    "enterprise_project_id",
    "flavor",
    "ip",
    "ip_eq",
    "reservation_id",
)

NULL_ROW: Final[Mapping[str, None]] = dict.fromkeys(
    (
        "name",
        "status",
        "updated",
        "created",
        "hostId",
        "locked",
        "tags",
        "metadata",
        "enterprise_project_id",
        "tenant_id",
        "flavor",
        "image",
        "addresses",
        "host_status",
        "OS-EXT-AZ:availability_zone",
        "OS-EXT-STS:vm_state",
        "OS-EXT-STS:task_state",
        "OS-EXT-STS:power_state",
        "OS-SRV-USG:launched_at",
        "OS-SRV-USG:terminated_at",
    ),
)
"""The row of an unknown id in ``server_id=``: nothing but the id and the fault."""


class Listing:
    """Writes servers as JSON values; `stamp` turns the cloud's seconds into its wall time."""

    def __init__(self, config: CloudConfig, fleet: SimulatedFleet, stamp: Callable[[float], float]) -> None:
        self._config = config
        self._fleet = fleet
        self._stamp = stamp
        self._matches: dict[tuple[str, ...], tuple[tuple[int, float], list[int]]] = {}

    def page(self, query: Mapping[str, str], at: float) -> dict[str, Any]:
        """Return ``{"count", "servers"}``; `count` is the number of all servers that match, on any page."""
        if query.get("server_id"):
            rows = [self._row_of_id(server_id, at) for server_id in self._wanted(query["server_id"])]
            return {"count": sum(row["name"] is not None for row in rows), "servers": rows}
        limit = _number(query, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        matches = self._matching(query, at)
        first = self._first(query, matches, limit)
        return {"count": len(matches), "servers": [self.row(number, at) for number in matches[first : first + limit]]}

    def single(self, server_id: str, at: float) -> dict[str, Any]:
        """Return ``{"server": ...}``."""
        number = self._fleet.numbers.get(server_id)
        if number is None or not self._fleet.exists(number):
            raise Rejected(ecs_error(404, "Ecs.0114", f"Instance[{server_id}] could not be found."))
        return {"server": self.row(number, at)}

    def row(self, number: int, at: float) -> dict[str, Any]:
        """Return one server as a look at the instant `at` shows it."""
        fleet, config = self._fleet, self._config
        state = fleet.state(number, at)
        created = whole_seconds(self._stamp(fleet.created(number)))
        return {
            "id": fleet.ids[number],
            "name": fleet.name(number),
            "status": state.status,
            "updated": whole_seconds(self._stamp(state.updated)),
            "created": created,
            "hostId": fleet.host(number),
            "locked": bool(fleet.locked[number]),
            "fault": self._fault(state.status, created),
            "tags": fleet.tags_of(number),
            "sys_tags": [],
            "metadata": {"charging_mode": "0", "metering.image_id": "image-of-the-simulation"},
            "enterprise_project_id": config.enterprise_project_id,
            "tenant_id": config.project_id,
            "flavor": {"id": FLAVOR, "name": FLAVOR, "vcpus": "2", "ram": "4096", "disk": "0"},
            "image": {"id": "image-of-the-simulation"},
            "addresses": {"vpc-simulated": [_address(number)]},
            "host_status": "UP",
            "OS-EXT-AZ:availability_zone": fleet.zone(number),
            "OS-EXT-STS:vm_state": state.vm_state or None,
            "OS-EXT-STS:task_state": state.task_state,
            "OS-EXT-STS:power_state": state.power_state,
            "OS-SRV-USG:launched_at": microseconds(self._stamp(fleet.launched(number, at)))[:-1],
            "OS-SRV-USG:terminated_at": None,
            "OS-EXT-SRV-ATTR:user_data": config.user_data,
            "OS-EXT-SRV-ATTR:hostname": fleet.name(number),
        }

    @staticmethod
    def _fault(status: str, created: str) -> dict[str, Any] | None:
        if status != "ERROR":
            return None
        return {"code": 500, "created": created, "message": "NoValidHost", "details": "simulated"}

    @staticmethod
    def _wanted(server_id: str) -> list[str]:
        wanted = [one.strip() for one in server_id.split(",") if one.strip()]
        if len(wanted) > MAX_SERVER_IDS:
            raise Rejected(ecs_error(400, "Ecs.0005", f"server_id takes at most {MAX_SERVER_IDS} ids."))
        return wanted

    def _row_of_id(self, server_id: str, at: float) -> dict[str, Any]:
        number = self._fleet.numbers.get(server_id)
        if number is not None and self._fleet.exists(number):
            return self.row(number, at)
        message = f"Instance {server_id} could not be found."
        return {**NULL_ROW, "id": server_id, "fault": {"code": 404, "message": message}}

    def _first(self, query: Mapping[str, str], matches: list[int], limit: int) -> int:
        """Return the index at which the page begins: after the marker, or by `offset`, which is a page number."""
        marker = query.get("marker")
        if not marker:
            return (max(1, _number(query, "offset", 1, 0, 10**9)) - 1) * limit
        number = self._fleet.numbers.get(marker)
        if number is None:
            raise Rejected(ecs_error(400, "Ecs.0005", f"marker [{marker}] not found."))
        return bisect_right(matches, number)

    def _matching(self, query: Mapping[str, str], at: float) -> list[int]:
        key = tuple(query.get(name, "") for name in FILTERS)
        age = (self._fleet.version, at // COUNT_AGE if query.get("status") else 0.0)
        kept = self._matches.get(key)
        if kept is None or kept[0] != age:
            kept = self._matches[key] = (age, self._scan(query, at))
        return kept[1]

    def _scan(self, query: Mapping[str, str], at: float) -> list[int]:
        fleet = self._fleet
        found = [number for number in range(len(fleet)) if fleet.exists(number)]
        for keeps in self._conditions(query, at):
            found = [number for number in found if keeps(number)]
        return found

    def _conditions(self, query: Mapping[str, str], at: float) -> list[Callable[[int], bool]]:
        """Return one test for each filter given."""
        fleet = self._fleet
        conditions: list[Callable[[int], bool]] = []
        if name := query.get("name"):
            # Fuzzy: a part of the name, in which a dot stands for any character.
            pattern = re.compile(".".join(map(re.escape, name.split("."))))
            conditions.append(lambda number: pattern.search(fleet.name(number)) is not None)
        if tags := query.get("tags"):
            conditions.append(lambda number: all(_has_tag(fleet.tags_of(number), tag) for tag in tags.split(",")))
        if not_tags := query.get("not-tags"):
            conditions.append(lambda number: not _has_tag(fleet.tags_of(number), not_tags))
        if ip := query.get("ip"):
            conditions.append(lambda number: ip in _ip(number))
        if ip_eq := query.get("ip_eq"):
            conditions.append(lambda number: ip_eq == _ip(number))
        if not self._alike(query):
            conditions.append(lambda _number: False)
        if status := query.get("status"):
            shown = ALSO_RETURNED.get(status, frozenset({status}))
            conditions.append(lambda number: fleet.state(number, at).status in shown)
        return conditions

    def _alike(self, query: Mapping[str, str]) -> bool:
        """Return True where the filters on what all servers have in common match."""
        projects = {"", "all_granted_eps", self._config.enterprise_project_id}
        wanted_flavor, reservation = query.get("flavor", ""), query.get("reservation_id", "")
        return query.get("enterprise_project_id", "") in projects and wanted_flavor in {"", FLAVOR} and not reservation


def _has_tag(tags: tuple[str, ...], wanted: str) -> bool:
    """Return True where a server has a tag; `wanted` is ``key=value`` or a bare key."""
    return wanted in tags if "=" in wanted else any(tag.partition("=")[0] == wanted for tag in tags)


def _ip(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _address(number: int) -> dict[str, Any]:
    return {"addr": _ip(number), "version": "4", "OS-EXT-IPS:type": "fixed"}


def _number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or not least <= int(text) <= most:
        raise Rejected(ecs_error(400, "Ecs.0005", f"{name} must be a number from {least} to {most}."))
    return int(text)
