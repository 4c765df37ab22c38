"""A cloud, a hand on its clock, and the plainest client there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ecsbatch.simulator.cloud import CloudConfig, Reply, SimulatedCloud


class World:
    """A cloud whose time moves only when a test says so."""

    def __init__(self, **knobs: Any) -> None:
        self.now = 0.0
        config = CloudConfig(**{"check_auth": False, "latency": 0.0, **knobs})
        self.cloud = SimulatedCloud(config, lambda: self.now)
        self.root = f"/v1/{config.project_id}"

    def ask(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply | None:
        """Send a request, to be carried out now."""
        return self.cloud.receive(method, target, headers or {}, body).execute()

    def get(self, path: str) -> tuple[int, Any]:
        """Look at something below the project."""
        return self._read(self.ask("GET", self.root + path))

    def act(self, *server_ids: str, kind: str = "SOFT") -> tuple[int, Any]:
        """Reboot servers."""
        servers = [{"id": server_id} for server_id in server_ids]
        return self.post({"reboot": {"type": kind, "servers": servers}})

    def post(self, document: Any) -> tuple[int, Any]:
        """Submit an action."""
        return self._read(self.ask("POST", f"{self.root}/cloudservers/action", orjson.dumps(document)))

    def job(self, job_id: str) -> Any:
        """Look at a job."""
        status, document = self.get(f"/jobs/{job_id}")
        assert status == 200, document
        return document

    def seen(self, server_id: str) -> dict[str, Any]:
        """Look at one server."""
        status, document = self.get(f"/cloudservers/{server_id}")
        assert status == 200, document
        return dict(document["server"])

    @staticmethod
    def _read(reply: Reply | None) -> tuple[int, Any]:
        assert reply is not None
        return reply.status, orjson.loads(reply.body)
