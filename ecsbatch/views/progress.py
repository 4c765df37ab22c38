"""The picture of a run that goes on: a snapshot in, lines out. Pure.

It fits any screen: lines are broken or left out, what matters least first. How to stop or to go on is left out last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from ecsbatch.model.failures import Failure
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Tally
from ecsbatch.model.text import printable, without_code
from ecsbatch.policy.decide import Limits, limits_of, unhealthy
from ecsbatch.policy.pace import can_send
from ecsbatch.policy.resume_options import ends_for_good, resume_options
from ecsbatch.policy.standing import CALM, awaits_promotion, gate_notice
from ecsbatch.views.bars import ASCII, CELLS, Row, bar_lines
from ecsbatch.views.snapshot import Snapshot
from ecsbatch.views.standing import pace_parts
from ecsbatch.views.text import NAME, WORDS, format_span, wrap_command

_LABEL: Final = 10
_DOMAINS: Final = 8
_FAILURES: Final = 3
_LEFT_OUT: Final = 4
_NARROW: Final = 70
_BESIDE: Final = 3
_URGENT: Final = "bold magenta"


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines that are shown together or not at all; the lowest rank is shown first."""

    rank: int
    lines: Sequence[Text]


def render_progress(snapshot: Snapshot, width: int, height: int = 100, *, ascii_only: bool = False) -> list[Text]:
    """Draw a run into at most ``height`` lines of at most ``width`` columns.

    Args:
        snapshot: the run as it is now, and what surrounds it.
        width: of the screen, in columns.
        height: of the screen, in lines.
        ascii_only: only letters that every terminal has.
    """
    lines = _fitting(list(_blocks(snapshot, width, ascii_only=ascii_only)), height)
    if ascii_only:
        lines = [_in_ascii(line) for line in lines]
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="crop" if ascii_only else "ellipsis")
    return lines


def _blocks(snapshot: Snapshot, width: int, *, ascii_only: bool) -> Iterable[_Block]:
    """Yield the picture from its top to its bottom."""
    state = snapshot.state
    limits = limits_of(state.plan, state.limits)
    whole, wave, *domains = bar_lines(_groups(state), width, ASCII if ascii_only else CELLS)
    yield _Block(1, _beside(_title(snapshot, width), width))
    yield _Block(2, [whole])
    if len(state.plan.waves) > 1:
        yield _Block(6, [wave])
    yield _Block(10, [Text()])
    yield _Block(5, _row("Servers", _servers(state.run), width))
    if state.left_out_by:
        yield _Block(5, list(_left_out(snapshot, width)))
    yield _Block(3, _row("Failures", _failures(state, limits), width))
    yield _Block(4, _row("Down now", _down(state, limits), width))
    yield _Block(7, _row("Pace", _pace(snapshot), width))
    yield _Block(9, _row("Quota", _quota(snapshot), width))
    if domains:
        yield _Block(12, [Text()])
        yield _Block(11, domains)
    for number, failure in enumerate(list(state.failures)[: -_FAILURES - 1 : -1]):
        yield _Block(13, [Text()] if not number else [])
        yield _Block(8, list(_failure(failure, state.plan.fleet.name_of(failure.server), width)))
    if news := list(_news(snapshot, width)):
        yield _Block(14, [Text()])
        yield _Block(0, news)


def _fitting(blocks: Sequence[_Block], height: int) -> list[Text]:
    """Choose the blocks that there is room for; the first is shown whatever its size."""
    left, shown = height, set[int]()
    for number, block in sorted(enumerate(blocks), key=lambda item: item[1].rank):
        if len(block.lines) <= left or not shown:
            shown.add(number)
            left -= len(block.lines)
    return [line for number, block in enumerate(blocks) if number in shown for line in block.lines][:height]


def _title(snapshot: Snapshot, width: int) -> list[Text]:
    state, how = snapshot.state, snapshot.standing
    parts = [
        Text.assemble("run ", (printable(state.run_id), "bold")),
        Text(how.text if width >= _NARROW else how.word, "bold" if how.phase in CALM else _URGENT),
    ]
    if waves := len(state.plan.waves):
        number = max(state.wave_under_way, 1)
        label = printable(state.plan.waves[number - 1].label, 20)
        parts.append(Text(f"wave {number:,} of {waves:,}" + (f" ({label})" if label and not label.isdigit() else "")))
    return [*parts, Text(format_span(max(snapshot.elapsed, 1.0)))]


def _groups(state: RolloutState) -> list[Row]:
    wave = max(state.wave_under_way, 1)
    tally = state.waves[wave - 1] if state.waves else Tally()
    rows = [Row("All", state.run), Row(f"Wave {wave}", tally)]
    if len(state.domains) > 1:
        rows += [Row(printable(name) or "(no zone)", state.domains[name]) for name in _shown_domains(state)]
    return rows


def _shown_domains(state: RolloutState) -> list[str]:
    """Return all domains where they are few, else those with failures and servers down before others."""
    worst = sorted(state.domains, key=lambda name: (-state.domains[name].failures, -state.domains[name].down, name))
    return sorted(worst[:_DOMAINS])


def _servers(tally: Tally) -> list[Text]:
    parts = [Text(f"{tally.ended[OutcomeKind.RESTARTED]:,} restarted")]
    if tally.ended[OutcomeKind.SKIPPED]:
        parts.append(Text(f"{tally.ended[OutcomeKind.SKIPPED]:,} skipped"))
    return [*parts, Text(f"{tally.waiting:,} waiting")]


def _left_out(snapshot: Snapshot, width: int) -> Iterable[Text]:
    """Say who was left out, and what is to be typed once the run is over to take them up again."""
    state = snapshot.state
    parts = [
        Text(f"{n:,} of {printable(name, 20) or 'no zone'}") for name, n in state.left_out_by.most_common(_LEFT_OUT)
    ]
    if (more := len(state.left_out_by) - _LEFT_OUT) > 0:
        parts.append(Text(f"{more} more"))
    # While it is paused the commands below let it go on with them at once.
    if state.status is RunStatus.PAUSED or ends_for_good(state):
        yield from _row("Left out", parts, width)
        return
    yield from _row("Left out", [*parts, Text("once the run is over type:")], width)
    command = f"ecsbatch resume {printable(state.run_id)} --retry not_started{snapshot.repeat}"
    yield from _typed([(command, "take them up")], width)


def _failures(state: RolloutState, limits: Limits) -> list[Text]:
    run = state.run
    parts = [Text(f"{run.failures:,} of {limits.max_failures:,} allowed", "bold red" if run.failures else "")]
    per_wave = limits.max_failures_per_wave
    wave = state.wave_under_way
    if per_wave and 0 < wave <= len(per_wave) and per_wave[wave - 1] < limits.max_failures:
        parts.append(Text(f"{state.waves[wave - 1].failures:,} of {per_wave[wave - 1]:,} in this wave"))
    kinds = [kind for kind in OutcomeKind if kind.is_failure and run.ended[kind]]
    if any(kind is not OutcomeKind.FAILED for kind in kinds):
        parts += [Text(f"{run.ended[kind]:,} {WORDS[kind]}") for kind in kinds]
    if forgiven := sum(run.ended[kind] for kind in kinds) - run.failures:
        parts.append(Text(f"{forgiven:,} forgiven"))
    return parts


def _down(state: RolloutState, limits: Limits) -> list[Text]:
    parts = [Text(f"{state.down:,} of {limits.max_unavailable:,} allowed")]
    waiting = len(unhealthy(state))
    if state.run.in_flight > waiting:
        parts.append(Text(f"{state.run.in_flight - waiting:,} restarting"))
    if waiting:
        parts.append(Text(f"{waiting:,} not healthy yet"))
    if state.run.held:
        parts.append(Text(f"{state.run.held:,} not back up"))
    return parts


def _pace(snapshot: Snapshot) -> list[Text]:
    state, found = snapshot.state, snapshot.pace
    if not can_send(state) or not state.run.waiting + state.run.in_flight or snapshot.notice:
        return []
    return [Text(part) for part in pace_parts(state, found)] or [Text("not known yet")]


def _quota(snapshot: Snapshot) -> list[Text]:
    usage, quota = snapshot.usage, snapshot.quota
    every = f"{quota.limit:,} in {quota.window:g}s"
    if usage is None:
        return [Text(every)]
    parts = [Text(f"{usage.free:,} free of {every}")]
    if usage.next_free_in is not None and usage.next_free_in >= 1 and usage.free < usage.limit:
        parts.append(Text(f"more in {format_span(usage.next_free_in)}"))
    return parts


def _failure(failure: Failure, name: str, width: int) -> Iterable[Text]:
    """Write one of the last failures; its id is always whole."""
    what = (failure.reason, failure.code)
    message = without_code(failure.message, failure.code)
    words = [printable(name, NAME), WORDS[failure.kind], failure.domain, *what, message]
    rest = "  ".join(printable(word) for word in words if word)
    if width >= _NARROW:
        return [Text(f"{printable(failure.server)}  {rest}", "red")]
    return [Text(printable(failure.server), "red"), Text(f"  {rest}", "red")]


def _news(snapshot: Snapshot, width: int) -> Iterable[Text]:
    """Yield what a person should know beyond the figures, and what to type."""
    state, run = snapshot.state, printable(snapshot.state.run_id)
    steps: list[tuple[str, str]] = []
    if state.status is RunStatus.PAUSED:
        by = f" by {printable(state.paused_by)}" if state.paused_by else ""
        why = f" ({printable(state.reason)})" if state.reason not in {"", "paused"} else ""
        yield from _sentence(f"Paused{by}{why}. Type in another terminal:", width)
        steps += [(f"ecsbatch resume {run}{option.flags}", option.why) for option in resume_options(state)]
    if awaits_promotion(state):
        yield from _sentence(f"Held after wave {state.wave:,}. Type in another terminal:", width)
        steps.append((f"ecsbatch promote {run}", "let the next wave begin"))
    if steps:
        steps.append((f"ecsbatch abort {run}", "end it for good"))
        yield from _typed([(command + snapshot.repeat, why) for command, why in steps], width)
    if waits := gate_notice(state, snapshot.now):
        yield from _sentence(waits, width)
    if state.throttled is not None and state.updated_at - state.throttled[0] < state.throttled[1].wait:
        yield from _sentence(f"The cloud throttles: no submits for {format_span(state.throttled[1].wait)}.", width)
    if snapshot.notice:
        yield from _sentence(snapshot.notice, width)


def _sentence(text: str, width: int) -> Iterable[Text]:
    return (Text(line, _URGENT) for line in _wrapped(text, width))


def _typed(steps: Sequence[tuple[str, str]], width: int) -> Iterable[Text]:
    """Yield commands that can be copied whole, whatever the width: half a command is none, or another one."""
    longest = max(len(command) for command, _ in steps)
    beside = [f"  {command:{longest}}   {why}" for command, why in steps]
    if max(map(len, beside)) <= width:
        return [Text(line) for line in beside]
    if longest + 2 <= width:
        return [Text(f"  {command}") for command, _ in steps]
    return [Text(line) for command, _ in steps for line in wrap_command(command, width)]


def _row(label: str, parts: Sequence[Text], width: int) -> list[Text]:
    """Set a label before its parts; what does not fit beside them goes below."""
    head, room = f"{label:{_LABEL}}", max(width - _LABEL, 10)
    lines = _beside(parts, room, ", ")
    return [Text.assemble(head if not number else " " * _LABEL, line) for number, line in enumerate(lines)]


def _beside(parts: Sequence[Text], width: int, between: str = " " * _BESIDE) -> list[Text]:
    """Set parts beside one another, into as many lines as they take."""
    lines: list[Text] = []
    for number, part in enumerate(parts, 1):
        room = width - (0 if number == len(parts) else len(between.rstrip()))
        if lines and len(lines[-1]) + len(between) + len(part) <= room:
            lines[-1].append(between).append_text(part)
            continue
        if lines:
            lines[-1].append(between.rstrip())
        lines.append(Text().append_text(part))
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _in_ascii(line: Text) -> Text:
    """Replace each other letter by one of ASCII, so that columns and colours stay."""
    plain = "".join(c if c.isascii() else "~" if c == "…" else "?" for c in line.plain)
    return Text(plain, spans=line.spans, style=line.style)
