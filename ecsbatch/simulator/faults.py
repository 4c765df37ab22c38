"""What goes wrong with a request: at most one fault for each, drawn from the seed."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import fields
from itertools import accumulate
from typing import Any, Final, Literal, cast

import orjson

from ecsbatch.simulator.config import Faults
from ecsbatch.simulator.replies import Reply, json_reply

Fate = Literal["answer", "reset", "silence", "truncated"]

FATES: Final[dict[str, Fate]] = {
    "reset_before": "reset",
    "reset_after": "reset",
    "lost_reply": "silence",
    "silent": "silence",
    "blackhole": "silence",
    "truncated": "truncated",
}
"""What becomes of the reply; `late_execution` draws reset or silence, under all other faults it is sent."""

NOT_CARRIED_OUT: Final = frozenset({"reset_before", "silent", "blackhole"})
SETTINGS: Final = frozenset({"late_max", "slow_by", "huge_bytes"})
KINDS: Final = tuple(knob.name for knob in fields(Faults) if knob.name not in SETTINGS)

RANDOM_BYTES, OTHER_JSON, NEW_FIELDS, NULLS, WRONG_TYPES = range(5)
"""The kinds of garbage."""

LEFT_ALONE: Final = 0.7
"""The share of a body's values that garbage leaves as they are."""

HTML: Final = b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"


class FaultInjector:
    """Draws faults with the probabilities of one `Faults`, and spoils replies."""

    def __init__(self, faults: Faults, chance: random.Random) -> None:
        self._faults = faults
        self._chance = chance
        self._steps = list(accumulate(getattr(faults, kind) for kind in KINDS))
        if self._steps[-1] > 1.0 + 1e-9:
            raise ValueError(f"The probabilities of faults sum to {self._steps[-1]:g}; they must not exceed 1.")

    def draw(self) -> str:
        """Return the name of a fault, "" for none."""
        index = bisect_right(self._steps, self._chance.random())
        return KINDS[index] if index < len(KINDS) else ""

    def fate(self, kind: str) -> Fate:
        """Return what becomes of the reply under a fault."""
        if kind == "late_execution":
            return self._chance.choice(("reset", "silence"))
        return FATES.get(kind, "answer")

    def lateness(self) -> float:
        """Return the seconds from when a client gives up to the late execution."""
        return self._chance.uniform(0.0, self._faults.late_max)

    def extra_latency(self, kind: str) -> float:
        """Return the seconds by which a fault delays a request."""
        return self._faults.slow_by if kind == "slow" else 0.0

    def half(self) -> bool:
        """Toss a coin."""
        return self._chance.getrandbits(1) == 1

    def part(self, total: int) -> int:
        """Return how many of `total` servers are carried out: none in half of the cases, else any number."""
        return 0 if self.half() else self._chance.randint(0, total)

    def spoil(self, kind: str, reply: Reply) -> Reply:
        """Return what the client gets in place of a good reply."""
        match kind:
            case "error_500_after":
                return json_reply(500, {"error": {"message": "System exception.", "code": "Common.0001"}})
            case "html_502":
                return Reply(502, HTML, {"Content-Type": "text/html"})
            case _:
                return Reply(reply.status, self._spoilt_body(kind, reply.body), reply.headers)

    def _spoilt_body(self, kind: str, body: bytes) -> bytes:
        match kind:
            case "no_job_id":
                return b"{}"
            case "empty_body":
                return b""
            case "garbage":
                return self._garbage(body)
            case "huge":
                return b'{"padding":"' + b"x" * self._faults.huge_bytes + b'"}'
            case _:
                return body

    def _garbage(self, body: bytes) -> bytes:
        choice = self._chance.choice((RANDOM_BYTES, OTHER_JSON, NEW_FIELDS, NULLS, WRONG_TYPES))
        if choice == RANDOM_BYTES:
            return self._chance.randbytes(64)
        if choice == OTHER_JSON:
            return self._chance.choice(
                (b"null", b"[]", b'"accepted"', b"17", b"{", b'{"job_id":null}', b'{"job_id":7}')
            )
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            return b"\xff\xfe"
        return orjson.dumps(self._twisted(document, choice))

    def _twisted(self, value: Any, choice: int) -> Any:
        """Return a copy with unknown fields, with nulls or with wrong types here and there."""
        if isinstance(value, list):
            return self._twisted_list(cast("Iterable[Any]", value), choice)
        if isinstance(value, dict):
            return self._twisted_object(cast("dict[str, Any]", value), choice)
        if choice == NEW_FIELDS or self._chance.random() < LEFT_ALONE:
            return value
        return None if choice == NULLS else [value]

    def _twisted_list(self, values: Iterable[Any], choice: int) -> list[Any]:
        return [self._twisted(one, choice) for one in values]

    def _twisted_object(self, values: dict[str, Any], choice: int) -> dict[str, Any]:
        twisted = {name: self._twisted(one, choice) for name, one in values.items()}
        return {**twisted, "x_new_field": {"since": "v9"}} if choice == NEW_FIELDS else twisted
