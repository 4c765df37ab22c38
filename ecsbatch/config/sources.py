"""Reads settings from flags, environment and file, and merges them: flag over environment over file over default.

Every value is checked where it is read, so that an error names the flag, the variable or the file's key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field
from pathlib import Path
from shlex import quote
from typing import Any, Final, cast

from ecsbatch.config.declare import invalid
from ecsbatch.config.settings import (
    SECTIONS,
    SETTINGS,
    Connection,
    Engine,
    Observability,
    Output,
    Programs,
    Setting,
    Strategy,
)
from ecsbatch.errors import ConfigError, Invalid
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.arguments import nearest
from ecsbatch.model.ownership import file_exposure, folders_above
from ecsbatch.model.store_url import UNSEEN_WAYS
from ecsbatch.model.text import printable

PREFIX = "ECSBATCH_"

_READ_BY_OTHERS: Final = 0o044

_MOVED: Final = frozenset({("engine", "request_timeout"), ("engine", "connect_timeout")})
"""Tables in which settings have stood before: a file that was written then is read as ever."""


@dataclass(frozen=True, slots=True)
class SettingValue:
    """A setting's value, read and checked.

    Attributes:
        value: as the setting's dataclass takes it.
        origin: where it was given: ``--batch-size``, ``ECSBATCH_BATCH_SIZE`` or the file's path.
    """

    value: object = field(repr=False)
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one call of the program.

    Attributes:
        connection, engine, strategy, programs, observability, output: the settings, by section.
        origins: where each setting was given, by its name; defaults are not in it.
    """

    connection: Connection
    engine: Engine
    strategy: Strategy
    programs: Programs
    observability: Observability
    output: Output
    origins: Mapping[str, str]


def load(path: Path | str) -> dict[str, SettingValue]:
    """Return the settings of a TOML file, by their names.

    Raises:
        ConfigError: the file cannot be read or is no TOML, a key is unknown, or a value is invalid.
    """
    given, mistakes = check_file(path)
    if mistakes:
        raise mistakes[0]
    return given


def check_file(path: Path | str) -> tuple[dict[str, SettingValue], list[ConfigError]]:
    """Return the valid settings of a TOML file, and all its mistakes in the order of the file.

    Raises:
        ConfigError: the file cannot be read, or is no TOML.
    """
    given: dict[str, SettingValue] = {}
    mistakes: list[ConfigError] = []
    for section, table in _read(path).items():
        if section not in SECTIONS:
            mistakes.append(ConfigError(_stray(section, path)))
        elif not isinstance(table, dict):
            mistakes.append(ConfigError(f"{section} = {_toml(None, table)} in {path}: give a table, [{section}]."))
        else:
            for key, raw in cast("dict[str, Any]", table).items():
                try:
                    name, value = _entry(section, key, raw, path)
                    _refuse_foreign(name, path)
                    _refuse_seen(name, value, path)
                    if name in given:
                        raise ConfigError(f"{name} stands twice in {path}: keep one.")  # noqa: TRY301 - as the others
                    given[name] = SettingValue(value, str(path))
                except ConfigError as e:
                    mistakes.append(e)
    return given, mistakes


def _entry(section: str, key: str, raw: object, path: Path | str) -> tuple[str, object]:
    """Return the setting's name and value for one key of a file.

    Raises:
        ConfigError: the key is unknown or stands in the wrong table, or its value is invalid.
    """
    setting = _find(key, f"{key} in [{section}] of {path}")
    if setting.section != section and (section, setting.name) not in _MOVED:
        raise Invalid(
            f"{key} in [{section}] of {path}: it belongs into [{setting.section}].",
            field=setting.name,
            expected=f"it in [{setting.section}]",
        )
    return setting.name, _value(setting, raw, f"{key} = {_toml(setting, raw)} in {path}")


def _refuse_foreign(name: str, path: Path | str) -> None:
    """Refuse to be told by others what may run here.

    Raises:
        ConfigError: only the user's own file may have this setting, and others may write this one.
    """
    if SETTINGS[name].file_only and (exposure := file_exposure(Path(path), *folders_above(Path(path)))):
        raise ConfigError(f"{name} in {path}: it counts only in a file that nobody else may write, and {exposure}.")


def _refuse_seen(name: str, value: object, path: Path | str) -> None:
    """Refuse a password that others may read, as libpq does not heed such a password file.

    Raises:
        ConfigError: a password stands in the value, and not only the file's user may read the file.
    """
    if SETTINGS[name].kind.tells_password(value) and Path(path).stat().st_mode & _READ_BY_OTHERS:
        raise ConfigError(
            f"{name} in {path}: it has a password and others may read the file: `chmod 600 {quote(str(path))}`, or "
            f"{UNSEEN_WAYS}."
        )


def from_environment(environ: Mapping[str, str], elsewhere: Collection[str] = ()) -> dict[str, SettingValue]:
    """Return the settings of ``ECSBATCH_*`` variables, by their names; an empty variable counts as not set.

    Args:
        environ: the process's environment.
        elsewhere: variables that are read elsewhere, without the prefix and in small letters.

    Raises:
        ConfigError: a variable is unknown, or a value is invalid.
    """
    given: dict[str, SettingValue] = {}
    for variable, text in environ.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or not text.strip() or name in elsewhere:
            continue
        setting = _find(name, variable)
        if setting.file_only:
            raise ConfigError(f"{variable}: it has no variable, put {name} into [{setting.section}] of your own file.")
        given[setting.name] = SettingValue(_text(setting, text, f"{variable}={setting.kind.shown(text)}"), variable)
    return given


def from_flags(flags: Mapping[str, str | bool | list[str] | None]) -> dict[str, SettingValue]:
    """Return the settings that flags give, by their names.

    Args:
        flags: what was given, by the setting's name; None for a flag that was not.

    Raises:
        ConfigError: a value is invalid.
    """
    given: dict[str, SettingValue] = {}
    for name, raw in flags.items():
        if raw is not None:
            setting = SETTINGS[name]
            said = f"{setting.flag} {','.join(raw) if isinstance(raw, list) else setting.kind.shown(str(raw))}"
            value = _text(setting, raw, said) if isinstance(raw, str) else _value(setting, raw, said)
            given[name] = SettingValue(value, setting.flag)
    return given


def merge_layers(*layers: Mapping[str, SettingValue]) -> Settings:
    """Merge layers; the first wins: ``merge_layers(from_flags(...), from_environment(...), load(...))``.

    Raises:
        ConfigError: two values do not fit together.
    """
    given = {name: value for layer in reversed(layers) for name, value in layer.items()}
    origins = {name: value.origin for name, value in given.items()}

    def values(section: str) -> dict[str, Any]:
        return {name: value.value for name, value in given.items() if SETTINGS[name].section == section}

    return Settings(
        Connection(**values("connection")),
        Engine(**values("engine")),
        Strategy(**values("strategy")),
        Programs(**values("programs")),
        Observability(**values("observability")),
        Output(**values("output")),
        origins,
    )


def _read(path: Path | str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - only where there is a file

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
        near = nearest(name.replace("-", "_"), SETTINGS)
        raise Invalid(f"{said}: there is no such setting{_hint(near)}.", field=printable(name), expected=near)
    return setting


def _stray(name: str, path: Path | str) -> str:
    """Return the message about a key at a file's top level that is no table of settings."""
    if setting := SETTINGS.get(name.replace("-", "_")):
        return f"{name} in {path}: it belongs into the table [{setting.section}]."
    return f"{name} in {path}: there is no such table{_hint(nearest(name, SECTIONS))}."


def _hint(near: str) -> str:
    return f", the nearest is {near}" if near else ""


def _text(setting: Setting, text: str, said: str) -> object:
    try:
        return setting.default if _none(setting, text) else setting.kind.read(text)
    except ValueError as e:
        raise invalid(setting.name, setting.kind, text, str(e), said) from None


def _value(setting: Setting, raw: object, said: str) -> object:
    try:
        return setting.default if isinstance(raw, str) and _none(setting, raw) else setting.kind.load(raw)
    except ValueError as e:
        raise invalid(setting.name, setting.kind, raw, str(e), said) from None


def _none(setting: Setting, text: str) -> bool:
    return setting.optional and text.strip().lower() in {"none", ""}


def _toml(setting: Setting | None, raw: object) -> str:
    """Return a value as it may have been written in the file, and may be repeated."""
    if isinstance(raw, str):
        return f'"{setting.kind.shown(raw) if setting else raw}"'
    return str(raw).lower() if isinstance(raw, bool) else str(raw)
