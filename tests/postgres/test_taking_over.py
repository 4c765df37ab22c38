"""A rollout survives its machine: who has lost it sends and writes nothing more, and says to whom it has lost it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ecsbatch.model import events as ev

from .bridge import Bridge
from .taking_over import QUOTA, Scene, books, ended, kill, scene

pytestmark = pytest.mark.real

MOST: Final = 6.0
"""Seconds from the death of a holder to the next one, at most."""


@pytest.fixture
def stage(tmp_path: Path, database_url: str) -> Iterator[Scene]:
    with scene(tmp_path, database_url) as made:
        yield made


def test_a_run_whose_machine_has_died_goes_on_at_another_within_six_seconds(stage: Scene) -> None:
    servers = stage.cloud.ids[:60]
    holder = stage.restart("k", servers)
    stage.until("k", ev.BatchAccepted)
    died = kill(holder)
    taker = stage.resumed("k")
    code, _, err = ended(taker)
    first, second = stage.holders("k")

    assert code == 0, err
    assert 3.0 < second.ts - died < MOST
    assert (first.event.boot, second.event.fence) == (second.event.boot, 2)
    said = books(stage.cloud)
    assert (said["restarted_servers"], said["restarted_more_than_once"]) == (60, 0)
    assert said["fullest_window"] <= QUOTA
    assert stage.terminal.type("audit", "k", ECSBATCH_STORE=stage.url).returncode == 0


def test_a_holder_that_stood_still_while_another_took_its_run_submits_and_writes_nothing_and_ends_with_8(
    stage: Scene,
) -> None:
    servers = stage.cloud.ids[100:200]
    holder = stage.restart("s", servers, "-o", "json")
    stage.until("s", ev.BatchAccepted, 2)
    holder.send_signal(signal.SIGSTOP)
    taker = stage.resumed("s")
    stage.until("s", ev.RunResumed)
    holder.send_signal(signal.SIGCONT)
    stood, woke = stage.holders("s")[1].ts, time.time()
    code, out, err = ended(holder)
    took = time.time() - woke
    told = json.loads(out)

    assert code == 8, err
    assert (told["status"], told["reason"], told["pid"]) == ("running", "taken_over", taker.pid)
    assert f"Run s was taken over by {told['holder']}, pid {taker.pid}" in err
    assert "`ecsbatch watch s` shows it." in err
    assert took < 5.0
    assert ended(taker)[0] == 0
    said = books(stage.cloud)
    assert (said["restarted_servers"], said["restarted_more_than_once"]) == (100, 0)
    assert said["fullest_window"] <= QUOTA
    # Each batch was intended by one of them: the first one's all before the second had the run.
    intents = [each for each in stage.events("s") if isinstance(each.event, ev.BatchSubmitting)]
    fences = {int(each.event.grant.split(".")[1]): each.ts < stood for each in intents}
    assert fences == {1: True, 2: False}


def test_a_holder_that_the_database_does_not_hear_sends_nothing_and_ends_with_8_once_it_does(
    stage: Scene, bridge: Bridge
) -> None:
    """It lives, and follows what is under way; nothing tells it that its lease has run out but its own clock."""
    servers = stage.cloud.ids[300:400]
    holder = stage.restart("h", servers, "-v", url=bridge.url(stage.url))
    stage.until("h", ev.BatchAccepted, 3)
    bridge.black_hole()
    taker = stage.resumed("h")
    time.sleep(2.0)  # the one before is to find out by its own clock, with nothing that reaches it
    bridge.heal()
    code, _, err = ended(holder)

    assert code == 8, err
    assert "Run h was taken over by " in err
    assert ended(taker)[0] == 0
    said = books(stage.cloud)
    assert (said["restarted_servers"], said["restarted_more_than_once"]) == (100, 0)
    assert said["fullest_window"] <= QUOTA
