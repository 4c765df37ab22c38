"""Batch actions: ``POST /v1/{project}/cloudservers/action``, and how each server's action ends.

The reference does not say what one bad id does; `CloudConfig.bad_ids` chooses. Where a request names a server twice,
it is restarted once and each mention gets a sub-job of that restart.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import orjson

from ecsbatch.simulator.auditor import Auditor
from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.fleet import Action, Ending, SimulatedFleet
from ecsbatch.simulator.jobs import Jobs, SimulatedJob, SimulatedSubJob
from ecsbatch.simulator.replies import Rejected, Reply, ecs_error, json_reply

ID_LENGTH: Final = 36
EARLIEST_FAILURE: Final = 0.2
"""The share of its drawn time after which a failing restart fails at the earliest."""


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """What a request's body asks for."""

    action: Action
    server_ids: tuple[str, ...]


@dataclass(slots=True)
class Rates:
    """The rates of `CloudConfig` that may change while the cloud runs, and the servers whose next ending is decided."""

    fail_rate: float
    fail_to_error: float
    stuck_rate: float
    unhealthy_rate: float
    fail_zones: dict[str, float]
    stuck_zones: dict[str, float]
    unhealthy_zones: dict[str, float]
    fail_hosts: dict[str, float]
    unhealthy_hosts: dict[str, float]
    doomed: dict[int, Ending] = field(default_factory=dict[int, Ending])

    @classmethod
    def of(cls, config: CloudConfig) -> Rates:
        """Return a copy of the configuration's rates."""
        return cls(
            config.fail_rate,
            config.fail_to_error,
            config.stuck_rate,
            config.unhealthy_rate,
            dict(config.fail_zones),
            dict(config.stuck_zones),
            dict(config.unhealthy_zones),
            dict(config.fail_hosts),
            dict(config.unhealthy_hosts),
        )


def read_action(body: bytes, max_batch: int) -> ActionRequest:
    """Return what a body such as ``{"reboot": {"type": "SOFT", "servers": [{"id": ...}]}}`` asks for.

    Raises:
        Rejected: the body is invalid.
    """
    if not body:
        raise Rejected(ecs_error(400, "Common.0002", "The request body is empty."))
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid("the body is not valid JSON") from error
    if not isinstance(document, dict) or len(cast("dict[str, Any]", document)) != 1:
        raise _invalid("the body must hold exactly one action")
    [(verb, content)] = cast("dict[str, Any]", document).items()
    if not isinstance(content, dict):
        raise _invalid(f"{verb} must be an object")
    options = cast("dict[str, Any]", content)
    action = _action(verb, options.get("type"))
    servers = cast("list[Any]", options.get("servers"))
    if not isinstance(servers, list) or not servers:  # pyright: ignore[reportUnnecessaryIsInstance]  # foreign JSON
        raise _invalid("servers must be a list of at least one server")
    if len(servers) > max_batch:
        raise Rejected(ecs_error(400, "Ecs.0118", "The number of ECSs exceeds the maximum allowed limit."))
    return ActionRequest(action, tuple(_server_id(server) for server in servers))


def _action(verb: str, kind: Any) -> Action:
    if verb == "reboot":
        if kind not in {"SOFT", "HARD"}:
            raise _invalid("type is mandatory and must be SOFT or HARD")
        return "SOFT" if kind == "SOFT" else "HARD"
    if verb == "os-start":
        return "start"
    if verb == "os-stop" and kind in {None, "SOFT", "HARD"}:
        return "stop"
    raise _invalid(f"unknown action or type: {verb}, {kind}")


def _server_id(server: Any) -> str:
    server_id = cast("dict[str, Any]", server).get("id") if isinstance(server, dict) else None
    if not isinstance(server_id, str) or len(server_id) != ID_LENGTH or not server_id.replace("-", "").isalnum():
        raise _invalid("each server must have an id of 36 characters")
    return server_id


def _invalid(reason: str) -> Rejected:
    return Rejected(ecs_error(400, "Ecs.0005", f"Invalid parameters: {reason}."))


class Actions:
    """Carries out actions on servers."""

    def __init__(self, config: CloudConfig, fleet: SimulatedFleet, jobs: Jobs, auditor: Auditor) -> None:
        self.rates = Rates.of(config)
        self._config = config
        self._fleet = fleet
        self._jobs = jobs
        self._auditor = auditor
        self._random = random.Random(f"restarts-{config.seed}")

    def carry_out(self, request: ActionRequest, at: float) -> Reply:
        """Begin a job; return the reply that the client gets if no fault spoils it.

        Raises:
            Rejected: the whole request is refused.
        """
        objections = [self._objection(server_id, request.action, at) for server_id in request.server_ids]
        if self._config.bad_ids == "request":
            for objection in objections:
                if objection is not None:
                    raise Rejected(objection)
        job_id = f"ff8080828{self._random.getrandbits(92):023x}"
        sub_jobs = self._begin_all(request, objections, at)
        first = f"ff808082{self._random.getrandbits(64):016x}"
        self._jobs.add(SimulatedJob(job_id, first, at, sub_jobs, self._config.parent_lag))
        return json_reply(self._config.accepted_status, {"job_id": job_id})

    def _begin_all(
        self, request: ActionRequest, objections: Sequence[Reply | None], at: float
    ) -> list[SimulatedSubJob]:
        begins = at + self._config.init_time
        begun: dict[str, SimulatedSubJob] = {}
        sub_jobs: list[SimulatedSubJob] = []
        for server_id, objection in zip(request.server_ids, objections, strict=True):
            if objection is not None:
                error = orjson.loads(objection.body)["error"]
                sub_jobs.append(SimulatedSubJob(server_id, begins, error["code"], error["message"]))
                continue
            if server_id not in begun:
                begun[server_id] = self._begin(server_id, request.action, at, begins)
            sub_jobs.append(begun[server_id])
        return sub_jobs

    def _begin(self, server_id: str, action: Action, at: float, begins: float) -> SimulatedSubJob:
        number = self._fleet.numbers[server_id]
        ending = self._ending(number)
        ends = begins + self._duration(action, ending)
        self._fleet.begin(number, action, ending, begins, ends)
        if action in {"SOFT", "HARD"}:
            recovers = ending in {"ok", "fail"}
            self._auditor.restarted(number, at, ends + self._config.boot_time if recovers else math.inf)
        if ending in {"fail", "error"}:
            code, verb = ("Ecs.0226", "start") if action == "start" else ("Ecs.0227", "reboot")
            return SimulatedSubJob(server_id, ends, code, f"Failed to {verb} the ECS.")
        return SimulatedSubJob(server_id, ends)

    def _objection(self, server_id: str, action: Action, at: float) -> Reply | None:
        """Return the reply that refuses a request because of this server, None where the cloud accepts it."""
        fleet = self._fleet
        number = fleet.numbers.get(server_id)
        if number is None or not fleet.exists(number):
            return ecs_error(404, "Ecs.0114", f"Instance[{server_id}] could not be found.")
        if fleet.locked[number]:
            return ecs_error(400, "Ecs.0605", f"Instance[{server_id}] is locked.")
        status = fleet.status(number, at)
        busy = fleet.busy(number, at) and not self._overrides(number, action)
        if busy or status != ("SHUTOFF" if action == "start" else "ACTIVE"):
            return ecs_error(400, "Ecs.0100", f"The status of instance[{server_id}] does not meet the requirements.")
        return None

    def _overrides(self, number: int, action: Action) -> bool:
        return self._config.hard_overrides_soft and action == "HARD" and self._fleet.action(number) == "SOFT"

    def _ending(self, number: int) -> Ending:
        rates, draw = self.rates, self._random.random
        doom = rates.doomed.pop(number, None)
        if doom is not None:
            return doom
        zone, host = self._fleet.zone(number), self._fleet.host(number)
        if draw() < rates.fail_hosts.get(host, rates.fail_zones.get(zone, rates.fail_rate)):
            return "error" if draw() < rates.fail_to_error else "fail"
        if draw() < rates.stuck_zones.get(zone, rates.stuck_rate):
            return "stuck"
        if draw() < rates.unhealthy_hosts.get(host, rates.unhealthy_zones.get(zone, rates.unhealthy_rate)):
            return "unhealthy"
        return "ok"

    def _duration(self, action: Action, ending: Ending) -> float:
        if ending == "stuck":
            return math.inf
        median = self._config.restart_median if action in {"SOFT", "HARD"} else self._config.power_median
        drawn = median * math.exp(self._random.gauss(0.0, self._config.restart_sigma))
        return drawn * self._random.uniform(EARLIEST_FAILURE, 1.0) if ending in {"fail", "error"} else drawn
