"""The display on a terminal: one picture of a run, a few times a second.

`picture` is pure: state and quota in, lines out. `Display` shows it from a thread, since a terminal that is held
(Ctrl-S) must not hold the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ecsbatch.models import OutcomeKind, RunStatus
from ecsbatch.policy import limits_of
from ecsbatch.state import RolloutState, Tally
from ecsbatch.views.moment import Moment
from ecsbatch.views.printable import STYLES, WORDS, counted, lasting, printable
from ecsbatch.views.summary import is_held
from ecsbatch.views.ways import ways_on

_NARROW: Final = 60
_DOMAINS: Final = 8
_FAILURES: Final = 3
_LABEL: Final = 10
_FAILED: Final = (OutcomeKind.FAILED, OutcomeKind.TIMED_OUT, OutcomeKind.UNKNOWN)


def picture(moment: Moment, width: int, *, ascii_only: bool = False) -> RenderableType:
    """Draw a run into lines of at most ``width`` columns."""
    state = moment.state
    cells = _ASCII if ascii_only else _BLOCKS
    lines: list[Text] = [*_flow(_title(moment), width)]
    lines.append(_bar_line("", state.run, width, cells))
    lines += _flow(_counts(state.run), width)
    lines += _flow(_down(state), width)
    lines += _flow(_quota(moment), width)
    lines += _flow(_time(moment), width)
    if 1 < len(state.domains) <= _DOMAINS:
        lines += _domains(state, width, cells)
    lines += _news(moment, width)
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return Group(*lines)


_BLOCKS: Final = {"restarted": "█", "failed": "▓", "skipped": "▒", "flight": "▌", "waiting": "░"}
_ASCII: Final = {"restarted": "#", "failed": "!", "skipped": "-", "flight": ">", "waiting": "."}


def _title(moment: Moment) -> list[Text]:
    state = moment.state
    waves = state.plan.waves
    parts = [Text.assemble(("run ", "dim"), (printable(state.run_id), "bold"))]
    if waves:
        number = max(state.wave, 1)
        parts.append(Text(f"wave {number} of {len(waves)} ({counted(len(waves[number - 1]), 'server')})"))
    style = "green" if state.status in {RunStatus.RUNNING, RunStatus.SUCCEEDED} else "bold yellow"
    parts.append(Text(state.status.value, style))
    parts.append(Text(lasting(moment.elapsed), "dim"))
    return parts


def _counts(tally: Tally) -> list[Text]:
    parts = [_count(WORDS[kind], tally.ended[kind], STYLES[kind]) for kind in OutcomeKind if tally.ended[kind]]
    return [*parts, _count("waiting", tally.waiting, "")]


def _count(word: str, number: int, style: str) -> Text:
    return Text.assemble((f"{number:,}", style or "bold"), f" {word}")


def _down(state: RolloutState) -> list[Text]:
    limits = limits_of(state.plan, state.limits)
    parts = [
        Text(f"down now {state.down:,} of {limits.max_unavailable:,}"),
        Text(f"{state.run.in_flight:,} on their way"),
    ]
    if state.run.held:
        parts.append(Text(f"{state.run.held:,} not back yet", "yellow"))
    failures = Text(f"failures {state.run.failures:,}, {limits.max_failures:,} allowed")
    failures.stylize("red" if state.run.failures else "dim")
    return [*parts, failures]


def _quota(moment: Moment) -> list[Text]:
    usage = moment.usage
    parts = [Text(f"quota {moment.quota.limit:,}/{moment.quota.window:g}s")]
    if usage is not None:
        parts += [Text(f"{usage.free:,} free"), Text(f"{usage.cooling + usage.held:,} taken")]
        if usage.next_free_in is not None and usage.free < usage.limit:
            parts.append(Text(f"next free in {lasting(usage.next_free_in)}"))
    return parts


def _time(moment: Moment) -> list[Text]:
    left = moment.state.run.waiting + moment.state.run.in_flight
    if moment.state.status is not RunStatus.RUNNING or not left:
        return []
    if not moment.per_minute:
        return [Text("pace not known yet", "dim")]
    minutes = left / moment.per_minute
    return [
        Text(f"{moment.per_minute:,.0f} servers a minute"),
        Text(f"about {lasting(minutes * 60)} left at this pace"),
    ]


def _domains(state: RolloutState, width: int, cells: dict[str, str]) -> list[Text]:
    lines = [Text("")]
    limits = limits_of(state.plan, state.limits).max_unavailable_per_domain
    for name, tally in sorted(state.domains.items()):
        line = _bar_line(printable(name) or "(no zone)", tally, width, cells)
        lines.append(line)
        failures = f", {tally.failures:,} failed" if tally.failures else ""
        of = f" of {limits[name]:,}" if limits and name in limits else ""
        detail = Text(f"{'':{_LABEL}} {tally.down:,}{of} down{failures}", "dim")
        if width < _NARROW or not (tally.down or failures):
            continue
        lines.append(detail)
    return lines


def _bar_line(label: str, tally: Tally, width: int, cells: dict[str, str]) -> Text:
    """Draw what has become of a group: a label where there is one, a bar, its figures."""
    ended = sum(tally.ended.values())
    share = 100 * ended // tally.total if tally.total else 100
    figures = f" {share:3d}%  {ended:,} of {tally.total:,}"
    head = f"{_cut(label, _LABEL):{_LABEL}} " if label else ""
    room = max(width - len(head) - max(len(figures), 20), 5)
    line = Text(head)
    line.append_text(_bar(tally, room, cells))
    line.append(figures)
    return line


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _bar(tally: Tally, room: int, cells: dict[str, str]) -> Text:
    """Share the room out; whatever is not nothing gets a cell, so that one failure in a thousand is seen."""
    parts = (
        (cells["restarted"], tally.ended[OutcomeKind.RESTARTED], "green"),
        (cells["failed"], sum(tally.ended[kind] for kind in _FAILED), "red"),
        (cells["skipped"], tally.ended[OutcomeKind.SKIPPED], "yellow"),
        (cells["flight"], tally.in_flight, "cyan"),
    )
    total = max(tally.total, 1)
    bar = Text()
    left = room
    for cell, number, style in parts:
        length = min(max(number * room // total, 1 if number else 0), left)
        bar.append(cell * length, style)
        left -= length
    bar.append((cells["restarted"] if not tally.waiting and not tally.in_flight else cells["waiting"]) * left, "dim")
    return bar


def _news(moment: Moment, width: int) -> list[Text]:
    """What a person should know beyond the figures."""
    state = moment.state
    lines: list[Text] = []
    if state.status is RunStatus.PAUSED:
        by = f" by {printable(state.paused_by)}" if state.paused_by else ""
        lines.append(Text(f"Paused{by} ({printable(state.reason)}). Type in another terminal:", "yellow"))
        resume = f"ecsbatch resume {state.run_id}"
        lines += _typed(moment, [(resume + way.flags, way.why) for way in ways_on(state)], width)
    if is_held(state):
        lines.append(Text(f"Held after wave {state.wave}. Type in another terminal:", "yellow"))
        lines += _typed(moment, [(f"ecsbatch promote {state.run_id}", "let the next wave begin")], width)
    if state.throttled is not None and state.updated_at - state.throttled[0] < state.throttled[1].wait:
        lines.append(Text(f"The cloud throttles: no submits for {lasting(state.throttled[1].wait)}.", "yellow"))
    failures = list(state.failures)[-_FAILURES:]
    for failure in reversed(failures):
        what = failure.code or failure.reason
        words = [failure.kind.value, failure.server, failure.domain, what, failure.message]
        lines.append(Text("  ".join(printable(word) for word in words if word), "red"))
    if moment.notice:
        lines += list(Text(moment.notice, "bold").wrap(_WRAPPER, width))
    return [Text(""), *lines] if lines else []


def _typed(moment: Moment, steps: Sequence[tuple[str, str]], width: int) -> Iterator[Text]:
    """Write commands whole, whatever the width: half a command is none."""
    abort = (f"ecsbatch abort {moment.state.run_id}", "end it for good")
    for command, why in (*steps, abort):
        line = f"  {printable(command)}{moment.again}"
        beside = f"{line}   {why}"
        yield from Text(beside if len(beside) <= width else line, "yellow").wrap(_WRAPPER, width)


_WRAPPER: Final = Console(width=80, no_color=True)


def _flow(parts: Sequence[Text], width: int) -> Iterable[Text]:
    """Set parts beside one another, into as many lines as they take."""
    line = Text()
    for part in parts:
        if line and len(line) + 3 + len(part) > width:
            yield line
            line = Text()
        if line:
            line.append("   ")
        line.append_text(part)
    if line:
        yield line


class Display:
    """Shows pictures in place, on stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    async def start(self) -> None:
        """Take the terminal's last lines."""
        await asyncio.to_thread(self._live.start)

    async def show(self, moment: Moment) -> None:
        """Draw a run as it is now."""
        drawn = picture(moment, max(self._console.width - 1, 20), ascii_only=self._console.options.ascii_only)
        await asyncio.to_thread(self._live.update, drawn, refresh=True)

    async def stop(self) -> None:
        """Give the lines back."""
        await asyncio.to_thread(self._live.stop)
