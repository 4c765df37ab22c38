"""The API behind the gateway: it routes requests by their paths, counts them, and carries them out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl, unquote

from ecsbatch.simulator.actions import ActionRequest, Actions, read_action
from ecsbatch.simulator.auditor import Auditor
from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.fleet import SimulatedFleet
from ecsbatch.simulator.gateway import Authenticator, QuotaWindow, ReceivedRequest
from ecsbatch.simulator.iam import Iam
from ecsbatch.simulator.jobs import Jobs
from ecsbatch.simulator.listing import Listing
from ecsbatch.simulator.replies import Rejected, Reply, ecs_error, gateway_error, json_reply, throttled

PROJECT_PATH_PARTS: Final = 2


class Service:
    """Answers requests at an instant.

    Args:
        config: what the cloud is like.
        fleet: its servers.
        auditor: collects what was counted, accepted, refused and looked at.
        start: the instant at which the cloud begins.
        stamp: turns an instant into the cloud's wall time.
        signing_wall: the wall clock that signatures are checked against.
        part: draws how many of a number of servers a partial execution restarts.
    """

    def __init__(  # keyword-only, and each is explained above
        self,
        config: CloudConfig,
        fleet: SimulatedFleet,
        auditor: Auditor,
        *,
        start: float,
        stamp: Callable[[float], float],
        signing_wall: Callable[[], float],
        part: Callable[[int], int],
    ) -> None:
        self.jobs = Jobs(config, stamp)
        self.actions = Actions(config, fleet, self.jobs, auditor)
        self.quota = self._new_quota(config, start)
        self._config = config
        self._auditor = auditor
        self._part = part
        self._listing = Listing(config, fleet, stamp)
        self._authenticator = Authenticator(config, signing_wall)
        self._iam = Iam(config, self._authenticator, stamp)
        self._recent: deque[float] = deque()

    def answer(self, received: ReceivedRequest, fault: str, at: float, request_id: str) -> Reply:
        """Return the reply that the client gets if no fault spoils it.

        Raises:
            Rejected: the reply is an error.
        """
        match (received.method, unquote(received.path)):
            case ("POST", "/v3/auth/tokens"):
                return self._look("iam", self._iam.issue_token(received.body, at))
            case ("PUT", "/meta-data/latest/api/token"):
                return self._look("metadata", self._iam.metadata_token())
            case ("GET", "/openstack/latest/securitykey"):
                return self._look("metadata", self._iam.security_key(at))
            case (_, path):
                self._admit(received, at, request_id)
                if path == "/v3/projects":
                    return self._look("iam", self._iam.projects(_pairs(received.query)))
                return self._ecs(received, path, fault, at, request_id)

    def _admit(self, received: ReceivedRequest, at: float, request_id: str) -> None:
        if not self._within_api_rate(at):
            raise Rejected(throttled(self._config.api_rate or 0, "1 second", "api", request_id))
        objection = self._authenticator.objection(received, at)
        self._auditor.bad_signatures = self._authenticator.bad_signatures
        if objection is not None:
            message = f"Incorrect IAM authentication information: {objection}"
            raise Rejected(gateway_error(401, "APIGW.0301", message, request_id))

    def _within_api_rate(self, at: float) -> bool:
        if self._config.api_rate is None:
            return True
        while self._recent and self._recent[0] <= at - 1.0:
            self._recent.popleft()
        self._recent.append(at)
        return len(self._recent) <= self._config.api_rate

    def _ecs(self, received: ReceivedRequest, path: str, fault: str, at: float, request_id: str) -> Reply:
        parts = path.strip("/").split("/")
        if len(parts) < PROJECT_PATH_PARTS or parts[0] != "v1":
            raise Rejected(_unknown_api(request_id))
        if parts[1] != self._config.project_id:
            raise Rejected(ecs_error(400, "Ecs.0023", "project_id in the URL does not match the credentials."))
        match (received.method, *parts[2:]):
            case ("POST", "cloudservers", "action"):
                return self._act(received.body, fault, at, request_id)
            case ("GET", "jobs", job_id):
                return self._look("job", lambda: self.jobs.show(job_id, at), fault)
            case ("GET", "cloudservers", "detail"):
                query = _pairs(received.query)
                kind = "servers" if query.get("server_id") else "list"
                return self._look(kind, lambda: json_reply(200, self._listing.page(query, at)), fault)
            case ("GET", "cloudservers", server_id):
                return self._look("server", lambda: json_reply(200, self._listing.single(server_id, at)), fault)
            case _:
                raise Rejected(_unknown_api(request_id))

    def _look(self, kind: str, reply: Reply | Callable[[], Reply], fault: str = "") -> Reply:
        self._auditor.looks[kind] += 1
        if fault == "retryable_400":
            raise Rejected(_nova_failed())
        return reply if isinstance(reply, Reply) else reply()

    # -- actions -----------------------------------------------------------------------------------------------

    def _act(self, body: bytes, fault: str, at: float, request_id: str) -> Reply:
        """Count an action and carry it out; the auditor notes what was counted, accepted and refused."""
        self._auditor.submits.append(at)
        request = read_action(body, self._config.max_batch)
        size = len(request.server_ids)
        try:
            if request.action in {"SOFT", "HARD"}:
                self._count(size, at, request_id)
            if fault == "retryable_400":
                request = ActionRequest(request.action, request.server_ids[: self._part(size)])
            reply = self.actions.carry_out(request, at) if request.server_ids else Reply(200)
        except Rejected:
            self._auditor.refused_servers += size
            raise
        self._auditor.accepted_requests += bool(request.server_ids)
        self._auditor.accepted_servers += len(request.server_ids)
        if fault == "retryable_400":
            raise Rejected(_nova_failed())
        return reply

    def _count(self, servers: int, at: float, request_id: str) -> None:
        admitted = self.quota is None or self.quota.admit(at, servers)
        if admitted or self._config.quota_counts_refused:
            self._auditor.counted.append((at, servers))
        if not admitted:
            self._auditor.throttled_requests += 1
            raise Rejected(self.over_quota(request_id))

    def over_quota(self, request_id: str) -> Reply:
        """Return the 429 of the servers' quota."""
        window = self._config.quota_window
        minutes, rest = divmod(window, 60)
        period = f"{minutes:.0f} minute" if minutes and not rest else f"{window:.0f} second"
        return throttled(self._config.quota_limit or 1000, period, "user", request_id)

    @staticmethod
    def _new_quota(config: CloudConfig, start: float) -> QuotaWindow | None:
        if config.quota_limit is None:
            return None
        return QuotaWindow(
            config.quota_limit,
            config.quota_window,
            counts_refused=config.quota_counts_refused,
            foreign=config.foreign_load,
            start=start,
        )


def _pairs(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def _unknown_api(request_id: str) -> Reply:
    return gateway_error(404, "APIGW.0101", "The API does not exist or has not been published.", request_id)


def _nova_failed() -> Reply:
    return ecs_error(400, "Ecs.1000", "Failed to access Nova.")
