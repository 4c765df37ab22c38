"""One word for one thing: names that were given up for the field's standard terms do not come back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("ecsbatch", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)

CLASSES = {
    "Line": "ServerQueue",
    "Terms": "RestartOptions",
    "Packet": "Prechecked",
    "Verdicts": "OutcomeResolver",
    "Findings": "LookResult",
    "Why": "WatchReason",
    "Sight": "Visibility",
    "Agenda": "DelayQueue",
    "Journal": "JournalWriter",
    "Cursors": "EventFeed",
    "Direct": "DirectRestarts",
    "Ticket": "PendingRestart",
    "Health": "HealthChecker",
    "Taker": "Ledger",
    "JournalStore": "Store",
    "ReadStore": "Store",
    "DirectStore": "Store",
    "RolloutStore": "Store",
    "EngineStore": "Store",
    "Host": "Runtime",
    "Guest": "Runtime",
    "Lookout": "Cloud",
    "Course": "RunSession",
    "Feeder": "Dispatcher",
    "Between": "WaveBarrier",
    "Take": "TokenRequest",
    "Room": "Shortage",
    "Settle": "Settlement",
    "Hold": "Lease",
    "Order": "Transaction",
    "Commit": "Committed",
    "Flight": "InFlightBatch",
    "Books": "SyncStore",
    "Lent": "OutstandingGrant",
    "Story": "RunHistory",
    "Followed": "RunFollower",
    "Desk": "IssueContext",
    "LeasedAuth": "RefreshableAuth",
    "Unsigned": "UnsignedRequest",
    "What": "RequestKind",
    "Seen": "Inventory",
    "Place": "ServerRecord",
    "Places": "ServerRecords",
    "Kind": "SettingType",
    "Whole": "IntRange",
    "Seconds": "Duration",
    "Servers": "CountOrPercent",
    "Sizes": "WaveSizes",
    "Window": "QuotaType",
    "Switch": "Bool",
    "Moment": "Snapshot",
    "Display": "TerminalDisplay",
    "Flood": "RepeatLimiter",
    "Planned": "PlanView",
    "PatientWriter": "BackgroundWriter",
    "Again": "RepeatFlags",
    "Watchers": "LiveViews",
    "Watching": "Verbosity",
    "Surroundings": "LiveContext",
    "Driven": "DriveResult",
    "GoAhead": "ConfirmFlags",
    "Surveyed": "Survey",
    "Prepared": "PreparedPlan",
    "Witness": "ClockProbe",
    "Misfortunes": "FaultInjector",
    "Entrance": "Authenticator",
    "Chances": "Rates",
    "Arrival": "ReceivedRequest",
    "Front": "HttpFront",
}
"""Classes, and what they are called now."""

FUNCTIONS = {
    "held_by": "Runtime.holder_changed",
    "line_of": "queue_of",
    "complaint_of": "failed_check",
    "asked_of": "hooks_of",
    "refuse_unaskable": "validate_hooks",
    "outcome_of": "ServerEvent.outcome",
    "clean": "one_line",
    "cut": "truncate",
    "ways_on": "resume_options",
    "classify": "skip_reason",
    "why_not": "precheck",
    "allot": "tokens_for",
    "story_of": "load_history",
    "noticed": "hints_from_other_tools",
    "exposed": "permission_warning",
    "picture": "render_progress",
    "lasting": "format_span",
    "told": "without_code",
    "fitted": "wrap_line",
    "is_held": "awaits_promotion",
    "speak": "set_log_format",
    "say": "print_lines",
    "conclude": "print_result",
    "stay_and_conclude": "offer_resume",
    "go_on": "resume_here",
    "ask_holder": "Steering",
    "ask_and_see": "Steering",
    "see": "look_at_all",
    "settle": "merge_layers",
    "review": "check_file",
    "sort_out": "triage",
}
"""Functions of modules of the package, and what they are called now."""

METHODS = {
    "offer": "put",
    "again": "requeue",
    "stock": "ready",
    "stocked": "ready_count",
    "ripe_at": "due_at",
    "fact": "server_event",
    "broken": "fail",
    "take_up": "adopt_in_flight",
    "stray": "out_of_turn",
    "cleared": "passed",
    "together": "commit_group",
    "alone": "call",
    "divisible": "needs_savepoint",
    "glance": "refresh",
    "sighted_at": "observed_at",
    "_lent": "_retried_while_down",
}
"""Methods and fields of classes of the package, and what they are called now."""

EXCEPTIONS = {
    ("bookkeeping.py", "again"): "a wave of the audit's own is looked at again; no queue",
}
"""Where a word stands for something else, by file and word, and why."""


def defined(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Yield each class, module's function, class's member and imported name: its kind, its name and its line."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():
                yield "class", node.name, node.lineno
                yield from (("member", name, line) for name, line in members(node))
            case ast.Module():
                yield from (("function", each.name, each.lineno) for each in node.body if isinstance(each, FUNCTION))
            case ast.ImportFrom() if (node.module or "").startswith("ecsbatch"):
                yield from (("class", alias.name, node.lineno) for alias in node.names)
            case _:
                pass


def members(of: ast.ClassDef) -> Iterator[tuple[str, int]]:
    """Yield the methods and annotated fields of a class."""
    for member in of.body:
        if isinstance(member, FUNCTION):
            yield member.name, member.lineno
        elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            yield member.target.id, member.lineno


def test_no_name_that_was_given_up_is_used() -> None:
    found: list[str] = []
    for path in SOURCES:
        file = path.relative_to(ROOT)
        given_up = {"class": CLASSES}
        if file.parts[0] == "ecsbatch":
            given_up |= {"function": FUNCTIONS, "member": METHODS}
        found += [
            f"{file}:{line}: {name} is called {given_up[kind][name]}"
            for kind, name, line in defined(ast.parse(path.read_text(encoding="utf-8")))
            if name in given_up.get(kind, ()) and (path.name, name) not in EXCEPTIONS
        ]

    assert found == []


def test_no_class_of_the_package_is_defined_twice() -> None:
    where: dict[str, list[str]] = {}
    for path in SOURCES:
        if path.is_relative_to(ROOT / "ecsbatch"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    where.setdefault(node.name, []).append(str(path.relative_to(ROOT)))

    assert {name: files for name, files in where.items() if len(files) > 1} == {}
