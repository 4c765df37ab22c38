"""Every setting, defined once: for the library, the TOML file, the environment and the command line alike.

A setting is a field of one of five dataclasses: `Strategy`, `Engine`, `Connection`, `Programs`, `Output`. Its name is
its key in the file, with dashes its flag, and in capitals after ``ECSBATCH_`` its environment variable. All durations
are kept in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from ecsbatch.config.types import (
    Address,
    Bool,
    Choice,
    Commands,
    CountOrPercent,
    Duration,
    IntRange,
    QuotaType,
    Rate,
    SettingType,
    Text,
    WaveSizes,
    Words,
)
from ecsbatch.errors import ConfigError
from ecsbatch.model.quota import Quota
from ecsbatch.model.servers import MAX_BATCH

CREDENTIAL_VARIABLES: Final = frozenset(
    {"HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN", "HUAWEICLOUD_SDK_CREDENTIALS_FILE"}
    | {"ECSBATCH_AUTH_TOKEN", "ECSBATCH_IAM_USER", "ECSBATCH_IAM_PASSWORD", "ECSBATCH_IAM_DOMAIN"}
)
"""The environment variables that credentials are read from: no command of a check or gate gets them by itself."""

_DAY: Final = 86_400.0
_COMMAND = Text(r"(?s).*\S.*", "a command line")
_CHECK = Text(
    r"(?s)(tcp:[0-9]{1,5}|https?:[0-9]{1,5}(/\S*)?|url:https?://\S+|cmd:.*\S.*)",
    '"tcp:22", "http:8080/health", "url:http://monitor/{id}" or "cmd:./up {id}"',
)


def _of(kind: SettingType, text: str, *, file_only: bool = False) -> Mapping[str, Any]:
    """Return a field's metadata: the setting's type and its help, and whether it has no flag and no variable."""
    return {"kind": kind, "help": text, "file_only": file_only}


@dataclass(frozen=True, slots=True)
class Strategy:
    """How one rollout goes: its waves, its budgets, when it stops. Limits are counts or percentages such as ``10%``.

    Raises:
        ConfigError: a value is invalid.
    """

    type: Literal["soft", "hard", "SOFT", "HARD"] = field(
        default="soft",
        metadata=_of(Choice(("soft", "hard")), "How servers restart: soft asks the system, hard cuts the power."),
    )
    batch_size: int = field(
        default=100,
        metadata=_of(
            IntRange(1, MAX_BATCH, "servers", "the API takes no more in one request"),
            "Servers in one request, at most.",
        ),
    )
    max_unavailable: int | str = field(
        default="10%",
        metadata=_of(CountOrPercent(1), "Servers down at once because of us, at most; rounded down, at least 1."),
    )
    max_unavailable_per_domain: int | str | None = field(
        default=None, metadata=_of(CountOrPercent(1), "The same for each domain, of the domain's servers.")
    )
    waves: str | int | Sequence[str | int] = field(
        default="auto",
        metadata=_of(
            WaveSizes(),
            "Sizes of the waves, the last repeats: 1,5%,25%, or 20,domain for a canary and then one wave per domain; "
            "auto is one wave up to 20 servers, above 1,1%,10%,100%.",
        ),
    )
    soak: float = field(default=0.0, metadata=_of(Duration(0, 7 * _DAY), "Pause after each wave but the last."))
    hold_after: int | str | None = field(
        default=None,
        metadata=_of(
            Text(r"(?i)[1-9][0-9]{0,6}|each", 'the number of a wave such as "1", or "each"', numbers=True),
            "Wave after which the run waits for promote, or each.",
        ),
    )
    max_failures: int | str = field(
        default="1%",
        metadata=_of(
            CountOrPercent(0), "Failures that are allowed; one more stops. Rounded down, 0 stops at the first."
        ),
    )
    max_failures_per_wave: int | str | None = field(
        default="10%",
        metadata=_of(
            CountOrPercent(0), "The same for each wave, of the wave's servers: a canary of one that fails stops."
        ),
    )
    max_failures_per_domain: int | str | None = field(
        default=None, metadata=_of(CountOrPercent(0), "The same for each domain, of the domain's servers.")
    )
    on_failure: Literal["stop", "pause"] = field(
        default="stop", metadata=_of(Choice(("stop", "pause")), "What too many failures do.")
    )
    max_not_found: int | str = field(
        default="1%",
        metadata=_of(
            CountOrPercent(0),
            "Given ids that may not exist where nobody is asked, as with --yes; more are refused. Rounded down.",
        ),
    )
    order: Literal["spread", "domain", "input", "oldest"] = field(
        default="spread",
        metadata=_of(
            Choice(("spread", "domain", "input", "oldest")),
            "Order of the servers: spread over domains and hosts, domain by domain, as given, or least recently "
            "updated first.",
        ),
    )
    check: str | None = field(
        default=None,
        metadata=_of(
            _CHECK,
            "What a restarted server must pass: tcp:PORT, http:PORT/PATH, https:PORT/PATH (its certificate is not "
            "verified without --check-ca), url:URL (verified) or cmd:COMMAND; {id}, {name} and {address} are the "
            "server's.",
        ),
    )
    check_ca: str = field(
        default="",
        metadata=_of(
            Text(r".*\S.*", "the path of a PEM file"),
            "Certificates to verify checks by (PEM): of https: the chain, of url: besides the system's.",
        ),
    )
    check_interval: float = field(
        default=5.0, metadata=_of(Duration(0.1, 3_600), "Time between two checks of one server.")
    )
    min_ready: float | None = field(
        default=None,
        metadata=_of(
            Duration(0, _DAY),
            "How long a restarted server must stay healthy until its place is free; 10s with a check, else 0s.",
        ),
    )
    gate: str | None = field(
        default=None, metadata=_of(_COMMAND, "Command that is asked between waves: go, wait or stop.")
    )
    gate_timeout: float = field(
        default=600.0,
        metadata=_of(Duration(1, 7 * _DAY), "How long a gate may say wait, or nothing, before the run stops."),
    )
    server_timeout: float = field(
        default=600.0, metadata=_of(Duration(10, _DAY), "How long a server may take from the request to its return.")
    )
    on_unknown: Literal["verify", "leave"] = field(
        default="verify",
        metadata=_of(
            Choice(("verify", "leave")),
            "A request without an answer or a trace: verify and send again, or leave its servers as unknown.",
        ),
    )
    precheck: bool = field(
        default=True, metadata=_of(Bool(), "Skip servers that are not active just before they would be restarted.")
    )

    def __post_init__(self) -> None:
        """Check every value."""
        _check_fields(self)


@dataclass(frozen=True, slots=True)
class Engine:
    """How one process talks to the cloud, whatever it restarts.

    Raises:
        ConfigError: a value is invalid, or ``burst`` is above the quota's limit.
    """

    quota: Quota = field(
        default=Quota(),
        metadata=_of(QuotaType(), "Servers that the cloud lets through per window; lower it where others restart too."),
    )
    burst: int | None = field(
        default=None,
        metadata=_of(
            IntRange(1, 1_000_000, "servers"), "Servers sent at once at most; the quota's limit where left out."
        ),
    )
    linger: float = field(
        default=0.5, metadata=_of(Duration(0, 60), "How long a batch that is not full waits for more servers.")
    )
    request_timeout: float = field(
        default=30.0, metadata=_of(Duration(1, 600), "How long one API request may take until it is given up.")
    )
    connect_timeout: float = field(
        default=10.0, metadata=_of(Duration(0.1, 600), "How long connecting to the cloud may take.")
    )
    unknown_grace: float = field(
        default=60.0,
        metadata=_of(Duration(0, 3_600), "How long a request that was given up may still start a restart."),
    )
    blind_timeout: float = field(
        default=300.0, metadata=_of(Duration(10, _DAY), "How long nothing may be seen of the cloud before a run stops.")
    )
    typical_restart: float = field(
        default=40.0, metadata=_of(Duration(1, 3_600), "A first guess at a restart; the run learns the real times.")
    )
    submit_workers: int = field(default=16, metadata=_of(IntRange(1, 1_000), "Restart requests in flight at once."))
    look_workers: int = field(default=8, metadata=_of(IntRange(1, 1_000), "State requests in flight at once."))

    def __post_init__(self) -> None:
        """Check every value."""
        _check_fields(self)
        if self.burst is not None and self.burst > self.quota.limit:
            raise ConfigError(
                f"burst = {self.burst}: give at most the quota's limit ({self.quota.limit}), more could never be sent."
            )


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the cloud is. Credentials are no settings: they come from the environment or the SDK's own file.

    Raises:
        ConfigError: a value is invalid.
    """

    endpoint: str = field(
        default="",
        metadata=_of(
            Address(
                r"https?://[^\s/?#]+/?", 'a URL without a path, such as "https://ecs.eu-west-101.myhuaweicloud.eu"'
            ),
            "The ECS endpoint; derived from the region where left out.",
        ),
    )
    region: str = field(
        default="", metadata=_of(Text(r"[A-Za-z0-9_-]+", 'a region such as "eu-west-101"'), "The region.")
    )
    project_id: str = field(
        default="",
        metadata=_of(Text(r"[A-Za-z0-9_-]+", "the project's id as the console shows it"), "The project's id."),
    )
    ca_file: str = field(
        default="",
        metadata=_of(Text(r".*\S.*", "the path of a PEM file"), "Certificates to trust besides the system's (PEM)."),
    )
    api_rate: float = field(
        default=20.0, metadata=_of(Rate(0.1, 1_000), "API requests per second, looks and restarts together.")
    )

    def __post_init__(self) -> None:
        """Check every value."""
        _check_fields(self)
        object.__setattr__(self, "endpoint", self.endpoint.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Programs:
    """What commands of checks and gates may do here; the word of whoever runs this program, never a run's record.

    Raises:
        ConfigError: a value is invalid.
    """

    pass_env: Sequence[str] = field(
        default=(),
        metadata=_of(
            Words(CREDENTIAL_VARIABLES),
            "Credential that commands of checks and gates get too, by its variable; all others they get anyway.",
        ),
    )
    allow_programs: Sequence[str] = field(
        default=(),
        metadata=_of(
            Commands(),
            "Checks and gates that run, word for word, where a store or plan that others may write names them.",
            file_only=True,
        ),
    )

    def __post_init__(self) -> None:
        """Check every value."""
        _check_fields(self)


@dataclass(frozen=True, slots=True)
class Output:
    """Where the command line keeps and writes what happens.

    Raises:
        ConfigError: a value is invalid.
    """

    store: str = field(
        default="",
        metadata=_of(
            Address(r"(sqlite|postgresql)(\+\w+)?://\S+", '"sqlite:///path/to/restarts.db"'),
            "Where runs and quota are kept; an SQLite file in the user's state directory where left out.",
        ),
    )
    cold_start: bool = field(
        default=False,
        metadata=_of(
            Bool(), "Let a store without any runs lend no quota for a window: another machine may have spent it."
        ),
    )
    events: str | None = field(
        default=None,
        metadata=_of(Text(r".*\S.*", 'a file, or "-"'), "File for the events as JSON lines, - for stdout."),
    )
    output: Literal["table", "json"] = field(
        default="table", metadata=_of(Choice(("table", "json")), "What stdout gets: a table or one JSON object.")
    )
    log_format: Literal["console", "json"] = field(
        default="console", metadata=_of(Choice(("console", "json")), "How the log on stderr is written.")
    )

    def __post_init__(self) -> None:
        """Check every value."""
        _check_fields(self)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as files, environment, flags and help name it.

    Attributes:
        name: the field, and the key in a file.
        section: the table of the file that it belongs to.
        kind: its type, which reads and checks it.
        default: its value where none is given.
        help: one line for people.
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
    def optional(self) -> bool:
        """True where it may be empty, which ``none`` says."""
        return self.default is None or self.default in {"", ()}


SECTIONS: Final[Mapping[str, type[Connection | Engine | Strategy | Programs | Output]]] = {
    "connection": Connection,
    "engine": Engine,
    "strategy": Strategy,
    "programs": Programs,
    "output": Output,
}
"""The tables of a settings file, each with its dataclass."""

SETTINGS: Final[Mapping[str, Setting]] = {
    f.name: Setting(f.name, section, f.metadata["kind"], f.default, f.metadata["help"], f.metadata["file_only"])
    for section, kind in SECTIONS.items()
    for f in fields(kind)
}
"""Every setting by its name; names are unique across sections."""


def default_store(environ: Mapping[str, str] = os.environ) -> str:
    """Return the URL of the SQLite file in the user's state directory (``XDG_STATE_HOME``)."""
    # The directory's own specification says that a relative path is to be ignored.
    given = Path(environ.get("XDG_STATE_HOME", ""))
    state = given if given.is_absolute() else Path.home() / ".local" / "state"
    return f"sqlite:///{state / 'ecsbatch' / 'restarts.db'}"


def _check_fields(settings: Any) -> None:
    """Replace every field of a settings dataclass by its checked value.

    Raises:
        ConfigError: a value is invalid.
    """
    for f in fields(settings):
        value = getattr(settings, f.name)
        if (value is None and "None" in str(f.type)) or (not value and value == f.default):
            continue
        kind: SettingType = f.metadata["kind"]
        try:
            object.__setattr__(settings, f.name, kind.check(value))
        except ValueError as e:
            said = kind.shown(value) if isinstance(value, str) else value
            raise ConfigError(f"{f.name} = {said!r}: give {e}.") from None
