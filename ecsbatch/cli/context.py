"""What a command was told: its settings, and how much it shows. Made once by each command, and passed down."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import field, fields
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Final, Self, cast

from ecsbatch.cli.flags import OWN_VARIABLES, given
from ecsbatch.cli.output import set_log_format
from ecsbatch.config.settings import SETTINGS, default_store
from ecsbatch.config.sources import Settings, from_environment, from_flags, load, merge_layers
from ecsbatch.errors import ConfigError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.views.text import RepeatFlags

if TYPE_CHECKING:
    from ecsbatch.views.log import Level

_TO_READ: Final = ("store",)
_TO_GO_ON: Final = ("store", "endpoint", "region", "project_id", "ca_file")
"""Settings without which the next command about a run would look elsewhere: one that reads it, one that goes on."""


_TO_RUN_PROGRAMS: Final = ("pass_env",)
"""Settings without which a run's check and gate would not run as they did."""


@dataclass(frozen=True, slots=True)
class Verbosity:
    """How much is shown.

    Attributes:
        quiet: only warnings.
        verbose: every event.
    """

    quiet: bool = False
    verbose: bool = False

    @property
    def level(self) -> Level:
        """The least level of the log's lines."""
        return "debug" if self.verbose else "warning" if self.quiet else "info"


@dataclass(frozen=True, slots=True)
class CliContext:
    """What a command was told.

    Attributes:
        settings: what flags, environment and file come to.
        verbosity: how much is shown.
        agreed_by: the variable that agrees to restarts in place of a person, "" for none.
    """

    settings: Settings
    verbosity: Verbosity = field(default_factory=Verbosity)
    agreed_by: str = ""

    @classmethod
    def of(cls, flags: Any, config: Path | None = None, verbosity: Verbosity | None = None) -> Self:
        """Merge flags, environment and file. From now on stderr has the form that they ask for.

        Raises:
            ConfigError: a value of theirs is invalid, or the file cannot be read.
        """
        layers = [from_flags(given(flags)), from_environment(os.environ, OWN_VARIABLES)]
        if config is not None:
            layers.append(load(config))
        settings = merge_layers(*layers)
        set_log_format(settings.output.log_format)
        return cls(settings, verbosity or Verbosity())

    @property
    def wants_json(self) -> bool:
        """True where standard output gets JSON instead of text for people."""
        return self.settings.output.output == "json"

    @property
    def repeat(self) -> RepeatFlags:
        """The flags of this command that the next command about its run needs too."""
        return RepeatFlags(self._as_typed(_TO_GO_ON), self._as_typed(_TO_READ), self._as_typed(_TO_RUN_PROGRAMS))

    @property
    def store_url(self) -> str:
        """The store's URL; the folder of the default one is made where it is missing.

        Raises:
            ConfigError: the folder cannot be made.
        """
        if self.settings.output.store:
            return self.settings.output.store
        url = default_store()
        folder = Path(url.removeprefix("sqlite:///")).parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            raise ConfigError(f"The folder {folder} cannot be made ({e.strerror}): give --store sqlite:///PATH.") from e
        return url

    def _as_typed(self, names: tuple[str, ...]) -> str:
        """Write those of these settings that were given as flags, as one would type them."""
        sections = (self.settings.output, self.settings.connection, self.settings.programs)
        values = {name: value for section in sections for name, value in _fields(section).items()}
        typed = [name for name in names if self.settings.origins.get(name) == SETTINGS[name].flag]
        return "".join(f" {SETTINGS[name].flag} {quote(_written(values[name]))}" for name in typed)


def _written(value: object) -> str:
    return ",".join(map(str, cast("Sequence[object]", value))) if isinstance(value, tuple) else str(value)


def _fields(section: Any) -> dict[str, Any]:
    return {each.name: getattr(section, each.name) for each in fields(section)}
