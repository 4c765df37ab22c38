"""The flags of commands. Most are settings: their names, words, defaults and help are those that `config` defines.

A command takes the class of its flags from here, such as `RestartFlags`, and passes what was typed to `CliContext.of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, cast

from cyclopts import Group, Parameter, Token

from ecsbatch.cli import candidates
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.config.settings import SECTIONS, SETTINGS, Setting
from ecsbatch.config.sources import from_flags
from ecsbatch.config.types import (
    DURATION,
    CountOrPercent,
    Duration,
    IntRange,
    QuotaType,
    Rate,
    SettingType,
    WaveSizes,
    parse_duration,
)
from ecsbatch.config.words import Bool, Choice, HostNames, ListenAddress, Words
from ecsbatch.model.text import printable
from ecsbatch.planning.strategy import LIMITS

GO_AHEAD: Final = Group("Going ahead", sort_key=1)
GROUPS: Final[Mapping[str, Group]] = {
    "strategy": Group("Strategy", sort_key=2),
    "engine": Group("Engine", sort_key=3),
    "connection": Group("Connection", sort_key=4),
    "programs": Group("Checks and gates", sort_key=5),
    "observability": Group("Page, metrics, traces", sort_key=6),
    "output": Group("Output", sort_key=7),
}

OWN_VARIABLES: Final = frozenset(
    {"auth_token", "credentials", "iam_user", "iam_password", "iam_domain", "metadata_endpoint"}
    | {"config", "run_id", "yes", "confirm_count", "max_servers", "dry_run", "quiet", "verbose"}
    | {"tag", "name", "az", "status", "enterprise_project"}
    | {"exclude", "exclude_claimed", "skip_restarted_since", "skip_updated_since", "max_age"}
    | {"runs", "max_runs", "healthz", "dashboard_token"}
)
"""``ECSBATCH_*`` variables that are no settings: credentials, and flags of single commands."""

_SHORT: Final = {"output": "-o"}

_WORDS: Final = {
    "store": "URL",
    "endpoint": "URL",
    "events": "FILE",
    "ca_file": "FILE",
    "check_ca": "FILE",
    "check": "CHECK",
    "gate": "CMD",
    "on_end": "CMD",
    "metrics_file": "FILE",
    "dashboard_cert": "FILE",
    "dashboard_key": "FILE",
    "pass_env": "NAME",
    "hold_after": "N|each",
}

_OFFERED: Final = {
    "waves": ("auto", "1,5%,25%", "20,domain"),
    "max_unavailable": ("5%", "10%", "25%"),
    "max_failures": ("0", "1%", "5%"),
    "hold_after": ("1", "each"),
    "soak": ("30s", "5m", "30m"),
    "check": ("tcp:22", "http:8080/health", "https:443/", "url:", "cmd:"),
    "quota": ("1000/60s", "500/60s"),
    "dashboard": ("127.0.0.1:8080",),
    "metrics": ("127.0.0.1:9464",),
}
"""What a shell offers for values that may be others too: the forms that people forget."""

ConfigFile: TypeAlias = Annotated[
    Path | None,
    Parameter(
        help="Settings in a TOML file; flags and variables go before it.",
        group=GROUPS["output"],
        metavar="FILE",
        env_var="ECSBATCH_CONFIG",
        show_env_var=False,
    ),
]
Quiet: TypeAlias = Annotated[
    bool,
    Parameter(
        name=["--quiet", "-q"],
        negative="",
        group=GROUPS["output"],
        env_var="ECSBATCH_QUIET",
        show_env_var=False,
        help="Print no plan and no progress, only warnings and the result.",
        show_default=False,
    ),
]
Verbose: TypeAlias = Annotated[
    bool,
    Parameter(
        name=["--verbose", "-v"],
        negative="",
        group=GROUPS["output"],
        env_var="ECSBATCH_VERBOSE",
        show_env_var=False,
        help="Log every event; show tracebacks.",
        show_default=False,
    ),
]
Yes: TypeAlias = Annotated[
    bool, Parameter(name=["--yes", "-y"], group=GO_AHEAD, negative="", show_default=False, help="Do not ask.")
]
Timeout: TypeAlias = Annotated[
    str,
    Parameter(
        name="--timeout",
        metavar="TIME",
        show_default=False,
        help="Leave after this time, such as 30m, with code 124; the run goes on.",
    ),
]


def seconds_of(timeout: str) -> float | None:
    """Return what was typed as a timeout in seconds, None where nothing was.

    Raises:
        UsageError: it is no duration.
    """
    try:
        return parse_duration(timeout) if timeout else None
    except ValueError:
        raise UsageError(f"--timeout {printable(timeout, 40)}: give {DURATION}.") from None


def _no_option(_: type, text: str) -> None:
    if text.startswith("-") and text != "-":
        raise ValueError(text)


FleetFile: TypeAlias = Annotated[str, Parameter(allow_leading_hyphen=True, show_default=False, validator=_no_option)]
"""A list of servers; ``-`` is one, an option that does not exist is none."""


def _run_name(where_left_out: str) -> Parameter:
    return Parameter(
        help=f"The run, by its id or a unique beginning of it; the latest where left out{where_left_out}.",
        show_default=False,
        completer=candidates.runs,
    )


RunName: TypeAlias = Annotated[str, _run_name("")]
RunToSteer: TypeAlias = Annotated[str, _run_name(" and no other can be meant")]


def _sections(*sections: str) -> list[str]:
    return [name for name, setting in SETTINGS.items() if setting.section in sections and not setting.file_only]


_HOOKS: Final = ("check", "gate")
"""Given again, they let the check and the gate on record run where others may have written it."""

_PROCESS: Final = ("engine", "connection", "programs", "observability", "output")
"""What a process that goes on with a run is told of itself; how it restarts servers is the run's."""

_DASHBOARD: Final = [name for name in _sections("observability") if name.startswith("dashboard")]

_MADE_OF: Final[Mapping[str, tuple[Sequence[str], bool]]] = {
    "RestartFlags": (_sections(*SECTIONS), True),
    "ResumeFlags": ([*LIMITS, *_HOOKS, *_sections(*_PROCESS)], False),
    "AskFlags": (["store", "output"], True),
    "StoreFlags": (["store"], True),
    "WatchFlags": (["store", "output", "events", "log_format"], True),
    "SiteFlags": ([*_sections("connection"), "store"], True),
    "ApplyFlags": ([*_HOOKS, *_sections(*_PROCESS)], True),
    "AdjustFlags": ([*LIMITS, "store"], False),
    "AbortFlags": (["check", *_sections("engine", "connection", "programs"), "store"], True),
    "WorkFlags": ([*_sections("engine", "connection", "programs", "observability"), "store", "log_format"], True),
    "DashboardFlags": ([*_DASHBOARD, "store", "log_format"], True),
    "CheckFlags": ([*_sections("connection"), "quota", "store", "output"], True),
}
"""The settings that commands have flags for, and whether help names their defaults: an old run has its own strategy."""

if TYPE_CHECKING:
    RestartFlags: TypeAlias = Any
    ResumeFlags: TypeAlias = Any
    AskFlags: TypeAlias = Any
    StoreFlags: TypeAlias = Any
    WatchFlags: TypeAlias = Any
    SiteFlags: TypeAlias = Any
    ApplyFlags: TypeAlias = Any
    AdjustFlags: TypeAlias = Any
    AbortFlags: TypeAlias = Any
    CheckFlags: TypeAlias = Any
    DashboardFlags: TypeAlias = Any
    WorkFlags: TypeAlias = Any


def __getattr__(name: str) -> Any:
    """Make a class of flags when a command's module imports it: all of them would delay every command."""
    if name not in _MADE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    names, defaults = _MADE_OF[name]
    made = [_flag(SETTINGS[each], defaults=defaults) for each in names]
    flags = globals()[name] = make_dataclass(name, made, kw_only=True, namespace={"__module__": __name__})
    return flags


def given(flags: Any) -> dict[str, Any]:
    """Return flags by the names of their settings; None stands for each that was not given."""
    return {} if flags is None else cast("dict[str, Any]", vars(flags))


def typed_again(options: Mapping[str, str | int | list[str] | None]) -> str:
    """Write options as one would type them; what was not given is left out.

    Args:
        options: the values, by the options' names with underscores.
    """
    words: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        values = value if isinstance(value, list) else [value]
        told = [each for each in values if each is not None and each is not False and each != ""]
        words += [flag if each is True else f"{flag} {quote(str(each))}" for each in told]
    return "".join(f" {word}" for word in words)


def given_limits(flags: Any) -> dict[str, int | str]:
    """Return the limits that were given as flags, as a `Strategy` takes them.

    Raises:
        ConfigError: one of them is invalid.
    """
    limits = {name: value for name, value in given(flags).items() if name in LIMITS}
    return {name: value.value for name, value in from_flags(limits).items() if isinstance(value.value, int | str)}


def _flag(setting: Setting, *, defaults: bool) -> tuple[str, Any, Any]:
    default = setting.shown_default if defaults or setting.section != "strategy" else ""
    text = f"{setting.help} [{default}]" if default else setting.help
    names = [setting.flag, _SHORT[setting.name]] if setting.name in _SHORT else [setting.flag]
    metavar = None if isinstance(setting.kind, Bool) else _metavar(setting)
    parameter = Parameter(
        name=names,
        help=text,
        group=GROUPS[setting.section],
        metavar=metavar,
        negative="" if isinstance(setting.kind, Words | HostNames) else None,
        allow_leading_hyphen=setting.name == "events",
        converter=_as_typed if isinstance(setting.kind, Choice) else None,
        show_choices=False,
        completer=candidates.offered(*_OFFERED[setting.name]) if setting.name in _OFFERED else None,
    )
    return setting.name, Annotated[_type(setting) | None, parameter], field(default=None)


def _type(setting: Setting) -> Any:
    """Return what shells complete: the words of a choice, else nothing."""
    if isinstance(setting.kind, Bool):
        return bool
    if isinstance(setting.kind, Words | HostNames):
        return list[str]
    return Literal[setting.kind.words] if isinstance(setting.kind, Choice) else str


def _as_typed(_: Any, tokens: Sequence[Token]) -> str:
    """Take a word as it is: whether it is valid is for `config` to say, as it does of variables and files."""
    return tokens[-1].value


def _metavar(setting: Setting) -> str:
    kind = setting.kind
    if isinstance(kind, Choice):
        return "|".join(kind.words)
    named: dict[type[SettingType], str] = {
        IntRange: "N",
        Duration: "TIME",
        CountOrPercent: "N|N%",
        WaveSizes: "SIZES",
        QuotaType: "N/TIME",
        Rate: "N/s",
        ListenAddress: "ADDRESS:PORT",
        HostNames: "NAME",
    }
    return named.get(type(kind), _WORDS.get(setting.name, "TEXT"))
