"""Where settings come from: flag over environment over file over default, each checked where it was written."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from ecsbatch.config.settings import SECTIONS, SETTINGS, Connection, Engine, Output, Setting, Strategy
from ecsbatch.errors import ConfigError

PREFIX = "ECSBATCH_"


@dataclass(frozen=True, slots=True)
class SettingValue:
    """A setting's value, read and checked.

    Attributes:
        value: as the settings' dataclass takes it.
        origin: for people: ``--batch-size``, ``ECSBATCH_BATCH_SIZE`` or the file's path.
    """

    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one call of the program.

    Attributes:
        connection, engine, strategy, output: see there.
        origins: where each setting that is no default came from, by its name.
    """

    connection: Connection
    engine: Engine
    strategy: Strategy
    output: Output
    origins: Mapping[str, str]


def load(path: Path | str) -> dict[str, SettingValue]:
    """Read a TOML file of settings, checked against all settings there are.

    Raises:
        ConfigError: it cannot be read, is no TOML, names an unknown key or gives a value that cannot be meant.
    """
    given, mistakes = check_file(path)
    if mistakes:
        raise mistakes[0]
    return given


def check_file(path: Path | str) -> tuple[dict[str, SettingValue], list[ConfigError]]:
    """Read a TOML file of settings to its end; return what can be meant, and every mistake in its order.

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    given: dict[str, SettingValue] = {}
    mistakes: list[ConfigError] = []
    for section, table in _read(path).items():
        if section not in SECTIONS:
            mistakes.append(ConfigError(_stray(section, path)))
        elif not isinstance(table, dict):
            mistakes.append(ConfigError(f"{section} = {_toml(table)} in {path}: give a table, [{section}]."))
        else:
            for key, raw in cast("dict[str, Any]", table).items():
                try:
                    name, value = _entry(section, key, raw, path)
                    if name in given:
                        raise ConfigError(f"{name} stands twice in {path}: keep one.")  # noqa: TRY301 - as the others
                    given[name] = SettingValue(value, str(path))
                except ConfigError as e:
                    mistakes.append(e)
    return given, mistakes


def _entry(section: str, key: str, raw: object, path: Path | str) -> tuple[str, object]:
    """Read one key of a file.

    Raises:
        ConfigError: it is unknown, stands in the wrong table, or its value cannot be meant.
    """
    setting = _find(key, f"{key} in [{section}] of {path}")
    if setting.section != section:
        raise ConfigError(f"{key} in [{section}] of {path}: it belongs into [{setting.section}].")
    return setting.name, _value(setting, raw, f"{key} = {_toml(raw)} in {path}")


def from_environment(environ: Mapping[str, str], elsewhere: Collection[str] = ()) -> dict[str, SettingValue]:
    """Read the ``ECSBATCH_*`` variables; an empty one counts as not set.

    Args:
        environ: the process's environment.
        elsewhere: names, without the prefix and in lower case, that somebody else reads.

    Raises:
        ConfigError: a variable that nobody knows, or a value that cannot be meant.
    """
    given: dict[str, SettingValue] = {}
    for variable, text in environ.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or not text.strip() or name in elsewhere:
            continue
        setting = _find(name, variable)
        given[setting.name] = SettingValue(_text(setting, text, f"{variable}={text}"), variable)
    return given


def from_flags(flags: Mapping[str, str | bool | None]) -> dict[str, SettingValue]:
    """Read flags by their settings' names; None is one that was not given.

    Raises:
        ConfigError: a value that cannot be meant.
    """
    given: dict[str, SettingValue] = {}
    for name, raw in flags.items():
        if raw is not None:
            setting = SETTINGS[name]
            said = f"{setting.flag} {raw}"
            value = _text(setting, raw, said) if isinstance(raw, str) else _value(setting, raw, said)
            given[name] = SettingValue(value, setting.flag)
    return given


def merge_layers(*layers: Mapping[str, SettingValue]) -> Settings:
    """Merge layers, the first of which wins: ``settle(from_flags(...), from_environment(...), load(...))``.

    Raises:
        ConfigError: values that do not fit one another.
    """
    given = {name: value for layer in reversed(layers) for name, value in layer.items()}
    origins = {name: value.origin for name, value in given.items()}

    def values(section: str) -> dict[str, Any]:
        return {name: value.value for name, value in given.items() if SETTINGS[name].section == section}

    return Settings(
        Connection(**values("connection")),
        Engine(**values("engine")),
        Strategy(**values("strategy")),
        Output(**values("output")),
        origins,
    )


def _read(path: Path | str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_bytes().decode())
    except OSError as e:
        raise ConfigError(f"{path} cannot be read ({e.strerror}): name a TOML file of settings.") from e
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path} is no text in UTF-8 (byte {e.start}): name a TOML file of settings.") from None
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{path} is no TOML: {e}.") from None


def _find(name: str, said: str) -> Setting:
    setting = SETTINGS.get(name.replace("-", "_"))
    if setting is None:
        raise ConfigError(f"{said}: there is no such setting{_nearest(name.replace('-', '_'), SETTINGS)}.")
    return setting


def _stray(name: str, path: Path | str) -> str:
    """Word the error about a key at a file's top level that is no table of settings."""
    if setting := SETTINGS.get(name.replace("-", "_")):
        return f"{name} in {path}: it belongs into the table [{setting.section}]."
    return f"{name} in {path}: there is no such table{_nearest(name, SECTIONS)}."


def _nearest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f", the nearest is {close[0]}" if close else ""


def _text(setting: Setting, text: str, said: str) -> object:
    try:
        return setting.default if _none(setting, text) else setting.kind.read(text)
    except ValueError as e:
        raise ConfigError(f"{said}: give {e}.") from None


def _value(setting: Setting, raw: object, said: str) -> object:
    try:
        return setting.default if isinstance(raw, str) and _none(setting, raw) else setting.kind.load(raw)
    except ValueError as e:
        raise ConfigError(f"{said}: give {e}.") from None


def _none(setting: Setting, text: str) -> bool:
    return setting.optional and text.strip().lower() in {"none", ""}


def _toml(raw: object) -> str:
    """Write a value of a file as it may have stood there."""
    if isinstance(raw, str):
        return f'"{raw}"'
    return str(raw).lower() if isinstance(raw, bool) else str(raw)
