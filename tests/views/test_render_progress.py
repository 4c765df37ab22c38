"""The picture of a run that goes on, on screens of every size."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace

import pyte
import pytest
from rich.console import Console
from scenes import history, plan, shown

from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.counts import Counts
from ecsbatch.views.bars import CELLS, Row, bar_lines, shared
from ecsbatch.views.progress import render_progress
from ecsbatch.views.summary import summary_lines
from ecsbatch.views.terminal import TerminalDisplay, lines_up

STOPPING = "Stopping: nothing new is sent, requests in flight get their answer. Once more breaks it off."
HELD = ev.GateChecked(gate="hold", verdict="wait", wave=3)
INCONCLUSIVE = ev.GateChecked(gate="./ok", verdict="inconclusive", wave=2, message="errors 3%")
PAUSED = ev.RunPaused(reason="paused", by="ann@web")
FROZEN = ev.RunFrozen(by="ann@web", reason="storage incident 4711")
OVER_A_LIMIT = (ev.LimitChanged(limit="max_failures", old=3, new=0), ev.RunPaused(reason="max_failures"))


def drawn(
    state: RolloutState, width: int, height: int = 100, *, ascii_only: bool = False, notice: str = ""
) -> list[str]:
    lines = render_progress(shown(state), width, height, notice=notice, ascii_only=ascii_only)
    return [line.plain for line in lines]


def test_a_picture_tells_where_a_run_stands() -> None:
    assert drawn(history(plan()), 80) == [
        "run k7f3q2   running   wave 2 of 2 (100%)   1m15s",
        "All       ███▓▒▌▌▌▌░░░░░░░░░░░░░░░░░░░░░░░░░░  17%   7 of 40   6 down   1 failed",
        "Wave 2    ▓▌▌▌▌▌░░░░░░░░░░░░░░░░░░░░░░░░░░░░░   2%   1 of 34   6 down   1 failed",
        "",
        "Servers   4 restarted, 2 skipped, 28 waiting",
        "Failures  1 of 3 allowed",
        "Down now  6 of 10 allowed, 5 restarting, 1 not back up",
        "Pace      20 a minute, about 1m39s left at this pace",
        "Quota     990 free of 1,000 in 60s, more in 12s",
        "",
        "az1       ███▓▒▌▌▌░░░░░░░░░░░░░░░░░░░░░░░░░░░  20%   4 of 20   3 down   1 failed",
        "az2       ███▒▌▌▌▌▌░░░░░░░░░░░░░░░░░░░░░░░░░░  15%   3 of 20   3 down",
        "",
        "00000004-0000-4000-8000-000000000000  failed  az1  Ecs.0227  \ufffd[2J[red]az\ufffd2[/red]",
    ]


def test_a_quota_that_is_halved_for_a_while_is_drawn_and_said_as_that() -> None:
    state = history(plan(), ev.HolderChanged(holder="ann", fence=1, limit=1_000, window=60.0))
    now = state.updated_at
    state.apply(Recorded(state.seq + 1, now, "k7f3q2", ev.QuotaDesync(limit=500, seconds=600.0)))

    drawn_now = [line.plain for line in render_progress(shown(state, now + 30.0), 90)]
    drawn_later = [line.plain for line in render_progress(shown(state, now + 600.0), 80)]

    assert "Quota     990 free of 500 in 60s, more in 12s, 1,000 again in 9m30s (after a 429)" in drawn_now
    assert "Quota     990 free of 1,000 in 60s, more in 12s" in drawn_later
    assert any("no more than 500 servers are sent in 60 s" in line for line in summary_lines(state, now=now + 30.0))


def test_a_gate_says_in_the_picture_what_it_said_and_when_it_ends() -> None:
    waits = (ev.GateWaiting(gate="./ok", wave=2, timeout=600.0), *[INCONCLUSIVE] * 4)
    of = replace(plan(), gate="./ok", gate_timeout=600.0)
    state = RolloutState("k7f3q2", of)
    for seq, event in enumerate([ev.RunStarted(total=40), ev.WaveStarted(wave=1), ev.WaveFinished(wave=1), *waits], 1):
        state.apply(Recorded(seq, 1_000.0, "k7f3q2", event))
    now = shown(state, 1_240.0)
    wide, narrow = ([line.plain for line in render_progress(now, width)] for width in (100, 40))

    assert wide[0].startswith('run k7f3q2   gate: inconclusive ("errors 3%", asked 4 times, 6m left)   wave 1 of 2')
    assert narrow[0] == "run k7f3q2   gate: inconclusive"
    for text in (" ".join(wide), " ".join(narrow)):
        assert 'Wave 2 waits for 4m for the gate ./ok to say go: inconclusive, "errors 3%", asked 4 times' in text
        assert "until gate_timeout (10m), then the run stops." in text


def test_a_wave_that_is_tried_again_is_the_one_that_is_shown() -> None:
    again = history(
        plan(), ev.WaveFinished(wave=2), ev.RunFinished(status="failed"), ev.RunResumed(retry=["restarted"])
    )
    shown = drawn(again, 80)

    assert "wave 1 of 2" in shown[0]
    assert shown[2].startswith("Wave 1  ")
    assert shown[2].endswith("0 of  4")


def test_of_a_run_that_is_aborted_nothing_is_said_to_be_taken_up_again() -> None:
    aborting = history(plan(), ev.RunResumed(skip_domains=["az2"]), ev.RunAborting(by="ann"))

    assert "Left out  14 of az2" in drawn(aborting, 80)
    assert not any("--retry" in line for line in [*drawn(aborting, 80), *summary_lines(aborting)])


def test_who_was_left_out_has_a_line_with_the_command_that_takes_them_up_again() -> None:
    left_out = history(plan(), ev.RunResumed(skip_domains=["az2"]))

    shown = "\n".join(drawn(left_out, 80))
    assert "Servers   4 restarted, 2 skipped, 14 waiting\nLeft out  14 of az2, once the run is over type:\n" in shown
    assert "  ecsbatch resume k7f3q2 --retry not_started   take them up\n" in shown
    assert "ecsbatch resume k7f3q2 --retry not_started" in "\n".join(drawn(left_out, 50))
    paused = drawn(history(plan(), ev.RunResumed(skip_domains=["az2"]), ev.RunPaused(reason="paused")), 80)
    assert "Left out  14 of az2" in paused
    assert sum("--retry not_started" in line for line in paused) == 1


def test_a_run_that_is_ending_has_no_pace() -> None:
    assert not [line for line in drawn(history(plan()), 80, notice=STOPPING) if line.startswith("Pace")]


def test_servers_whose_check_has_not_passed_are_told_from_those_that_restart() -> None:
    checked = replace(plan(), check="tcp:22")
    ended = ev.JobFinished(batch=2, status="SUCCESS")

    assert "Down now  6 of 10 allowed, 5 not healthy yet, 1 not back up" in drawn(history(checked, ended), 80)
    assert "Down now  6 of 10 allowed, 5 restarting, 1 not back up" in drawn(history(checked), 80)


def test_a_narrow_and_short_screen_keeps_what_matters_most() -> None:
    assert drawn(history(plan(), *OVER_A_LIMIT), 40, 11) == [
        "run k7f3q2   paused   wave 2 of 2 (100%)",
        "1m15s",
        "All       █▓▒▌░░░░░░░░░░░  17%   7 of 40",
        "Failures  1 of 0 allowed",
        "Down now  6 of 10 allowed, 5 restarting,",
        "          1 not back up",
        "Paused (max_failures). Type in another",
        "terminal:",
        "ecsbatch resume k7f3q2 --max-failures 2",
        "ecsbatch resume k7f3q2 --forgive",
        "ecsbatch abort k7f3q2",
    ]


STATES: Sequence[tuple[Sequence[ev.Event], str, str]] = [
    ((), "", "running"),
    ((PAUSED,), "", "ecsbatch resume k7f3q2"),
    ((HELD,), "", "ecsbatch promote k7f3q2"),
    (OVER_A_LIMIT, "", "ecsbatch resume k7f3q2"),
    ((), STOPPING, "Stopping"),
    ((ev.QuotaThrottled(wait=12.0),), "", "The cloud"),
    ((ev.QuotaThrottled(wait=12.0),), "", "in all."),
    ((FROZEN,), "", "ecsbatch thaw"),
]


@pytest.mark.parametrize("height", [6, 11, 23, 60])
@pytest.mark.parametrize("width", [20, 39, 40, 60, 80, 120, 200])
@pytest.mark.parametrize(("more", "notice", "words"), STATES)
def test_a_picture_fits_its_screen(width: int, height: int, more: Sequence[ev.Event], notice: str, words: str) -> None:
    """However small it is, what somebody has to know or to type is there."""
    lines = drawn(history(plan(), *more), width, height, notice=notice)

    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    assert words in "\n".join(lines).replace("\\\n", "")


def test_ids_are_whole_on_every_screen_that_has_room_for_one() -> None:
    for width in range(36, 120):
        assert "00000004-0000-4000-8000-000000000000" in "\n".join(drawn(history(plan()), width))


def test_a_terminal_without_unicode_gets_none() -> None:
    """Colours stay where they are: letters are replaced one by one."""
    state = history(plan(domains=("zone-é-" + "x" * 30, "az1")), *OVER_A_LIMIT)
    for width in (20, 60, 200):
        assert all(line.isascii() for line in drawn(state, width, ascii_only=True))


def test_the_height_stays_the_same_as_counts_move() -> None:
    """A display that jumps cannot be read."""
    quiet, busy = history(plan()), history(plan(), ev.ServerRestarted(server=plan().fleet.ids[5], batch=2))

    assert len(drawn(quiet, 80)) == len(drawn(busy, 80))


def test_time_left_is_told_once_the_wave_says_something_of_the_rest() -> None:
    """The pace of a canary is not the pace of the fleet."""
    ids = [f"{i:08x}-0000-4000-8000-000000000000" for i in range(1000)]
    waves = (Wave(1, 0, 10, "10"), Wave(2, 10, 1000, "100%"))
    state = RolloutState("k7f", Plan(Fleet(ids, ["az1"] * 1000), waves=waves, max_unavailable=500, max_failures=1))
    events: list[ev.Event] = [
        ev.RunStarted(total=1000),
        ev.WaveStarted(wave=1),
        ev.BatchSubmitting(batch=1, servers=ids[:10], updated=[""] * 10, wave=1),
        *(ev.ServerRestarted(server=each, batch=1) for each in ids[:10]),
        ev.WaveStarted(wave=2),
        ev.BatchSubmitting(batch=2, servers=ids[10:210], updated=[""] * 200, wave=2),
        *(ev.ServerRestarted(server=each, batch=2) for each in ids[10:210]),
    ]
    told = []
    for seq, event in enumerate(events, 1):
        state.apply(Recorded(seq, 1_000.0 + seq, "k7f", event))
        told.append("left at this pace" in "\n".join(drawn(state, 80)))

    assert told[15] is False, "the second wave has only begun"
    assert told[-1] is True


def test_the_time_left_says_what_is_not_in_it() -> None:
    """Between the waves stand a soak and a gate, and no pace tells how long they last."""
    of = replace(plan(), soak=60.0, gate="./ok", waves=(Wave(1, 0, 4, "10%"), Wave(2, 4, 30, "60%"), Wave(3, 30, 38)))

    assert "Pace      20 a minute, about 1m39s left at this pace, without soaks and gates" in drawn(history(of), 80)


def test_many_domains_show_those_with_trouble_by_the_end_of_their_names() -> None:
    state = history(plan(domains=[f"eu-west-101-availability-zone-{i:02}" for i in range(20)]))
    domains = [line for line in drawn(state, 100) if line.startswith("…")]

    assert len(domains) == 8
    assert any(line.startswith("…ability-zone-04 ") and "1 failed" in line for line in domains)


@pytest.mark.parametrize(
    ("numbers", "room", "cells"),
    [
        ([0, 0], 5, [0, 5]),
        ([999, 1, 0], 10, [9, 1, 0]),
        ([1, 1, 998], 4, [1, 1, 2]),
        ([1000, 0, 0], 7, [7, 0, 0]),
        ([1, 1, 1, 1], 3, [0, 1, 1, 1]),
    ],
)
def test_whatever_is_not_nothing_is_seen_in_a_bar(numbers: list[int], room: int, cells: list[int]) -> None:
    assert shared(numbers, room) == cells


def test_bars_begin_and_end_below_one_another() -> None:
    rows = [Row("All", Counts(total=100_000, waiting=100_000)), Row("eu-west-101a", Counts(total=7, waiting=7))]
    for width in (40, 60, 80, 200):
        first, second = (line.plain for line in bar_lines(rows, width, CELLS))

        assert re.sub("[^░]", " ", first).rstrip() == re.sub("[^░]", " ", second).rstrip()


class Screen:
    """A terminal, and what a display has written to it."""

    def __init__(self, columns: int, lines: int) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self.screen)
        self._file = io.StringIO()
        self.console = Console(file=self._file, force_terminal=True, width=columns, height=lines)
        self._stream.feed("$ ecsbatch\r\n")

    def written(self) -> str:
        """Show what was written since, and return it."""
        text = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        self._stream.feed(text.replace("\n", "\r\n"))
        return text

    def lines(self) -> list[str]:
        """Return what is seen."""
        return [line.rstrip() for line in self.screen.display]


async def test_a_picture_takes_the_place_of_the_one_before_and_goes_away() -> None:
    terminal = Screen(80, 24)
    display = TerminalDisplay(terminal.console)
    first, second = shown(history(plan())), shown(history(plan(), *OVER_A_LIMIT))
    await display.show(second)
    terminal.written()
    await display.show(first)
    terminal.written()

    assert terminal.lines()[: 1 + len(render_progress(first, 79, 23))] == [
        "$ ecsbatch",
        *(x.plain for x in render_progress(first, 79, 23)),
    ]
    assert "ecsbatch resume" not in "\n".join(terminal.lines())
    await display.stop()
    terminal.written()
    assert [line for line in terminal.lines() if line] == ["$ ecsbatch"]


async def test_what_does_not_change_is_not_written() -> None:
    terminal = Screen(80, 24)
    display = TerminalDisplay(terminal.console)
    await display.show(shown(history(plan())))

    assert terminal.written() != ""
    await display.show(shown(history(plan())))
    assert terminal.written() == ""


@pytest.mark.parametrize(("columns", "lines"), [(40, 12), (60, 24), (80, 12), (200, 50), (20, 6)])
async def test_the_display_is_never_taller_than_the_screen(columns: int, lines: int) -> None:
    """What was on the screen before may scroll away, nothing of the picture does."""
    terminal = Screen(columns, lines)
    display = TerminalDisplay(terminal.console)
    for more in ((), OVER_A_LIMIT, (HELD,), ()):
        await display.show(shown(history(plan(), *more)), "" if more else STOPPING)
        terminal.written()
    expected = drawn(history(plan()), columns - 1, lines - 1, notice=STOPPING)
    seen = "\n".join(terminal.lines()).rstrip()

    assert seen.endswith("\n".join(line.rstrip() for line in expected))


@pytest.mark.parametrize(("screen", "up"), [(80, 3), (79, 3), (40, 4), (20, 6)])
def test_a_screen_that_became_narrower_has_broken_the_lines_before(screen: int, up: int) -> None:
    assert lines_up([79, 0, 10], screen) == up
