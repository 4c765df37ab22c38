"""What a page is told of a run: a snapshot and its changes come to the same, whatever the order of looks at it."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from nights import MadeUpNight, night_plan
from scenes import HOSTILE, plan

from ecsbatch.model import events as ev
from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.tally import Stage
from ecsbatch.policy.progress import progress
from ecsbatch.views.page.columns import fleet_object
from ecsbatch.views.page.feed import LATEST, Feed
from ecsbatch.views.page.messages import RunMessages

NOTHING = dict.fromkeys(("reason", "code", "message", "host"), "")


class Viewer:
    """What a page makes of the messages."""

    def __init__(self, snapshot: bytes) -> None:
        told = orjson.loads(snapshot)
        self.cells = bytearray(b64decode(told["cells"]))
        self.timeline: dict[str, Any] = told["timeline"]
        self.progress = told["progress"]
        self.feed = {line["seq"]: line for line in told["feed"]}
        self.details: dict[int, dict[str, str]] = {}
        self._detail(told["details"])

    def take(self, changes: bytes) -> None:
        """Take over what has changed."""
        told = orjson.loads(changes)
        for at, to in zip(told["at"], told["to"], strict=True):
            self.cells[at] = to
        self._detail(told.get("details", {"at": [], "what": [], "values": []}))
        self.progress = told.get("progress", self.progress)
        self.feed |= {line["seq"]: line for line in told.get("feed", ())}
        tail = told.get("timeline", {})
        first = tail.pop("from", 0)
        for name, value in tail.items():
            self.timeline[name] = [*self.timeline[name][:first], *value] if isinstance(value, list) else value

    def _detail(self, told: dict[str, Any]) -> None:
        self.details |= {i: told["values"][what] for i, what in zip(told["at"], told["what"], strict=True)}


def told(night: MadeUpNight) -> dict[str, Any]:
    return progress(night.state, night.state.updated_at).as_dict()


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_changes_on_a_snapshot_come_to_the_next_snapshot(seed: int) -> None:
    night = MadeUpNight(seed)
    messages, viewers = RunMessages(night.state), list[Viewer]()
    for recorded in night.events(150):
        messages.apply(recorded)
        if recorded.seq % 11 == 0:
            viewers.append(Viewer(messages.snapshot(told(night))))
        if recorded.seq % 4 == 0 and (changes := messages.changes(told(night))) is not None:
            assert b"\n" not in changes
            for viewer in viewers:
                viewer.take(changes)
    last = messages.changes(told(night))
    assert messages.changes(told(night)) is None
    now = Viewer(messages.snapshot(told(night)))
    ended = [i for i, stage in enumerate(night.state.stage) if stage >= Stage.RESTARTED]
    for viewer in viewers:
        if last is not None:
            viewer.take(last)
        timeless = {name: value for name, value in viewer.progress.items() if name not in {"at", "elapsed_s"}}
        assert (viewer.cells, viewer.timeline) == (now.cells, now.timeline)
        assert timeless.items() <= now.progress.items()
        assert [now.details.get(i, NOTHING) for i in ended] == [viewer.details.get(i, NOTHING) for i in ended]
        assert now.feed.items() <= viewer.feed.items()


def test_a_message_has_nothing_in_it_that_ends_a_line_or_acts_on_a_terminal() -> None:
    night = MadeUpNight(3)
    messages = RunMessages(night.state)
    server = night.state.plan.fleet.ids[0]
    bad = ev.ServerFailed(server, message=f"</script>\u2028{HOSTILE}\ud800\n\n: x", code="\x1b[31m", host="<img src=x>")
    for recorded in [*night.events(3), Recorded(9, 2_000_000.0, "night", bad)]:
        if recorded.event is bad:
            night.state.apply(recorded)
        messages.apply(recorded)

    for message in (
        messages.snapshot(told(night)),
        messages.changes(told(night)) or b"",
        json_bytes(fleet_object("n", night_plan())),
    ):
        assert message
        assert message.decode().isprintable()


# -- the feed ----------------------------------------------------------------------------------------------------------


def feed_of(*events: ev.Event) -> list[dict[str, Any]]:
    feed = Feed(plan())
    for seq, event in enumerate(events, 1):
        feed.apply(Recorded(seq, 1_000.0, "r", event))
    return feed.latest()


def test_the_feed_says_in_words_what_happens_to_a_run() -> None:
    server = plan().fleet.ids[0]
    told = feed_of(
        ev.RunStarted(total=40),
        ev.HolderChanged(holder="ann@desk", pid=7, fence=1),
        ev.WaveStarted(wave=1, servers=4, label="10%"),
        ev.BatchSubmitting(batch=1, servers=[server]),
        ev.ServerRestarted(server),
        ev.ServerFailed(server, reason="unhealthy", code="E.1", message="E.1: no answer", host="h1"),
        ev.BatchRejected(batch=2, kind="not_accepted", code="E.2", message="E.2: busy"),
        ev.QuotaThrottled(wait=12.0, message="slow down"),
        ev.RunPaused(reason="max_failures"),
        ev.LimitChanged("max_unavailable", 10, 5, "ann"),
        ev.WaveFinished(wave=1, restarted=3, failed=1),
        ev.HolderChanged(holder="bob@desk", pid=8, fence=2),
        ev.RunFinished("failed", counts={"restarted": 39, "timed_out": 1}, elapsed_s=75.0),
    )

    assert [(line["seq"], line["level"], line["text"]) for line in told] == [
        (1, "info", "run of 40 servers"),
        (2, "info", "begun by ann@desk, pid 7"),
        (3, "info", "wave 1 (10%) begins: 4 servers"),
        (6, "error", f"{server} failed (unhealthy, E.1): no answer"),
        (7, "warning", "request 2 was not carried out (not accepted): E.2 busy"),
        (8, "warning", "the cloud answered 429, nothing is sent for 12s: slow down"),
        (9, "info", "paused (max_failures)"),
        (10, "info", "max_unavailable 10 -> 5 by ann"),
        (11, "info", "wave 1 is done: 3 restarted, 1 failed"),
        (12, "info", "taken over by bob@desk, pid 8"),
        (13, "info", "failed after 1m15s: 39 restarted, 1 timed out"),
    ]


def test_thousands_of_failures_do_not_push_out_what_happened_to_the_run() -> None:
    server = plan().fleet.ids[0]
    told = feed_of(ev.RunPaused(by="ann"), *[ev.ServerFailed(server)] * 5_000, ev.RunResumed(by="bob"))

    assert len(told) < LATEST
    assert [line["text"] for line in told if line["level"] == "info"] == ["paused by ann", "resumed by bob"]


def test_news_of_the_feed_are_told_once() -> None:
    feed = Feed(plan())
    for seq in (1, 2):
        feed.apply(Recorded(seq, 1_000.0, "r", ev.RunPaused(by="ann")))
        assert [line["seq"] for line in feed.fresh()] == [seq]

    assert (feed.fresh(), [line["seq"] for line in feed.latest(after=1)]) == ([], [2])


def test_every_event_has_a_line_or_none_and_no_line_is_long() -> None:
    feed = Feed(plan())
    for seq, kind in enumerate(ev.EVENTS.values(), 1):
        feed.apply(Recorded(seq, 1_000.0, "r", kind()))
    feed.apply(Recorded(99, 1_000.0, "r", ev.RunStopped("stopped", "gate", "x" * 10_000)))

    assert all(0 < len(line["text"]) <= 300 for line in feed.latest())
