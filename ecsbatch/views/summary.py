"""Runs for people: what one came to, what failed and where, what can be done next; and many in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import wrap
from types import MappingProxyType
from typing import Final

from ecsbatch.model.failures import Failure
from ecsbatch.model.outcome import OutcomeKind, RunStatus, SkipReason
from ecsbatch.model.run import RunRecord
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Stage
from ecsbatch.model.text import counted, printable, without_code
from ecsbatch.policy import decide as policy
from ecsbatch.policy.frozen import freeze_notice, freeze_of
from ecsbatch.policy.pace import lasted
from ecsbatch.policy.quota_now import lowered_notice
from ecsbatch.policy.resume_options import LEFT_OUT, STANDING_STILL, ends_for_good, resume_options
from ecsbatch.policy.standing import (
    Standing,
    awaits_promotion,
    blind_notice,
    failed_over_notice,
    gate_notice,
    reason_beyond,
    standing,
)
from ecsbatch.views.text import NAME, NOTHING_TO_REPEAT, WORDS, RepeatFlags, format_span, utc_text, wrap_line

_WIDTH: Final = 80
_COLUMN: Final = 12
_TOP: Final = 4
"""Reasons, domains and hosts that are named."""

_NOT_STARTED: Final = OutcomeKind.NOT_STARTED

_FAILURES: Final = 5
"""Failures that are written, the last ones."""

_MESSAGE: Final = 74
_WIDEST: Final = 44
"""Columns of a command that has its reason beside it."""

_TITLES: Final = ("RUN", "STATUS", "DONE", "OF", "STARTED (UTC)", "LEASE", "HOLDER", "SINCE (UTC)")
_RIGHT: Final = frozenset({"DONE", "OF", "LEASE"})
_CUT: Final = "HOLDER"
_OF_LEASES: Final = frozenset({"LEASE", "SINCE (UTC)"})
"""Columns of a store that machines share."""

_BETWEEN: Final = 2
_WIDEST_STATUS: Final = 30
_LEAST: Final = 8
"""Columns that the table's last column has, or none."""


def summary_lines(
    state: RolloutState, repeat: RepeatFlags = NOTHING_TO_REPEAT, now: float | None = None, head: str = ""
) -> list[str]:
    """Write a run for people: what it came to, and what to do next.

    Args:
        state: of the run.
        repeat: flags that the next commands need too.
        now: seconds since 1970, for a run that has no end yet.
        head: of its record, "" where it is not to be told.
    """
    return [*outcome_lines(state, now), *head_lines(head), *next_steps(state, repeat)]


def head_lines(head: str) -> list[str]:
    """Tell a record's head, "" where it is not to be told."""
    return ["", f"Record head {printable(head)}"] if head else []


def outcome_lines(state: RolloutState, now: float | None = None) -> list[str]:
    """Write what a run came to: a headline, the counts, what the failures have in common."""
    time_now = state.updated_at if now is None else now
    lines = [headline(state, now)]
    freeze = freeze_of(state, time_now)
    frozen = freeze_notice(freeze, time_now) if freeze is not None else ""
    gate = gate_notice(standing(state, time_now), time_now)
    cloud = (blind_notice(state, time_now), failed_over_notice(state, time_now), lowered_notice(state, time_now))
    for notice in (frozen, gate, *cloud):
        lines += wrap(notice, _WIDTH, break_on_hyphens=False)
    if state.aborting and not state.status.over and state.status is not RunStatus.RUNNING:
        lines.append("It is being aborted: whoever goes on with it only looks after its servers under way.")
    if state.message:
        lines.append(printable(state.message))
    if later := _failed_since(state):
        lines.append(later)
    lines.append("")
    lines += [f"  {WORDS[kind]:{_COLUMN}}{n:>9,}{_why(state, kind)}" for kind, n in _counts(state)]
    if left_out := state.left_out_by:
        lines.append(f"  {'left out':{_COLUMN}}{left_out.total():>9,}   {_named(left_out)}")
    if not_retried := state.not_retried_by:
        why = f"{_reasons(not_retried)}: failed until seen restarted"
        lines.append(f"  {'not retried':{_COLUMN}}{not_retried.total():>9,}   {why}")
    if state.run.in_flight:
        lines.append(f"  {'on their way':{_COLUMN}}{state.run.in_flight:>9,}")
    lines += _down(state)
    return lines + _not_found(state.not_found) + _failures(state)


def headline(state: RolloutState, now: float | None = None) -> str:
    """Say in one line how a run stands."""
    reason = "" if state.status is RunStatus.PAUSED else reason_beyond(state.status, state.reason)
    why = f" ({printable(reason)})" if reason else ""
    done = state.counts[OutcomeKind.RESTARTED]
    stands = standing(state, state.updated_at if now is None else now)
    rest = f"{why}{_took(state, now)}: {done:,} of {state.run.total:,} restarted."
    head = f"Run {printable(state.run_id)}"
    if state.status is RunStatus.FAILED:
        return f"{head} {_how_it_failed(state)}{rest}"
    line = f"{head} {stands.text}{rest}"
    return line if len(line) <= _WIDTH else f"{head} {stands.word}{rest}"


def _how_it_failed(state: RolloutState) -> str:
    return "ended with failures" if _has_failures(state) else "ended with servers left out"


def _has_failures(state: RolloutState) -> bool:
    return any(n and kind.is_failure for kind, n in state.run.ended.items())


def _took(state: RolloutState, now: float | None) -> str:
    """Say how long it took; nobody drives an orphaned one, so that it takes no more time."""
    if state.ended_at:
        return f" after {format_span(state.elapsed)}"
    if state.status is RunStatus.ORPHANED and now is not None:
        heard = format_span(max(now - state.updated_at, 0.0))
        begun = format_span(max(now - (state.started_at or now), 0.0))
        return f", begun {begun} ago and last heard of {heard} ago"
    return f", {format_span(lasted(state, now))} so far"


def _failed_since(state: RolloutState) -> str:
    """Say how many failures there are now, where servers under way failed after the run had stopped for some."""
    breach = policy.exceeded(state)
    if breach is None or state.reason != breach.limit or state.message.startswith(str(breach)):
        return ""
    return f"{counted(breach.failures, 'failure')} by now, with servers that were under way then."


def _counts(state: RolloutState) -> list[tuple[OutcomeKind, int]]:
    counts = state.counts
    counts[OutcomeKind.UNKNOWN] -= state.run.in_flight
    counts[OutcomeKind.NOT_STARTED] -= state.left_out_by.total()
    return [(kind, counts[kind]) for kind in OutcomeKind if counts[kind] or kind is OutcomeKind.RESTARTED]


def _why(state: RolloutState, kind: OutcomeKind) -> str:
    """Say why servers were skipped, beside their number."""
    if kind is not OutcomeKind.SKIPPED:
        return ""
    return f"   {_reasons(state.skipped_by)}"


def _named(domains: Counter[str]) -> str:
    """Name the domains with the most servers, with their numbers where there are several."""
    named = [f"{printable(name, 40) or 'no zone'} {n:,}" for name, n in domains.most_common(_TOP)]
    more = f" and {len(domains) - _TOP} more" if len(domains) > _TOP else ""
    return printable(next(iter(domains)), 40) if len(domains) == 1 else ", ".join(named) + more


def _reasons(counts: Counter[str]) -> str:
    """Name the most frequent reasons, with their numbers where there are several."""
    reasons = [(printable(reason).replace("_", " "), n) for reason, n in counts.most_common(_TOP)]
    return reasons[0][0] if len(reasons) == 1 else ", ".join(f"{reason} {n:,}" for reason, n in reasons)


def _down(state: RolloutState) -> list[str]:
    if state.status is RunStatus.RUNNING or not state.down:
        return []
    lines = [f"  {'not back':{_COLUMN}}{state.run.held:>9,}   not seen up since"] if state.run.held else []
    if not state.status.over:
        allowed = policy.limits_of(state.plan, state.limits).max_unavailable
        why = f"of {allowed:,} allowed, those on their way among them"
        if not state.run.in_flight:
            alone = sum(state.stage[i] == Stage.SKIPPED for i in state.held)
            why = (
                f"of {allowed:,} allowed, {alone:,} of them left alone"
                if alone
                else f"because of us, of {allowed:,} allowed"
            )
        lines.append(f"  {'down':{_COLUMN}}{state.down:>9,}   {why}")
    return lines


def _not_found(ids: Sequence[str]) -> list[str]:
    if not ids:
        return []
    more = [f"  and {len(ids) - _TOP:,} more"] if len(ids) > _TOP else []
    title = f"{counted(len(ids), 'id')} that {'does' if len(ids) == 1 else 'do'} not exist:"
    return ["", title, *(f"  {printable(id_)}" for id_ in ids[:_TOP]), *more]


def _failures(state: RolloutState) -> list[str]:
    if not _has_failures(state):
        return []
    lines = ["", "What failed:"]
    for key, noun in (("code", "by reason"), ("domain", "by domain")):
        if counts := state.failed_by[key]:
            top = ", ".join(
                f"{printable(name, 40)} {n:,}{_of(state, key, name)}" for name, n in counts.most_common(_TOP)
            )
            more = f" and {len(counts) - _TOP} more" if len(counts) > _TOP else ""
            lines += wrap_line(f"  {noun:{_COLUMN}}{top}{more}", _WIDTH)
    return [*lines, *_hosts(state), *_last(list(state.failures)[-_FAILURES:], state.plan.fleet)]


def _hosts(state: RolloutState) -> list[str]:
    """Name the hosts on which many of the failures were; one or two of many are chance."""
    total = state.failed_by["host"].total()
    several = [(name, n) for name, n in state.failed_by["host"].most_common(_TOP) if n > 1 and n * 3 >= total]
    labels = ["by host", *[""] * _TOP]
    return [
        f"  {label:{_COLUMN}}{printable(name, 60)} {n:,}" for label, (name, n) in zip(labels, several, strict=False)
    ]


def _last(failures: Sequence[Failure], fleet: Fleet) -> list[str]:
    """Write the last failures, and a message once where several say the same."""
    lines: list[str] = []
    message = ""
    for failure in failures:
        says = without_code(failure.message, failure.code)
        if message and says != message:
            lines += _message(message)
        message = says
        name = printable(fleet.name_of(failure.server), NAME)
        words = [failure.server, name, WORDS[failure.kind], failure.domain, failure.reason, failure.code]
        lines.append("  " + "  ".join(printable(word, 40) for word in words if word))
    return lines + _message(message)


def _message(text: str) -> list[str]:
    return [f"      {line}" for line in wrap(printable(text), _MESSAGE, break_on_hyphens=False)]


def _of(state: RolloutState, key: str, name: str) -> str:
    return f" of {state.domains[name].total:,}" if key == "domain" and name in state.domains else ""


def next_steps(state: RolloutState, repeat: RepeatFlags = NOTHING_TO_REPEAT) -> list[str]:
    """Name the commands that lead on from here."""
    run = printable(state.run_id)
    resume = f"ecsbatch resume {run}{repeat.go_on}{repeat.resume}"
    steps = [(resume + option.flags, option.why) for option in resume_options(state)]
    left_out = 0 if ends_for_good(state) else state.left_out_by.total()
    if state.status is RunStatus.RUNNING and left_out:
        why = f"once it is over: take up {counted(left_out, 'server')} left out"
        steps.append((f"{resume} --retry {','.join(LEFT_OUT)}", why))
    steps += _what_is_left(state, repeat)
    if awaits_promotion(state):
        steps.append((f"ecsbatch promote {run}{repeat.read}", f"wave {state.wave} is done: let the next one begin"))
    if state.status in STANDING_STILL and not state.aborting:
        steps.append((f"ecsbatch abort {run}{repeat.go_on}", "end it for good"))
    if state.skipped_by[SkipReason.NOT_FOUND]:
        steps.append((f"ecsbatch report {run}{repeat.read} --outcome skipped", "all that was skipped, and why"))
    steps.append((f"ecsbatch report {run}{repeat.read} -o csv", f"every one of {counted(state.run.total, 'server')}"))
    return ["", "Next:", *_aligned(steps)]


def left_command(state: RolloutState, repeat: str = "") -> str:
    """Return the command that writes down who is not restarted, be it for a failure or not begun; "" for nobody."""
    left = [kind.value for kind in OutcomeKind if (kind.is_failure or kind is _NOT_STARTED) and state.counts[kind]]
    if not left:
        return ""
    return f"ecsbatch report {printable(state.run_id)}{repeat} --outcome {','.join(left)} -o csv --out left.csv"


def _what_is_left(state: RolloutState, repeat: RepeatFlags) -> list[tuple[str, str]]:
    """Name the command that writes down who is not restarted once a run is over, and what restarts these from there."""
    report = left_command(state, repeat.read)
    if not state.status.over or not report:
        return []
    steps = [(report, "what is left, as a list for another run")]
    if state.status is RunStatus.ABORTED:
        steps.append((f"ecsbatch restart left.csv{repeat.go_on}", "restart what is left"))
    return steps


def _aligned(steps: Sequence[tuple[str, str]]) -> list[str]:
    """Set reasons beside the commands, or below them where that would be too wide."""
    width = max(len(command) for command, _ in steps)
    if width > _WIDEST:
        return [line for command, why in steps for line in (f"  {command}", f"      {why}")]
    return [f"  {command:{width}}  {why}" for command, why in steps]


def run_lines(
    records: Sequence[RunRecord], width: int = 80, standings: Mapping[str, Standing] = MappingProxyType({})
) -> list[str]:
    """Write runs below one another; the holder is cut, columns that have no room at all are left out.

    Where leases by time say who lives, since machines share the store, these are told too.

    Args:
        records: the runs.
        width: of the screen, in columns.
        standings: how they stand, by their ids; of others the status alone is known.
    """
    rows = [_TITLES, *(_row(record, standings.get(record.run_id)) for record in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = [[row[0].ljust(widths[0])] for row in rows]
    left = width - widths[0]
    leased = any(record.lease_left is not None for record in records)
    for column in range(1, len(_TITLES)):
        if _TITLES[column] in _OF_LEASES and not leased:
            continue
        room = min(widths[column], left - _BETWEEN) if _TITLES[column] == _CUT else widths[column]
        if room < min(_LEAST, widths[column]) or left < room + _BETWEEN:
            break
        left -= room + _BETWEEN
        for cells, row in zip(lines, rows, strict=True):
            text = printable(row[column], room)
            cells.append(text.rjust(room) if _TITLES[column] in _RIGHT else text.ljust(room))
    return [(" " * _BETWEEN).join(cells).rstrip() for cells in lines]


def _row(record: RunRecord, how: Standing | None) -> tuple[str, ...]:
    status = record.status.value if how is None else how.text if len(how.text) <= _WIDEST_STATUS else how.word
    started = utc_text(record.created_at)
    figures = (f"{record.ended:,}", f"{record.total:,}")
    since = utc_text(record.holder.since)
    return (printable(record.run_id), status, *figures, started, _lease(record), _holder(record), since)


def _holder(record: RunRecord) -> str:
    """Name the last holder, and its machine where that may be another than this one."""
    name, host = record.holder.name, record.holder.host
    return printable(name if record.lease_left is None or name.endswith(f"@{host}") else f"{name} on {host}")


def _lease(record: RunRecord) -> str:
    left = record.lease_left
    return "" if left is None else f"{left:.1f}s" if left > 0 else "ran out"
