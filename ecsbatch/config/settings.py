"""Every setting, defined once: for the library, the TOML file, the environment and the command line alike.

A setting is a field of one of six dataclasses: `Strategy`, `Engine`, `Connection`, `Programs`, `Observability` and
`Output`. Its name is its key in the file, with dashes its flag, and in capitals after ``ECSBATCH_`` its environment
variable. What the docstring of its class says of it is its help, and in brackets its default. All durations are kept in
seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final, Literal, TypeAlias

from ecsbatch.config.declare import TimeSpan, TimeSpanOrNone, WaveList, check_fields, helps_of, setting
from ecsbatch.config.types import CountOrPercent, Duration, IntRange, QuotaType, Rate, SettingType, WaveSizes
from ecsbatch.config.words import (
    Address,
    Bool,
    Choice,
    Commands,
    CommandText,
    HostNames,
    ListenAddress,
    StoreUrl,
    Text,
    Words,
)
from ecsbatch.errors import Invalid
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.arguments import refuses_unknown
from ecsbatch.model.quota import Quota
from ecsbatch.model.servers import MAX_BATCH

CREDENTIAL_VARIABLES: Final = frozenset(
    {"HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN", "HUAWEICLOUD_SDK_CREDENTIALS_FILE"}
    | {"ECSBATCH_AUTH_TOKEN", "ECSBATCH_IAM_USER", "ECSBATCH_IAM_PASSWORD", "ECSBATCH_IAM_DOMAIN"}
)
"""The environment variables that credentials are read from: no command of a check or gate gets them by itself."""

STORE_VARIABLES: Final = frozenset({"ECSBATCH_STORE", "PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "PGSSLKEY"})
"""The environment variables that a store's password or key is found by: no command of a check or gate gets them by
itself. ``ECSBATCH_STORE`` is one of them where a password stands in it."""

PAGE_TOKEN: Final = "ECSBATCH_DASHBOARD_TOKEN"  # noqa: S105 - its name
"""The environment variable that the live page's token is read from: no command that we run gets it."""

_DAY: Final = 86_400.0
_COMMAND = CommandText(r"(?s).*\S.*", "a command line")
_CHECK = CommandText(
    r"(?s)(tcp:[0-9]{1,5}|https?:[0-9]{1,5}(/\S*)?|url:https?://\S+|cmd:.*\S.*)",
    '"tcp:22", "http:8080/health", "url:http://monitor/{id}" or "cmd:./up {id}"',
)
_PEM = Text(r".*\S.*", "the path of a PEM file")


def _owner(name: str) -> str:
    """Return whose argument the setting of a name is in a program, "" where there is no such setting."""
    known = SETTINGS.get(name)
    if known is None:
        return ""
    return "EcsClient" if known.section == "connection" else SECTIONS[known.section].__name__


@refuses_unknown(_owner)
@dataclass(frozen=True, slots=True)
class Strategy:
    """How one rollout goes: its waves, its budgets, when it stops.

    A duration is given in seconds, or as text with its unit such as ``"5m"`` or ``"1h30m"``, and is kept in seconds. A
    limit is a count of servers, or a percentage of them such as ``"10%"``. A default stands in brackets.

        Strategy(max_unavailable="10%", waves=["1", "10%"], soak="5m", check="http:8080/health")

    Attributes:
        type: How servers restart: soft asks the system, hard cuts the power. [soft]
        batch_size: Servers in one request, at most. [100]
        max_unavailable: Servers down at once because of us, at most; rounded down, at least 1. [10%]
        max_unavailable_per_domain: The same for each domain, of the domain's servers.
        waves: Sizes of the waves, the last repeats: 1,5%,25%, or 20,domain for a canary and then one wave per domain;
            auto is one wave up to 20 servers, above 1,1%,10%,100%. [auto]
        soak: Pause after each wave but the last. [0s]
        hold_after: Wave after which the run waits for promote, or each.
        max_failures: Failures that are allowed; one more stops. Rounded down, 0 stops at the first. [1%]
        max_failures_per_wave: The same for each wave, of the wave's servers: a canary of one that fails stops. [10%]
        max_failures_per_domain: The same for each domain, of the domain's servers.
        on_failure: What too many failures do. [stop]
        max_not_found: Given ids that may not exist where nobody is asked to confirm; more are refused. Rounded
            down. [1%]
        order: Order of the servers: spread over domains and hosts, domain by domain, as given, or least recently
            updated first. [spread]
        check: What a restarted server must pass: tcp:PORT, http:PORT/PATH, https:PORT/PATH (its certificate is not
            verified without check_ca), url:URL (verified) or cmd:COMMAND; {id}, {name} and {address} are the
            server's.
        check_ca: Certificates to verify checks by (PEM): of https: the chain, of url: besides the system's.
        check_interval: Time between two checks of one server. [5s]
        min_ready: How long a restarted server must stay healthy until its place is free; 10s with a check, else 0s.
        gate: Command that is asked between waves: go, wait or stop.
        gate_timeout: How long a gate may say wait, or nothing, before the run stops. [10m]
        server_timeout: How long a server may take from the request to its return. [10m]
        on_unknown: A request without an answer or a trace: verify and send again, or leave its servers as
            unknown. [verify]
        precheck: Skip servers that are not active just before they would be restarted. [True]

    Raises:
        Invalid: a value cannot be, or there is no such setting.
    """

    type: Literal["soft", "hard", "SOFT", "HARD"] = setting("soft", Choice(("soft", "hard")))
    batch_size: int = setting(100, IntRange(1, MAX_BATCH, "servers", "the API takes no more in one request"))
    max_unavailable: int | str = setting("10%", CountOrPercent(1))
    max_unavailable_per_domain: int | str | None = setting(None, CountOrPercent(1))
    waves: WaveList = setting("auto", WaveSizes())
    soak: TimeSpan = setting(0.0, Duration(0, 7 * _DAY))
    hold_after: int | str | None = setting(
        None, Text(r"(?i)[1-9][0-9]{0,6}|each", 'the number of a wave such as "1", or "each"', numbers=True)
    )
    max_failures: int | str = setting("1%", CountOrPercent(0))
    max_failures_per_wave: int | str | None = setting("10%", CountOrPercent(0), none=True)
    max_failures_per_domain: int | str | None = setting(None, CountOrPercent(0))
    on_failure: Literal["stop", "pause"] = setting("stop", Choice(("stop", "pause")))
    max_not_found: int | str = setting("1%", CountOrPercent(0))
    order: Literal["spread", "domain", "input", "oldest"] = setting(
        "spread", Choice(("spread", "domain", "input", "oldest"))
    )
    check: str | None = setting(None, _CHECK)
    check_ca: str = setting("", _PEM)
    check_interval: TimeSpan = setting(5.0, Duration(0.1, 3_600))
    min_ready: TimeSpanOrNone = setting(None, Duration(0, _DAY))
    gate: str | None = setting(None, _COMMAND)
    gate_timeout: TimeSpan = setting(600.0, Duration(1, 7 * _DAY))
    server_timeout: TimeSpan = setting(600.0, Duration(10, _DAY))
    on_unknown: Literal["verify", "leave"] = setting("verify", Choice(("verify", "leave")))
    precheck: bool = setting(default=True, kind=Bool())

    def __post_init__(self) -> None:
        """Check every value."""
        check_fields(self)


@refuses_unknown(_owner)
@dataclass(frozen=True, slots=True)
class Engine:
    """How one process talks to the cloud, whatever it restarts; how long a request may take says its `EcsClient`.

    A duration is given in seconds, or as text with its unit such as ``"5m"``, and is kept in seconds. A default stands
    in brackets.

        Engine(quota=Quota(500, 60.0), unknown_grace="90s")

    Attributes:
        quota: Servers that the cloud lets through per window; lower it where others restart too. [1000/60s]
        burst: Servers sent at once at most; the quota's limit where left out.
        linger: How long a batch that is not full waits for more servers. [0.5s]
        unknown_grace: How long a request that was given up may still start a restart. [1m]
        blind_timeout: How long nothing may be seen of the cloud before a run stops. [5m]
        typical_restart: A first guess at a restart; the run learns the real times. [40s]
        submit_workers: Restart requests in flight at once. [16]
        look_workers: State requests in flight at once. [8]
        check_workers: Health checks at once, at most; where left out, as many as there are servers that wait for one,
            up to half of the files that this process may open, and to 32 where each starts a program.
        check_timeout: How long one health check may take; longer, it has not passed. [10s]

    Raises:
        Invalid: a value cannot be, ``burst`` is above the quota's limit, or there is no such setting.
    """

    quota: Quota = setting(Quota(), QuotaType())
    burst: int | None = setting(None, IntRange(1, 1_000_000, "servers"))
    linger: TimeSpan = setting(0.5, Duration(0, 60))
    unknown_grace: TimeSpan = setting(60.0, Duration(0, 3_600))
    blind_timeout: TimeSpan = setting(300.0, Duration(10, _DAY))
    typical_restart: TimeSpan = setting(40.0, Duration(1, 3_600))
    submit_workers: int = setting(16, IntRange(1, 1_000))
    look_workers: int = setting(8, IntRange(1, 1_000))
    check_workers: int | None = setting(None, IntRange(1, 10_000))
    check_timeout: TimeSpan = setting(10.0, Duration(0.1, 3_600))

    def __post_init__(self) -> None:
        """Check every value."""
        check_fields(self)
        if self.burst is not None and self.burst > self.quota.limit:
            most = f"at most the quota's limit ({self.quota.limit}), more could never be sent"
            raise Invalid(f"burst = {self.burst}: give {most}.", field="burst", value=self.burst, expected=most)


@refuses_unknown(_owner)
@dataclass(frozen=True, slots=True)
class Connection:
    """Where the cloud is. Credentials are no settings: they come from the environment or the SDK's own file.

    A program gives the same to its `EcsClient`.

    Attributes:
        endpoint: The ECS endpoint; derived from the region where left out.
        region: The region.
        project_id: The project's id.
        ca_file: Certificates to trust besides the system's (PEM).
        api_rate: API requests per second, looks and restarts together. [20/s]
        request_timeout: How long one API request may take until it is given up. [30s]
        connect_timeout: How long connecting to the cloud may take. [10s]

    Raises:
        Invalid: a value cannot be, or there is no such setting.
    """

    endpoint: str = setting(
        "",
        Address(r"https?://[^\s/?#]+/?", 'a URL without a path, such as "https://ecs.eu-west-101.myhuaweicloud.eu"'),
    )
    region: str = setting("", Text(r"[A-Za-z0-9_-]+", 'a region such as "eu-west-101"'))
    project_id: str = setting("", Text(r"[A-Za-z0-9_-]+", "the project's id as the console shows it"))
    ca_file: str = setting("", _PEM)
    api_rate: float = setting(20.0, Rate(0.1, 1_000))
    request_timeout: TimeSpan = setting(30.0, Duration(1, 600))
    connect_timeout: TimeSpan = setting(10.0, Duration(0.1, 600))

    def __post_init__(self) -> None:
        """Check every value."""
        check_fields(self)
        object.__setattr__(self, "endpoint", self.endpoint.rstrip("/"))


@refuses_unknown(_owner)
@dataclass(frozen=True, slots=True)
class Programs:
    """What commands of checks and gates may do here; the word of whoever runs this program, never a run's record.

    Attributes:
        pass_env: Credential that commands of checks and gates get too, by its variable; all others they get anyway.
        allow_programs: Checks and gates that run, word for word, where a store or plan that others may write names
            them; whoever stands by to take runs over runs no others, and reads no other check_ca, from any store.

    Raises:
        Invalid: a value cannot be, or there is no such setting.
    """

    pass_env: Sequence[str] = setting((), Words(CREDENTIAL_VARIABLES | STORE_VARIABLES))
    allow_programs: Sequence[str] = setting((), Commands(), file_only=True)

    def __post_init__(self) -> None:
        """Check every value."""
        check_fields(self)


@refuses_unknown(_owner)
@dataclass(frozen=True, slots=True)
class Observability:
    """How others see what the command line does: a page, metrics, traces, and a command at a run's end.

    Attributes:
        dashboard: Show runs on a page at this address, which changes nothing; the address that is printed has its
            token. Without a certificate only an address of this machine alone will do.
        dashboard_host: Name by which browsers reach the page, besides that of its address; by others it is refused.
        dashboard_cert: The page's certificate (PEM), with which it listens at other addresses, too.
        dashboard_key: The certificate's private key (PEM); in the certificate's file where left out.
        dashboard_steer: Let whoever has the page's token pause, resume, promote, tighten and abort runs. [False]
        metrics: Answer Prometheus at this address, under /metrics.
        metrics_file: Write the metrics into this file now and then, for node_exporter.
        traces: Write spans of rollouts and requests by OpenTelemetry, as its own variables say. [False]
        on_end: Command to run when a run has ended or stopped; its summary is on its standard input.

    Raises:
        Invalid: a value cannot be, or there is no such setting.
    """

    dashboard: str | None = setting(None, ListenAddress())
    dashboard_host: Sequence[str] = setting((), HostNames())
    dashboard_cert: str = setting("", _PEM)
    dashboard_key: str = setting("", _PEM)
    dashboard_steer: bool = setting(default=False, kind=Bool())
    metrics: str | None = setting(None, ListenAddress())
    metrics_file: str | None = setting(None, Text(r".*\S.*", "a file"))
    traces: bool = setting(default=False, kind=Bool())
    on_end: str | None = setting(None, _COMMAND)

    def __post_init__(self) -> None:
        """Check every value."""
        check_fields(self)


@refuses_unknown(_owner)
@dataclass(frozen=True, slots=True)
class Output:
    """Where the command line keeps and writes what happens.

    Attributes:
        store: Where runs and quota are kept: sqlite:///FILE, or for several machines postgresql://USER@HOST/DATABASE;
            an SQLite file in the user's state directory where left out.
        cold_start: Let a store without any runs lend no quota for a window: another machine may have spent it. [False]
        events: File for the events as JSON lines, - for stdout.
        output: What stdout gets: a table or one JSON object. [table]
        log_format: How the log on stderr is written. [console]

    Raises:
        Invalid: a value cannot be, or there is no such setting.
    """

    store: str = setting(
        "",
        StoreUrl(
            r"sqlite:///\S+|postgres(ql)?://\S*",
            '"sqlite:///path/to/restarts.db" or "postgresql://user@host/database"',
        ),
        show=False,
    )
    cold_start: bool = setting(default=False, kind=Bool())
    events: str | None = setting(None, Text(r".*\S.*", 'a file, or "-"'))
    output: Literal["table", "json"] = setting("table", Choice(("table", "json")))
    log_format: Literal["console", "json"] = setting("console", Choice(("console", "json")))

    def __post_init__(self) -> None:
        """Check every value."""
        check_fields(self)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as files, environment, flags and help name it.

    Attributes:
        name: the field, and the key in a file.
        section: the table of the file that it belongs to.
        kind: its type, which reads and checks it.
        default: its value where none is given.
        help: one line for people, "" under ``python -OO``.
        file_only: True where only a file gives it, and one that nobody else may write.
    """

    name: str
    section: str
    kind: SettingType
    default: object
    help: str
    file_only: bool = False

    @property
    def flag(self) -> str:
        """Its flag: ``--batch-size``."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its environment variable: ``ECSBATCH_BATCH_SIZE``."""
        return "ECSBATCH_" + self.name.upper()

    @property
    def shown_default(self) -> str:
        """Its default as one would give it; "" where it has none to speak of."""
        return "" if self.optional or isinstance(self.default, bool) else self.kind.written(self.default)

    @property
    def optional(self) -> bool:
        """True where it may be empty, which ``none`` says."""
        return self.default is None or self.default in {"", ()}


Section: TypeAlias = Connection | Engine | Strategy | Programs | Observability | Output

SECTIONS: Final[Mapping[str, type[Section]]] = {
    "connection": Connection,
    "engine": Engine,
    "strategy": Strategy,
    "programs": Programs,
    "observability": Observability,
    "output": Output,
}
"""The tables of a settings file, each with its dataclass."""


def _settings_of(section: str, cls: type[Section]) -> Iterator[Setting]:
    helps = helps_of(cls)
    for f in fields(cls):
        yield Setting(f.name, section, f.metadata["kind"], f.default, helps.get(f.name, ""), f.metadata["file_only"])


SETTINGS: Final[Mapping[str, Setting]] = {
    each.name: each for section, cls in SECTIONS.items() for each in _settings_of(section, cls)
}
"""Every setting by its name; names are unique across sections."""


def default_store(environ: Mapping[str, str] = os.environ) -> str:
    """Return the URL of the SQLite file in the user's state directory (``XDG_STATE_HOME``)."""
    # The directory's own specification says that a relative path is to be ignored.
    given = Path(environ.get("XDG_STATE_HOME", ""))
    state = given if given.is_absolute() else Path.home() / ".local" / "state"
    return f"sqlite:///{state / 'ecsbatch' / 'restarts.db'}"
