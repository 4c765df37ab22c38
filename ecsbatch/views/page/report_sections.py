"""The report's summary in plain HTML: what a run came to, for who has no script, prints it or has it mailed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from ecsbatch.model.json_text import stamp
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.text import counted, without_code
from ecsbatch.policy.counts import Counts
from ecsbatch.views.page.drawings import drawings
from ecsbatch.views.page.figures import Figures, Took
from ecsbatch.views.page.html_text import Cell, beside, row, rows_of, safe, section, table
from ecsbatch.views.page.reported_run import ReportedRun
from ecsbatch.views.plan import strategy_rows
from ecsbatch.views.receipt import receipt_lines
from ecsbatch.views.steering import limit_text, steering_lines
from ecsbatch.views.summary import outcome_lines
from ecsbatch.views.text import WORDS, format_span, utc_text

_TOP: Final = 10
"""Reasons and hosts of failures that are named."""

_DOMAINS: Final = 200
_WAVES: Final = 500
"""Rows of these tables at most."""

_STEERED: Final = 50
_RECEIPT: Final = 100
"""Columns of the audit's receipt."""

_ALWAYS: Final = ("restarted", "failed", "timed_out", "unknown", "skipped")
_IF_ANY: Final = ("left_out", "waiting", "in_flight", "not_back")
"""Counts that a table has a column for; those of the second kind only where there are any."""

_WORDS: Final = {"waiting": "not started", "in_flight": "on their way", "not_back": "not back"}


def sections(report: ReportedRun, figures: Figures) -> Iterator[str]:
    """Yield the parts of a report's summary, what matters most first."""
    yield '<article class="summary">\n'
    yield _headline(report)
    yield _counts(report)
    yield _over_time(report)
    yield _audit(report)
    yield _domains(report)
    yield _waves(report, figures)
    yield _durations(report, figures)
    yield _failures(report, figures)
    yield _steering(report)
    yield _settings(report)
    yield "</article>\n"


def _headline(report: ReportedRun) -> str:
    lines = outcome_lines(report.state, report.at)
    head, *notices = lines[: lines.index("")]
    more = f"<p>{safe(' '.join(notices), 2_000)}</p>\n" if notices else ""
    state = report.state
    begun = f"Begun {_when(state.started_at)}" if state.started_at else "Not begun"
    ended = f", ended {_when(state.ended_at)}" if state.ended_at else ", not ended"
    written = f"Written {_when(report.at)} by ecsbatch {safe(report.version)}, as of event {state.seq:,}."
    return f"<h1>{safe(head)}</h1>\n{more}<p>{begun}{ended}. {written}</p>\n"


def _when(ts: float | None) -> str:
    """Write a time for people and, to the millisecond, for programs."""
    if ts is None:
        return ""
    return f'<time datetime="{stamp(ts)}">{_plain(ts)}</time>'


def _counts(report: ReportedRun) -> str:
    counts = Counts.of(report.state.run).as_dict()
    shown = ["total", *_ALWAYS, *(name for name in _IF_ANY if counts[name])]
    told = "".join(f"<div><dt>{_word(name)}</dt><dd>{counts[name]:,}</dd></div>" for name in shown)
    return f'<dl class="counts">{told}</dl>\n'


def _word(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " "))


def _over_time(report: ReportedRun) -> str:
    return section("over-time", "Over time", drawings(report.timeline.as_dict()))


def _audit(report: ReportedRun) -> str:
    if report.receipt is None:
        why = f": {report.not_audited}" if report.not_audited else "."
        return section("audit", "Audit", f"<p>The record was not audited{safe(why)}</p>\n")
    lines = receipt_lines(report.receipt, _RECEIPT)
    verdict = "kept" if report.receipt.ok else "broken"
    rest = "\n".join(safe(line, len(line)) for line in lines[1:])
    head = f'<p class="verdict {verdict}"><strong>{safe(lines[0])}</strong></p>\n'
    return section("audit", "Audit", head, f"<pre>{rest}</pre>\n")


def _domains(report: ReportedRun) -> str:
    tallies = {name: Counts.of(tally).as_dict() for name, tally in report.state.domains.items()}
    whole = Counts.of(report.state.run).as_dict()
    shown = [*_ALWAYS, *(name for name in _IF_ANY if whole[name]), "total"]
    order = sorted(tallies.items(), key=lambda item: (-item[1]["failures"], item[0]))
    rows = [row([name or "no zone", *(counts[each] for each in shown)]) for name, counts in order[:_DOMAINS]]
    heads = ["Zone", *(f"{_word(name).capitalize()}#" for name in shown)]
    foot = row(["All", *(whole[each] for each in shown)])
    told = table("Servers by zone and outcome", heads, rows, foot)
    return section("zones", "Zones", told, _more(len(order), _DOMAINS))


def _more(there: int, shown: int) -> str:
    return f"<p>And {there - shown:,} more.</p>\n" if there > shown else ""


def _waves(report: ReportedRun, figures: Figures) -> str:
    state = report.state
    told = report.timeline.as_dict()["waves"]
    heads = ["Wave", "Servers#", "Restarted#", "Failures#", "Begun", "Took", "Median", "95 %", "Slowest"]
    rows: list[str] = []
    for wave, tally in zip(state.plan.waves[:_WAVES], state.waves, strict=False):
        counts, times = Counts.of(tally), told.get(str(wave.number), {})
        label = f" ({wave.label})" if wave.label and wave.label != str(len(wave)) else ""
        failures = counts.failed + counts.timed_out + counts.unknown
        began, ended = times.get("began"), times.get("ended")
        cells: list[Cell] = [f"{wave.number}{label}", counts.total, counts.restarted, failures]
        cells += [_plain(began), format_span(ended - began) if ended else "", *_spread(figures.took_in(wave.number))]
        rows.append(row(cells))
    by_wave = table("Waves, with how long a restart took", heads, rows)
    return section("waves-told", "Waves", by_wave, _more(len(state.plan.waves), _WAVES))


def _plain(ts: float | None) -> str:
    return "" if ts is None else f"{utc_text(ts)}Z"


def _spread(took: Took | None) -> tuple[Cell, Cell, Cell]:
    if took is None:
        return None, None, None
    return _seconds(took.median), _seconds(took.p95), _seconds(took.longest)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 60 else format_span(seconds)  # noqa: PLR2004 - a minute


def _durations(report: ReportedRun, figures: Figures) -> str:
    took = figures.took()
    if took is None:
        return ""
    told = (
        f"<p>{counted(took.servers, 'restart')} took {_seconds(took.median)} in the median, "
        f"{_seconds(took.p95)} at most in 95 of 100, {_seconds(took.longest)} at the longest, "
        "from the request until the outcome was on record.</p>\n"
    )
    slowest = table("The slowest restarts", ["Server", "Zone", "Wave#", "Took"], _slowest(report, figures))
    return section("durations", "Durations", told, slowest)


def _slowest(report: ReportedRun, figures: Figures) -> Iterator[str]:
    plan = report.state.plan
    for seconds, i in figures.slowest:
        wave = plan.wave_of(i)
        number = wave.number if wave is not None else None
        yield row([plan.fleet.label(i), plan.fleet.domain(i), number, _seconds(seconds)])


def _failures(report: ReportedRun, figures: Figures) -> str:
    if not figures.failures:
        return section("failures", "Failures", "<p>None.</p>\n")
    state = report.state

    def of_zone(name: str) -> int | None:
        return state.domains[name].total if name in state.domains else None

    parts = [
        _shares("Failures by reason", "Reason", figures.by_reason),
        _shares("Failures by zone", "Zone", figures.by_zone, of_zone),
        _shares("Failures by host", "Host", figures.by_host) if figures.by_host else "",
    ]
    shown = f", the first {len(figures.failed):,} of them" if figures.failures > len(figures.failed) else ""
    heads = ["Server", "Outcome", "Why", "Message", "Zone", "Host", "Wave#", "Sent#", "Ended"]
    rows = (_failure(report, i, outcome) for i, outcome in figures.failed)
    listed = table(f"{counted(figures.failures, 'failure')}{shown}", heads, rows, tall=True)
    return section("failures", "Failures", beside(*parts), listed)


def _shares(caption: str, head: str, counts: Counter[str], of: Callable[[str], int | None] = lambda _: None) -> str:
    top = counts.most_common(_TOP)
    known = any(of(name) is not None for name, _ in top)
    rows = [row([name or f"no {head.lower()}", n, *([of(name)] if known else [])]) for name, n in top]
    told = table(caption, [head, "Failures#", *(["Of#"] if known else [])], rows)
    return f"<div>{told}{_more(len(counts), _TOP)}</div>"


def _failure(report: ReportedRun, i: int, outcome: Outcome) -> str:
    plan = report.state.plan
    wave = plan.wave_of(i)
    again = f"not retried: {outcome.not_retried.replace('_', ' ')}" if outcome.not_retried else ""
    return row(
        [
            plan.fleet.label(i),
            WORDS[outcome.kind],
            ", ".join(text for text in (outcome.reason.replace("_", " "), outcome.code, again) if text),
            without_code(outcome.message, outcome.code),
            outcome.domain,
            outcome.host,
            wave.number if wave else None,
            outcome.attempts,
            _plain(outcome.ended_at),
        ]
    )


def _steering(report: ReportedRun) -> str:
    begun = [f"  {_plain(report.begun_at)}  begun by {report.begun_by}"] if report.begun_at is not None else []
    lines = [*begun, *steering_lines(report.steering, _STEERED)]
    head = f"<p>Record head <code>{safe(report.head)}</code></p>\n" if report.head else ""
    told = "\n".join(safe(line.removeprefix("  ")) for line in lines)
    return section("steering", "Who did what", f"<pre>{told or 'Nobody is on record.'}</pre>\n", head)


def _settings(report: ReportedRun) -> str:
    plan = report.state.plan
    told = [*strategy_rows(plan), ("Quota", str(report.timeline.quota)), ("Hash", plan.hash)]
    changed = [("Now", f"{name} is {limit_text(new)}") for name, new in report.state.limits.items()]
    return section("settings", "Settings of the plan", rows_of([*told, *changed]))
