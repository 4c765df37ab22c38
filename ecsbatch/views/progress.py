"""The picture of a run that goes on: its progress in, lines out. Pure.

It fits any screen: lines are broken or left out, what matters least first. How to stop or to go on is left out last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from rich.text import Text

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.text import printable, without_code
from ecsbatch.policy.frozen import freeze_words
from ecsbatch.policy.progress import FailedServer, Progress
from ecsbatch.policy.standing import CALM, gate_notice, reason_beyond
from ecsbatch.views.bars import ASCII, CELLS, Row, bar_lines
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


def render_progress(
    progress: Progress, width: int, height: int = 100, *, notice: str = "", repeat: str = "", ascii_only: bool = False
) -> list[Text]:
    """Draw a run into at most ``height`` lines of at most ``width`` columns.

    Args:
        progress: how the run goes on.
        width: of the screen, in columns.
        height: of the screen, in lines.
        notice: a sentence from whoever runs it, where it is ending or sees nothing: no pace is drawn then.
        repeat: flags that commands about this run need too.
        ascii_only: only letters that every terminal has.
    """
    lines = _fitting(list(_blocks(progress, width, notice, repeat, ascii_only=ascii_only)), height)
    if ascii_only:
        lines = [_in_ascii(line) for line in lines]
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="crop" if ascii_only else "ellipsis")
    return lines


def _blocks(progress: Progress, width: int, notice: str, repeat: str, *, ascii_only: bool) -> Iterable[_Block]:
    """Yield the picture from its top to its bottom."""
    whole, wave, *domains = bar_lines(_groups(progress), width, ASCII if ascii_only else CELLS)
    yield _Block(1, _beside(_title(progress, width), width))
    yield _Block(2, [whole])
    if progress.waves > 1:
        yield _Block(6, [wave])
    yield _Block(10, [Text()])
    yield _Block(5, _row("Servers", _servers(progress), width))
    if progress.left_out:
        yield _Block(5, list(_left_out(progress, width, repeat)))
    yield _Block(3, _row("Failures", _failures(progress), width))
    yield _Block(4, _row("Down now", _down(progress), width))
    yield _Block(7, _row("Pace", [] if notice else _pace(progress), width))
    yield _Block(9, _row("Quota", _quota(progress), width))
    if domains:
        yield _Block(12, [Text()])
        yield _Block(11, domains)
    for number, failed in enumerate(progress.last_failures[:_FAILURES]):
        yield _Block(13, [Text()] if not number else [])
        yield _Block(8, list(_failure(failed, width)))
    if news := [*_news(progress, width, repeat), *_sentence(notice, width)]:
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


def _title(progress: Progress, width: int) -> list[Text]:
    how = progress.standing
    parts = [
        Text.assemble("run ", (printable(progress.run_id), "bold")),
        Text(how.text if width >= _NARROW else how.word, "bold" if how.phase in CALM else _URGENT),
    ]
    if progress.waves:
        label = printable(progress.wave_label, 20)
        named = f" ({label})" if label and not label.isdigit() else ""
        parts.append(Text(f"wave {max(progress.wave, 1):,} of {progress.waves:,}{named}"))
    return [*parts, Text(format_span(max(progress.elapsed, 1.0)))]


def _groups(progress: Progress) -> list[Row]:
    rows = [Row("All", progress.servers), Row(f"Wave {max(progress.wave, 1)}", progress.wave_servers)]
    if len(progress.domains) > 1:
        rows += [Row(printable(name) or "(no zone)", progress.domains[name]) for name in _shown_domains(progress)]
    return rows


def _shown_domains(progress: Progress) -> list[str]:
    """Return all domains where they are few, else those with failures and servers down before others."""
    domains = progress.domains
    worst = sorted(domains, key=lambda name: (-domains[name].failures, -domains[name].down, name))
    return sorted(worst[:_DOMAINS])


def _servers(progress: Progress) -> list[Text]:
    counts = progress.servers
    parts = [Text(f"{counts.restarted:,} restarted")]
    if counts.skipped:
        parts.append(Text(f"{counts.skipped:,} skipped"))
    return [*parts, Text(f"{counts.waiting:,} waiting")]


def _left_out(progress: Progress, width: int, repeat: str) -> Iterable[Text]:
    """Say who was left out, and what is to be typed once the run is over to take them up again."""
    most = Counter(progress.left_out).most_common(_LEFT_OUT)
    parts = [Text(f"{n:,} of {printable(name, 20) or 'no zone'}") for name, n in most]
    if (more := len(progress.left_out) - _LEFT_OUT) > 0:
        parts.append(Text(f"{more} more"))
    # While it is paused the commands below let it go on with them at once.
    if progress.status is RunStatus.PAUSED or progress.ends_for_good:
        yield from _row("Left out", parts, width)
        return
    yield from _row("Left out", [*parts, Text("once the run is over type:")], width)
    command = f"ecsbatch resume {printable(progress.run_id)} --retry not_started{repeat}"
    yield from _typed([(command, "take them up")], width)


def _failures(progress: Progress) -> list[Text]:
    counts, most = progress.servers, progress.limits.max_failures
    parts = [Text(f"{counts.failures:,} of {most:,} allowed", "bold red" if counts.failures else "")]
    of_wave = progress.wave_max_failures
    if of_wave is not None and of_wave < most:
        parts.append(Text(f"{progress.wave_servers.failures:,} of {of_wave:,} in this wave"))
    if counts.timed_out or counts.unknown:
        kinds = ((counts.failed, "failed"), (counts.timed_out, "timed out"), (counts.unknown, "unknown"))
        parts += [Text(f"{n:,} {word}") for n, word in kinds if n]
    if counts.forgiven:
        parts.append(Text(f"{counts.forgiven:,} forgiven"))
    return parts


def _down(progress: Progress) -> list[Text]:
    counts = progress.servers
    parts = [Text(f"{counts.down:,} of {progress.limits.max_unavailable:,} allowed")]
    if progress.restarting > 0:
        parts.append(Text(f"{progress.restarting:,} restarting"))
    if progress.not_healthy:
        parts.append(Text(f"{progress.not_healthy:,} not healthy yet"))
    if counts.not_back:
        parts.append(Text(f"{counts.not_back:,} not back up"))
    return parts


def _pace(progress: Progress) -> list[Text]:
    if not progress.sending or not progress.servers.waiting + progress.servers.in_flight:
        return []
    return [Text(part) for part in pace_parts(progress)] or [Text("not known yet")]


def _quota(progress: Progress) -> list[Text]:
    usage, quota = progress.usage, progress.quota
    if quota is None:
        return []
    less = progress.lowered
    every = f"{less.limit if less else quota.limit:,} in {quota.window:g}s"
    again = [Text(f"{quota.limit:,} again in {format_span(less.until - progress.at)} (after a 429)")] if less else []
    if usage is None:
        return [Text(every), *again]
    parts = [Text(f"{usage.free:,} free of {every}")]
    if usage.next_free_in is not None and usage.next_free_in >= 1 and usage.free < usage.limit:
        parts.append(Text(f"more in {format_span(usage.next_free_in)}"))
    return parts + again


def _failure(failed: FailedServer, width: int) -> Iterable[Text]:
    """Write one of the last failures; its id is always whole."""
    what = (failed.reason, failed.code, without_code(failed.message, failed.code))
    words = [printable(failed.name, NAME), WORDS[failed.kind], failed.domain, *what]
    rest = "  ".join(printable(word) for word in words if word)
    if width >= _NARROW:
        return [Text(f"{printable(failed.server)}  {rest}", "red")]
    return [Text(printable(failed.server), "red"), Text(f"  {rest}", "red")]


def _news(progress: Progress, width: int, repeat: str) -> Iterable[Text]:
    """Yield what a person should know beyond the figures, and what to type."""
    run = printable(progress.run_id)
    if progress.frozen is not None:
        words = freeze_words(progress.frozen, progress.at)
        yield from _sentence(f"Frozen {words}. Type in another terminal:", width)
        yield from _typed([(f"ecsbatch thaw{repeat}", "let all runs go on")], width)
    steps: list[tuple[str, str]] = []
    if progress.status is RunStatus.PAUSED:
        by = f" by {printable(progress.paused_by)}" if progress.paused_by else ""
        reason = reason_beyond(progress.status, progress.reason)
        why = f" ({printable(reason)})" if reason else ""
        yield from _sentence(f"Paused{by}{why}. Type in another terminal:", width)
        steps += [(f"ecsbatch resume {run}{option.flags}", option.why) for option in progress.resume_options]
    if progress.held_after:
        yield from _sentence(f"Held after wave {progress.held_after:,}. Type in another terminal:", width)
        steps.append((f"ecsbatch promote {run}", "let the next wave begin"))
    if steps:
        steps.append((f"ecsbatch abort {run}", "end it for good"))
        yield from _typed([(command + repeat, why) for command, why in steps], width)
    yield from _sentence(gate_notice(progress.standing, progress.at), width)
    if progress.throttled_for:
        in_all = format_span(progress.throttled_for)
        yield from _sentence(f"The cloud throttles: no submits for {in_all} in all.", width)


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
