"""``ecsbatch config``: check a file of settings, show the settings that hold and where each comes from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit, UsageError
from ecsbatch.cli.flags import ConfigFile, RestartFlags
from ecsbatch.cli.output import print_json, print_lines
from ecsbatch.config.settings import SECTIONS, SETTINGS, Setting, default_store
from ecsbatch.config.sources import Settings, check_file, merge_layers
from ecsbatch.config.types import Duration, QuotaType, Rate
from ecsbatch.errors import ConfigError
from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.text import counted, printable


def config(  # noqa: D417 - the options are told of where they are defined
    action: Annotated[Literal["check", "show"], Parameter(show_choices=False)],
    file: Annotated[Path | None, Parameter(show_default=False)] = None,
    /,
    *,
    flags: Annotated[RestartFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Check a file of settings, or show all settings that hold now with where each comes from.

    Args:
        action: check FILE names every mistake in it and ends with 2 if there is any; show prints the settings.
        file: The file to check.
    """
    if action == "check":
        if file is None:
            raise UsageError("config check needs a file: ecsbatch config check FILE.")
        return _check(file)
    if file is not None:
        raise UsageError(f"config show takes a file as --config: ecsbatch config show --config {file}.")
    return _show(CliContext.of(flags, config))


def _check(path: Path) -> int:
    given, mistakes = check_file(path)
    texts = [str(mistake) for mistake in mistakes]
    if "quota" in given or not any(text.startswith("quota = ") for text in texts):
        try:
            merge_layers(given)
        except ConfigError as e:
            texts.append(str(e))
    for text in texts:
        sys.stderr.write(f"ecsbatch: {printable(' '.join(text.split()), 1000)}\n")
    if texts:
        print_lines([f"{path}: {counted(len(texts), 'mistake')}."], to_stdout=True)
        return Exit.USAGE
    print_lines([f"{path} is fine: {counted(len(given), 'setting')}."], to_stdout=True)
    return Exit.OK


def _show(context: CliContext) -> int:
    if context.wants_json:
        rows = {name: {"value": shown, "origin": origin} for _, name, shown, origin in _rows(context.settings)}
        print_json({"settings": rows})
        return Exit.OK
    lines: list[str] = []
    last = ""
    for section, name, shown, origin in _rows(context.settings):
        if section != last:
            lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
            last = section
        left = f"{name} = {shown}"
        lines.append(f"{left:44} # {origin}")
    print_lines(lines, to_stdout=True)
    return Exit.OK


def _rows(settings: Settings) -> Iterator[tuple[str, str, str, str]]:
    """Give section, name, value and origin of every setting."""
    for section in SECTIONS:
        values = getattr(settings, section)
        for name, setting in SETTINGS.items():
            if setting.section == section:
                origin = settings.origins.get(name, "default")
                yield section, name, printable(_written(setting, getattr(values, name)), 200), printable(origin)


def _written(setting: Setting, value: Any) -> str:
    """Write a value as it would stand in a file; a password in an address is not shown."""
    if setting.name == "store" and not value:
        value = default_store()
    if value is None or value == "":
        return '"none"' if setting.optional else '""'
    if isinstance(setting.kind, Duration | Rate | QuotaType):
        return f'"{setting.kind.written(value)}"'
    return json_bytes(setting.kind.shown(value) if isinstance(value, str) else value).decode()
