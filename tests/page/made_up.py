"""Runs that are made up, in the words of the page's protocol: they go on by chance, as fast as they are told to."""

from __future__ import annotations

import base64
import json
import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from ecsbatch.views.page.cells import NOT_BACK, NOT_HEALTHY

WAITING, SUBMITTING, ACCEPTED, UNSETTLED, RESTARTED, FAILED, TIMED_OUT, UNKNOWN, SKIPPED, LEFT_OUT = range(10)
WORDS = {
    RESTARTED: "restarted",
    FAILED: "failed",
    TIMED_OUT: "timed_out",
    UNKNOWN: "unknown",
    SKIPPED: "skipped",
    LEFT_OUT: "not_started",
}
REASONS = (
    {"reason": "", "code": "Ecs.0227", "message": "Failed to reboot the ECS."},
    {"reason": "unhealthy", "code": "", "message": "tcp:22: connection refused"},
    {"reason": "", "code": "Ecs.0319", "message": "Insufficient resources on the host."},
)
HOSTILE = (
    "<img src=x onerror=document.title='owned'>",
    "</script><script>document.title='owned'</script>",
    "\x1b[31mred\x1b[0m",
    "=cmd|' /C calc'!A0",
    "\u202etxt.exe",
    "w" * 256,
    "__proto__",
)
"""Names that a cloud may give."""


def packed(values: Iterable[int], width: int) -> str:
    """Return numbers of ``width`` bytes in base64, the lowest first."""
    return base64.b64encode(b"".join(value.to_bytes(width, "little", signed=value < 0) for value in values)).decode()


def column(words: Sequence[str]) -> dict[str, Any]:
    """Return texts that repeat as the page reads them."""
    values = list(dict.fromkeys(words))
    number = {word: i for i, word in enumerate(values)}
    width = 1 if len(values) <= 0x100 else 2 if len(values) <= 0x10000 else 4
    return {"values": values, "index": packed([number[word] for word in words], width), "width": width}


def stamp(ts: float) -> str:
    """Return seconds since 1970 as RFC 3339."""
    return datetime.fromtimestamp(ts, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class PretendedRun:
    """A run that goes on as fast as it is told to, by no rule but chance.

    Attributes:
        cells: a byte for each server, as the protocol has it.
        changed: the servers that have changed since the last message.
    """

    def __init__(self, run_id: str, servers: int, *, hostile: bool = False, seed: int = 4711) -> None:
        self.run_id = run_id
        self.n = servers
        self.random = random.Random(seed)
        self.began = time.time() - 600
        self.seq = 1
        self.cells = bytearray(servers)
        self.changed: dict[int, int] = {}
        self.flying: deque[int] = deque()
        self.next = 0
        self.backwards = False
        self.details: dict[int, dict[str, str]] = {}
        self.fresh: dict[int, dict[str, str]] = {}
        self.feed: list[dict[str, Any]] = []
        self.told = 0
        self.buckets: dict[str, list[int]] = {
            name: [] for name in ("restarted", "failed", "submitted", "down", "tokens")
        }
        self.standing: dict[str, Any] = {}
        self.wave = 1
        self.names = [f"web-{i:05}" for i in range(servers)]
        if hostile:
            self.names[: len(HOSTILE)] = HOSTILE[:servers]
        self.zones = [f"az{1 + 3 * i // servers}" for i in range(servers)]
        self.hosts = [f"host-{i % max(1, servers // 40):04}" for i in range(servers)]
        self.waves = self._waves()

    def _waves(self) -> list[dict[str, Any]]:
        ends = sorted({max(1, self.n // 100), max(1, self.n // 10), max(1, self.n // 2), self.n})
        starts = [0, *ends[:-1]]
        return [
            {
                "number": i + 1,
                "label": f"{round(100 * end / self.n)}%",
                "start": start,
                "end": end,
                "hold": i == 0,
                "soak": 300 if i == 1 else 0,
            }
            for i, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]

    def fleet(self) -> dict[str, Any]:
        """Return who its servers are."""
        ids = [uuid.UUID(int=self.random.getrandbits(128)).bytes for _ in range(self.n)]
        return {
            "v": 1,
            "run_id": self.run_id,
            "n": self.n,
            "ids": {"uuids": base64.b64encode(b"".join(ids)).decode()},
            "names": self.names,
            "groups": {
                "zone": column(self.zones),
                "host": column(self.hosts),
                "tag:app": column([("web", "db", "cache", "")[i % 7 % 4] for i in range(self.n)]),
            },
            "waves": self.waves,
            "to_restart": self.n,
        }

    def _set(self, i: int, cell: int) -> None:
        self.cells[i] = cell
        self.changed[i] = cell

    def step(self, changes: int, seconds: float = 0.25) -> None:
        """Let so many servers change, and note what a timeline has of that."""
        sent = ended = failed = 0
        for _ in range(changes):
            if self.backwards:
                self._undo()
            elif self.next < self.n and (not self.flying or self._may_send()):
                self._send()
                sent += 1
            elif self.flying:
                failed += self._end()
                ended += 1
            else:
                self.backwards = True
        self.seq += changes
        down = len(self.flying) + sum(1 for cell in self.details if self.cells[cell] & NOT_BACK)
        self.note(
            restarted=ended - failed,
            failed=failed,
            submitted=sent,
            down=down,
            tokens=min(1000, round(sent / seconds * 60)),
        )

    def _may_send(self) -> bool:
        flying = len(self.flying)
        return flying < self.n // 20 or (flying < self.n // 10 and self.random.random() < 0.5)

    def note(self, **values: int) -> None:
        """Add a bucket to the timeline."""
        for name, value in values.items():
            self.buckets[name].append(value)

    def _send(self) -> None:
        self._set(self.next, SKIPPED if self.random.random() < 0.01 else ACCEPTED)
        if self.cells[self.next] == ACCEPTED:
            self.flying.append(self.next)
        self.next += 1
        while self.wave < len(self.waves) and self.next > self.waves[self.wave - 1]["end"]:
            self.tell("info", f"Wave {self.wave} is over.")
            self.wave += 1

    def _end(self) -> int:
        i = self.flying.popleft()
        bad = self.random.random() < (0.03 if self.zones[i] == "az2" else 0.002)
        if not bad:
            self._set(i, RESTARTED)
            return 0
        self._fail(i)
        return 1

    def _fail(self, i: int) -> None:
        kind = self.random.choices((FAILED, TIMED_OUT, UNKNOWN), (8, 2, 1))[0]
        self._set(i, kind | (NOT_BACK if self.random.random() < 0.3 else 0))
        self.details[i] = self.fresh[i] = self.random.choice(REASONS) | {"host": self.hosts[i]}
        self.tell("warning", f"{self.names[i]} ended as {WORDS[kind].replace('_', ' ')}.")

    def _undo(self) -> None:
        """Begin anew once all have ended, so that a replay has no end."""
        self.next = max(0, self.next - 1)
        self._set(self.next, WAITING)
        if not self.next:
            self.backwards = False
            self.wave = 1

    def tell(self, level: str, text: str) -> None:
        """Add a line to the events."""
        self.seq += 1
        self.feed = [*self.feed, {"seq": self.seq, "ts": time.time(), "level": level, "text": text}][-200:]

    def to(self, share: float, *, flying: bool = True) -> None:
        """Go on until so much of it was sent; ``flying`` leaves some under way."""
        steps, wanted = 240, round(self.n * share)
        while self.next < wanted:
            self.step(min(max(1, self.n // steps * 2), max(1, wanted - self.next)))
        while self.flying and not (flying and len(self.flying) <= max(1, self.n // 60)):
            self.note(restarted=1 - self._end(), failed=0, submitted=0, down=len(self.flying), tokens=0)
        if not flying:
            self.wave = next((w["number"] for w in self.waves if w["end"] >= wanted), len(self.waves))

    def decorate(self) -> None:
        """Let some under way stand in the rarer ways."""
        for j, i in enumerate(list(self.flying)):
            if j % 5 == 0:
                self._set(i, ACCEPTED | NOT_HEALTHY)
            elif j % 17 == 0:
                self._set(i, UNSETTLED)

    def counts(self, start: int = 0, end: int | None = None) -> dict[str, int]:
        """Return the counts of servers by how they stand, as `Progress.as_dict` has them."""
        cells = self.cells[start:end]
        stages = Counter(cell & 15 for cell in cells)
        flying = sum(stages[stage] for stage in (SUBMITTING, ACCEPTED, UNSETTLED))
        not_back = sum(1 for cell in cells if cell & NOT_BACK)
        told = {"total": len(cells), "waiting": stages[WAITING], "in_flight": flying}
        told |= {word: stages[stage] for stage, word in WORDS.items() if stage != LEFT_OUT}
        failures = sum(stages[stage] for stage in (FAILED, TIMED_OUT, UNKNOWN))
        return told | {
            "left_out": stages[LEFT_OUT],
            "not_back": not_back,
            "failures": failures,
            "down": flying + not_back,
        }

    def progress(self) -> dict[str, Any]:
        """Return how it goes on, in the words of `Progress.as_dict`."""
        counts, now = self.counts(), time.time()
        spent = min(1000, self.buckets["tokens"][-1] if self.buckets["tokens"] else 0)
        limits = {"max_unavailable": max(1, self.n // 10), "max_failures": max(1, self.n // 50)}
        limits |= dict.fromkeys(("max_unavailable_per_domain", "max_failures_per_wave", "max_failures_per_domain"))
        wave = self.waves[self.wave - 1]
        waves = self.counts(wave["start"], wave["end"])
        text = f"Wave {self.wave}: {waves['waiting']:,} servers wait, {waves['in_flight']:,} are under way."
        told = {
            "v": 1,
            "run_id": self.run_id,
            "seq": self.seq,
            "at": stamp(now),
            "status": "running",
            "reason": "",
            "message": "",
            "total": self.n,
            "elapsed_s": now - self.began,
            "began_at": stamp(self.began),
            "standing": "running",
            "standing_text": "running",
            "standing_until": None,
            "sending": True,
            "per_minute": 916.4,
            "left_s": counts["waiting"] / 16,
            "barriers": [],
            "hold": None,
            "held_after": 0,
            "wave": self.wave,
            "waves": len(self.waves),
            "wave_label": wave["label"],
            "servers": counts,
            "down": counts["down"],
            "failures": counts["failures"],
            "not_back": counts["not_back"],
            "limits": limits,
            "quota": {"limit": 1000, "window": 60.0, "held": 0, "cooling": spent, "free": 1000 - spent}
            | {"next_free_in": 5.0, "waited_out": False},
            "waits_for": {"cause": "queued", "text": text, "until": None, "commands": []},
            "paused_by": "",
            "aborting": False,
            "throttled_s": 0,
            "resume_options": [],
            "frozen": None,
        }
        return told | self.standing

    def timeline(self) -> dict[str, Any]:
        """Return what happened when."""
        step = max(1, -(-len(self.buckets["down"]) // 600))
        told: dict[str, Any] = {"origin": self.began, "step": 2.5 * step, "quota": {"limit": 1000, "window": 60}}
        for name, values in self.buckets.items():
            parts = [values[i : i + step] for i in range(0, len(values), step)]
            told[name] = [max(part) if name in {"down", "tokens"} else sum(part) for part in parts]
        return told | {"allowed": [max(1, self.n // 10)] * len(told["down"])}

    @staticmethod
    def rows(details: dict[int, dict[str, str]]) -> dict[str, Any]:
        """Return details as rows that name a value of a dictionary."""
        values = list({json.dumps(value): value for value in details.values()}.values())
        return {"at": list(details), "what": [values.index(value) for value in details.values()], "values": values}

    def snapshot(self) -> dict[str, Any]:
        """Return all that is known of it."""
        return {
            "seq": self.seq,
            "cells": base64.b64encode(self.cells).decode(),
            "details": self.rows(self.details),
            "progress": self.progress(),
            "timeline": self.timeline(),
            "feed": self.feed,
        }

    def changes(self) -> dict[str, Any]:
        """Return what has changed since the last time."""
        line, feed = self.timeline(), [each for each in self.feed if each["seq"] > self.told]
        told = {"seq": self.seq, "at": list(self.changed), "to": list(self.changed.values())}
        told |= {"details": self.rows(self.fresh), "progress": self.progress(), "feed": feed}
        told["timeline"] = line | {"from": 0}
        self.changed, self.fresh, self.told = {}, {}, self.seq
        return told

    def record(self) -> dict[str, Any]:
        """Return it as the list of runs has it."""
        progress, counts = self.progress(), self.counts()
        return {
            "run_id": self.run_id,
            "kind": "rollout",
            "status": progress["status"],
            "created_at": stamp(self.began),
            "total": self.n,
            "counts": {word: counts.get(word, counts["left_out"]) for word in WORDS.values()},
            "seq": self.seq,
            "held": True,
            "holder": "alice",
            "pid": 4711,
            "host": "bastion-1",
            "since": stamp(self.began),
            "lease_left": None,
            "aborting": False,
            "standing": progress["standing"],
            "standing_text": progress["standing_text"],
            "standing_until": None,
        }


def _held(run: PretendedRun) -> None:
    run.to(run.waves[0]["end"] / run.n, flying=False)
    run.wave = 1
    text = "Wave 1 is over; the run is held until somebody promotes it."
    run.standing = {
        "standing": "held_for_promote",
        "standing_text": "held for promote",
        "held_after": 1,
        "sending": False,
        "per_minute": None,
        "left_s": None,
        "hold": {"before_wave": 2, "since": stamp(time.time() - 720)},
        "waits_for": {"cause": "hold", "text": text, "until": None, "commands": [f"ecsbatch promote {run.run_id}"]},
    }


def _soaking(run: PretendedRun) -> None:
    run.to(run.waves[1]["end"] / run.n, flying=False)
    run.wave, until = 2, stamp(time.time() + 130)
    run.standing = {
        "standing": "soaking",
        "standing_text": "soaking (2m10s more)",
        "standing_until": until,
        "sending": False,
        "per_minute": None,
        "left_s": None,
        "waits_for": {"cause": "soak", "text": "Wave 2 soaks before wave 3 begins.", "until": until, "commands": []},
    }


def _stopped(run: PretendedRun) -> None:
    run.to(0.42, flying=False)
    message = f"{run.counts()['failures']:,} failures, {run.n // 50:,} are allowed."
    run.standing = {
        "status": "stopped",
        "standing": "stopped",
        "standing_text": "stopped",
        "reason": "max_failures",
        "message": message,
        "sending": False,
        "per_minute": None,
        "left_s": None,
        "waits_for": {
            "cause": "failure_limit",
            "text": f"Run {run.run_id} was stopped 2m ago: max_failures: {message}",
            "until": None,
            "commands": [f"ecsbatch resume {run.run_id}", f"ecsbatch abort {run.run_id}"],
        },
        "resume_options": [
            {
                "why": "leave az2 out, where most failures are",
                "retry": [],
                "forgive": True,
                "skip_domains": ["az2"],
                "limits": {},
                "flags": " --forgive --skip-domain az2",
            },
            {
                "why": "forgive the failures so far and go on",
                "retry": [],
                "forgive": True,
                "skip_domains": [],
                "limits": {},
                "flags": " --forgive",
            },
        ],
    }


def _finished(run: PretendedRun) -> None:
    run.to(1.0, flying=False)
    run.wave = len(run.waves)
    run.standing = {
        "status": "failed",
        "standing": "failed",
        "standing_text": "failed",
        "sending": False,
        "per_minute": None,
        "left_s": None,
        "waits_for": {"cause": "over", "text": f"Run {run.run_id} is over: failed.", "until": None, "commands": []},
    }


def _middle(run: PretendedRun) -> None:
    run.to(0.57)
    run.decorate()


SCENES = {"start": lambda run: run.note(restarted=0, failed=0, submitted=0, down=0, tokens=0)}
SCENES |= {"middle": _middle, "held": _held, "soaking": _soaking, "stopped": _stopped, "finished": _finished}


def scene(name: str, servers: int, *, run_id: str = "", hostile: bool = False) -> PretendedRun:
    """Return a run that stands as one of `SCENES` says."""
    run = PretendedRun(run_id or f"tonight-{servers}", servers, hostile=hostile)
    SCENES[name](run)
    run.changed.clear()
    run.fresh.clear()
    run.told = run.seq
    return run
