"""The services that credentials come from: IAM's tokens and projects, the metadata service's keys."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.gateway import Authenticator
from ecsbatch.simulator.replies import Reply, json_reply, microseconds


class Iam:
    """Issues tokens to the only user, lists the only project, and gives out the only key pair."""

    def __init__(self, config: CloudConfig, authenticator: Authenticator, stamp: Callable[[float], float]) -> None:
        self._config = config
        self._authenticator = authenticator
        self._stamp = stamp
        self._random = random.Random(f"tokens-{config.seed}")

    def issue_token(self, body: bytes, at: float) -> Reply:
        """Answer ``POST /v3/auth/tokens``: 201 and the token in ``X-Subject-Token``."""
        if not self._knows(body):
            error = {"code": 401, "message": "The username or password is wrong.", "title": "Unauthorized"}
            return json_reply(401, {"error": error})
        token = f"MIIsimulated{self._random.getrandbits(256):064x}"
        self._authenticator.issue(token, at)
        document = {
            "token": {
                "issued_at": microseconds(self._stamp(at)),
                "expires_at": microseconds(self._stamp(at + self._config.token_ttl)),
                "methods": ["password"],
                "project": {"id": self._config.project_id, "name": self._config.region},
            },
        }
        return json_reply(201, document, {"X-Subject-Token": token})

    def projects(self, query: Mapping[str, str]) -> Reply:
        """Answer ``GET /v3/projects?name={region}``."""
        name = query.get("name", self._config.region)
        found = [{"id": self._config.project_id, "name": name, "enabled": True}] if name == self._config.region else []
        return json_reply(200, {"projects": found, "links": {}})

    def metadata_token(self) -> Reply:
        """Answer ``PUT /meta-data/latest/api/token``."""
        return Reply(200, b"simulated-metadata-token", {"Content-Type": "text/plain"})

    def security_key(self, at: float) -> Reply:
        """Answer ``GET /openstack/latest/securitykey``: temporary credentials of the server's agency."""
        credential = {
            "access": self._config.access_key,
            "secret": self._config.secret_key,
            "securitytoken": self._config.security_token,
            "expires_at": microseconds(self._stamp(at + self._config.token_ttl)),
        }
        return json_reply(200, {"credential": credential})

    def _knows(self, body: bytes) -> bool:
        try:
            user: Any = orjson.loads(body)["auth"]["identity"]["password"]["user"]
            given = (user["name"], user["password"], user["domain"]["name"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return False
        return given == (self._config.iam_user, self._config.iam_password, self._config.iam_domain)
