"""The plan on one screen: what will happen, in numbers, before anything does; and how servers have drifted since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from typing import Any, Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.plan import Plan, Skip, Wave
from ecsbatch.model.quota import Quota
from ecsbatch.model.text import NAMED, counted, first_of, printable
from ecsbatch.planning.drift import Drifted, DriftKind
from ecsbatch.planning.time_model import TimeModel
from ecsbatch.policy.frozen import freeze_notice
from ecsbatch.views.text import format_span, paragraph

_COLUMN: Final = 12
_DOMAINS: Final = 6
_WAVES: Final = 8
_SPANS: Final = 4
_DRIFTED: Final = 3
"""Domains, waves, spans of waves and servers of one kind of drift that are named."""

_SLOW: Final = 10
"""Servers a minute, or an hour, below which a pace has a decimal."""

_OF_NOTHING: Final = frozenset(
    {"Restart", "Where", "Skipped", "Not found", "Left out", "Claimed", "Store", "Hash", "Warning"}
)
"""The rows of a plan that restarts nothing."""

_NO_BREAK: Final = "\N{NO-BREAK SPACE}"

_WORDS: Final[Mapping[DriftKind, str]] = {
    DriftKind.DELETED: "no longer there",
    DriftKind.STOPPED: "stopped",
    DriftKind.CHANGING: "down or changing",
    DriftKind.RESTARTING: "restarting now",
    DriftKind.LOCKED: "locked",
    DriftKind.MOVED: "moved to another zone",
    DriftKind.TOUCHED: "restarted or changed",
    DriftKind.APPEARED: "there by now, would be left alone",
    DriftKind.STARTED: "active by now, would be left alone",
    DriftKind.UNLOCKED: "unlocked by now, would be left alone",
}


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan, and what surrounds it.

    Attributes:
        plan: what is to be done.
        model: what its numbers mean in time.
        quota: servers per window.
        typical_restart: seconds that the model takes a restart to last.
        place: where the servers are, such as a region and a project.
        store: the URL of the store, without a password.
        claimed: servers that were left out of the plan since other runs have them, by run.
        conflicts: servers of the plan that other runs have, by run, so that it is refused.
        warnings: what is to be seen to beforehand, in sentences.
        frozen: the freeze of the store, None where there is none or nobody has looked.
    """

    plan: Plan
    model: TimeModel
    quota: Quota
    typical_restart: float
    place: str
    store: str
    claimed: Mapping[str, int] = field(default_factory=dict[str, int])
    conflicts: Mapping[str, int] = field(default_factory=dict[str, int])
    warnings: Sequence[str] = ()
    frozen: Freeze | None = None


def freeze_warnings(freeze: Freeze | None, now: float) -> list[str]:
    """Say that a plan that is carried out now would wait; nothing where the store is not frozen."""
    if freeze is None:
        return []
    return [f"{freeze_notice(freeze, now)} A run that begins now waits; ecsbatch thaw ends that."]


def plan_warnings(
    plan: Plan, hold_after: int | str | None, unasked: Sequence[str], lately: int, idle_excludes: int = 0
) -> list[str]:
    """Return what is to be seen to before a plan is carried out.

    Args:
        plan: the plan.
        hold_after: the wave to hold after, as it was asked for.
        unasked: why its check or its gate cannot be started here.
        lately: how many of its servers were restarted within the last hour.
        idle_excludes: how many ids of --exclude are none of its servers.
    """
    told = [f"{why} restart, apply and resume refuse that." for why in unasked]
    if plan.waves and hold_after not in {None, "each"} and not plan.hold_after:
        waves = counted(len(plan.waves), "wave")
        told.append(
            f"--hold-after {hold_after} holds nothing: with {waves} nothing is left after wave {len(plan.waves)}."
        )
    if lately:
        were = "was" if lately == 1 else "were"
        told.append(
            f"{counted(lately, 'server')} of these {were} restarted within the last hour: --skip-restarted-since 1h "
            f"leaves {'it' if lately == 1 else 'them'} out."
        )
    if idle_excludes:
        told.append(
            f"{counted(idle_excludes, 'id')} of --exclude {'is' if idle_excludes == 1 else 'are'} none of the servers "
            "given: a misspelt id leaves nobody out."
        )
    return told


def plan_json(view: PlanView) -> dict[str, Any]:
    """Return what ``plan -o json`` prints: the plan without its servers, and the model."""
    return {
        "plan": view.plan.to_json(),
        "time": asdict(view.model),
        "quota": str(view.quota),
        "claimed_by_others": dict(view.claimed),
        "not_found": view.plan.not_found,
        "conflicts": dict(view.conflicts),
        "warnings": list(view.warnings),
        "frozen": view.frozen.as_dict() if view.frozen is not None else None,
    }


def plan_lines(view: PlanView, width: int = 80) -> list[str]:
    """Write a plan for people, a label and a sentence or two for each matter."""
    plan = view.plan
    rows: list[tuple[str, str]] = [
        ("Restart", _restart(plan)),
        ("Where", printable(view.place)),
        ("Domains", _domains(plan)),
        ("Skipped", _skips(plan.skips)),
        ("Not found", _not_found(plan)),
        ("Left out", _claimed(view.claimed)),
        ("Claimed", _conflicts(view.conflicts)),
        *_how(plan),
        ("Pace", _pace(view)),
        ("Takes", _takes(view)),
        ("At worst", f"{counted(view.model.worst_case_down, 'server')} down if it stops at the worst instant."),
        ("Store", printable(view.store)),
        ("Hash", plan.hash),
        *(("Warning", warning) for warning in view.warnings),
    ]
    if not plan.to_restart:
        rows = [row for row in rows if row[0] in _OF_NOTHING]
    lines: list[str] = []
    for label, text in rows:
        if text:
            # What belongs together (`_whole`) is never broken; a place, a store and a hash stay whole.
            lines += paragraph(label, text, width, _COLUMN)
    return [line.replace(_NO_BREAK, " ") for line in lines]


def strategy_rows(plan: Plan) -> list[tuple[str, str]]:
    """Return what a plan by itself says of how it is carried out: a label and a sentence or two for each matter."""
    timeout = f"after {format_span(plan.server_timeout)} a server counts as timed out"
    rows = [("Restart", _restart(plan)), ("Skipped", _skips(plan.skips)), *_how(plan), ("Timeout", timeout)]
    return [(label, text.replace(_NO_BREAK, " ")) for label, text in rows if text]


def _restart(plan: Plan) -> str:
    return f"{counted(plan.to_restart, 'server')}, {plan.type}"


def _how(plan: Plan) -> list[tuple[str, str]]:
    return [
        ("Waves", _waves(plan)),
        ("At once", _at_once(plan)),
        ("Failures", _stops(plan)),
        ("Check", _check(plan)),
        ("Gate", _gate(plan)),
    ]


def _whole(text: str) -> str:
    """Keep a text on one line."""
    return text.replace(" ", _NO_BREAK)


def _domains(plan: Plan) -> str:
    return _listed({printable(name, 30) or "(not known)": count for name, count in plan.domains().items()}, _DOMAINS)


def _listed(counts: Mapping[str, int], most: int) -> str:
    shown = [_whole(f"{name} {count:,}") for name, count in list(counts.items())[:most]]
    more = len(counts) - most
    return ", ".join(shown) + (f" and {_whole(f'{more} more')}" if more > 0 else "")


def _skips(skips: Sequence[Skip]) -> str:
    total = sum(len(skip) for skip in skips)
    if not total:
        return "none"
    reasons: dict[str, int] = {}
    for skip in skips:
        word = skip.reason.replace("_", " ") + (" (and changing: holds a place)" if skip.holds else "")
        reasons[word] = reasons.get(word, 0) + len(skip)
    return f"{total:,}: {_listed(reasons, len(reasons))}"


def _not_found(plan: Plan) -> str:
    if not (ids := plan.not_found):
        return ""
    more = "; -o json names all" if len(ids) > NAMED else ""
    return f"{len(ids):,} of {counted(len(plan.fleet), 'id')} given: {first_of(ids)}{more}"


def _claimed(claimed: Mapping[str, int]) -> str:
    if not claimed:
        return ""
    runs = _listed({f"run {printable(run)}:": count for run, count in claimed.items()}, _DOMAINS)
    return f"{sum(claimed.values()):,} that other runs have ({runs})"


def _conflicts(conflicts: Mapping[str, int]) -> str:
    held = _claimed(conflicts)
    return f"{held}: restart refuses them, --exclude-claimed leaves them out" if held else ""


def _waves(plan: Plan) -> str:
    waves = plan.waves
    if len(waves) <= 1:
        return "1, all servers"
    sizes = [_whole(_size(wave)) for wave in waves[:_WAVES]]
    more = f", … {len(waves) - _WAVES} more" if len(waves) > _WAVES else ""
    soak = f"; soak {format_span(plan.soak)} between two" if plan.soak else ""
    held = ", ".join(f"{number:,}" for number in plan.hold_after[:_WAVES])
    hold = f"; waits for ecsbatch promote after wave {held}" if held else ""
    return f"{len(waves)}: {', '.join(sizes)}{more}{soak}{hold}"


def _size(wave: Wave) -> str:
    """Write a wave's size, and what it was asked for as where that says more."""
    label = "" if wave.label in {"", str(len(wave))} else f" ({printable(wave.label, 20)})"
    return f"{len(wave):,}{label}"


def _at_once(plan: Plan) -> str:
    batch = min(plan.batch_size, plan.max_unavailable)
    text = f"at most {plan.max_unavailable:,} down (--max-unavailable), {batch:,} in one request"
    if plan.held:
        text += f"; {plan.held:,} of these places are taken by servers that are down already"
    if plan.max_unavailable_per_domain is not None:
        limits = {printable(name, 30): limit for name, limit in plan.max_unavailable_per_domain.items()}
        text += f"; by domain {_listed(limits, _DOMAINS)}"
    return text


def _stops(plan: Plan) -> str:
    verb = "pauses" if plan.on_failure == "pause" else "stops"
    text = f"{plan.max_failures:,} allowed (--max-failures); failure number {plan.max_failures + 1:,} {verb} the run"
    spans = _bound_waves(plan)
    first = [span for span, limit in spans if not limit]
    later = [_whole(f"{limit:,} in {_named([span])}") for span, limit in spans if limit]
    if first:
        each = sum(map(len, first)) == len(plan.waves) > 1
        text += f"; in {'each wave' if each else _named(first)} the first does"
    if later:
        text += f"; allowed: {_cut(later)}"
    if plan.max_failures_per_domain is not None:
        limits = {printable(name, 30): limit for name, limit in plan.max_failures_per_domain.items()}
        text += f"; allowed per domain {_listed(limits, _DOMAINS)}"
    return text


def _bound_waves(plan: Plan) -> list[tuple[range, int]]:
    """Return the waves whose limit can be exceeded before the run's is, neighbours that allow the same together."""
    spans: list[tuple[range, int]] = []
    for wave, limit in zip(plan.waves, plan.max_failures_per_wave or (), strict=False):
        if limit >= min(plan.max_failures, len(wave)):
            continue
        if spans and spans[-1] == (range(spans[-1][0].start, wave.number), limit):
            spans[-1] = (range(spans[-1][0].start, wave.number + 1), limit)
        else:
            spans.append((range(wave.number, wave.number + 1), limit))
    return spans


def _named(spans: Sequence[range]) -> str:
    """Name waves by their numbers: wave 1; waves 1 and 2; waves 1, 3 to 5."""
    several = len(spans) > 1 or len(spans[0]) > 1
    return _whole(f"wave{'s' if several else ''} ") + _cut([_whole(_numbers(span)) for span in spans])


def _numbers(span: range) -> str:
    first, last = span[0], span[-1]
    if first == last:
        return f"{first:,}"
    return f"{first:,} {'and' if last == first + 1 else 'to'} {last:,}"


def _cut(parts: Sequence[str]) -> str:
    return ", ".join([*parts[:_SPANS], *(["…"] if len(parts) > _SPANS else [])])


def _check(plan: Plan) -> str:
    ready = f", place kept for {format_span(plan.min_ready)} more" if plan.min_ready else ""
    if plan.check:
        return f"{_command(plan.check)}{_verified(plan)}{ready}"
    return f"none: a restart counts once the cloud says so, not once the server answers{ready}"


def _command(text: str) -> str:
    """Write what will run, whole: whoever agrees to it must see the end of it, too."""
    return printable(text, len(text))


def _verified(plan: Plan) -> str:
    """Say whether an HTTPS check knows whom it has asked."""
    if plan.check_ca:
        return f" (verified by {_command(plan.check_ca)})"
    return " (its certificate is not verified)" if plan.check.startswith("https:") else ""


def _gate(plan: Plan) -> str:
    if not plan.gate or len(plan.waves) <= 1:
        return ""
    return f"{_command(plan.gate)}, asked between waves, for {format_span(plan.gate_timeout)} at most"


def _pace(view: PlanView) -> str:
    model = view.model
    bound = {
        "quota": f"the quota ({view.quota})",
        "max_unavailable": "--max-unavailable",
        "max_unavailable_per_domain": "--max-unavailable-per-domain",
        "waves": "the waves",
        "restart": "the restart itself",
    }[model.binds]
    return f"{_rate(model.rate_per_s)}; what binds is {bound}. {model.what_would_change}"


def _rate(per_s: float) -> str:
    """Write a pace so that it agrees with the time it leads to: slow ones with a digit more, or by the hour."""
    number, unit = (per_s * 60, "minute") if per_s * 60 >= 1 else (per_s * 3600, "hour")
    told = f"{number:,.0f}" if number >= _SLOW else f"{number:.1f}".removesuffix(".0")
    return f"{told} {'server' if told == '1' else 'servers'} a{'n' if unit == 'hour' else ''} {unit}"


def _takes(view: PlanView) -> str:
    return f"about {format_span(view.model.seconds)}, if a restart takes {format_span(view.typical_restart)}"


def drift_lines(drifted: Sequence[Drifted]) -> list[str]:
    """Write the drift, the worst kinds first."""
    lines: list[str] = []
    for kind in DriftKind:
        servers = [each for each in drifted if each.kind is kind]
        if not servers:
            continue
        lines.append(f"  {_WORDS[kind]}: {counted(len(servers), 'server')}")
        lines += [f"    {_server(each)}  {_change(each)}" for each in servers[:_DRIFTED]]
        if len(servers) > _DRIFTED:
            lines.append(f"    and {len(servers) - _DRIFTED:,} more")
    return lines


def _server(drifted: Drifted) -> str:
    return "  ".join(printable(word, 36) for word in (drifted.server, drifted.name) if word)


def _change(drifted: Drifted) -> str:
    return f"{printable(drifted.before, 24) or '-'} -> {printable(drifted.now, 24) or '-'}"
