"""The page's token: a variable's, or one that is kept in a file, so that a restart of the process keeps viewers."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Final

from ecsbatch.config.settings import PAGE_TOKEN, default_store
from ecsbatch.errors import ConfigError
from ecsbatch.lazy_dataclass import dataclass

SHORTEST: Final = 16
"""Characters that a token has at least: whoever guesses gets no second try by the clock, but as many as he likes."""

_FILE: Final = "dashboard.token"
_BYTES: Final = 32
_LONGEST: Final = 512


@dataclass(frozen=True, slots=True)
class PageToken:
    """A token.

    Attributes:
        text: the secret.
        given: True where the variable has it, so that whoever started the process knows it.
    """

    text: str = field(repr=False)
    given: bool


def page_token(environ: Mapping[str, str] = os.environ) -> PageToken:
    """Return the token of this user's pages, made where there is none.

    Raises:
        ConfigError: the variable's is too short, or the file cannot be used.
    """
    given = environ.get(PAGE_TOKEN, "").strip()
    if not given:
        return PageToken(kept_token(token_path(environ)), given=False)
    if len(given) < SHORTEST:
        raise ConfigError(f"{PAGE_TOKEN} has {len(given)} characters: give a secret of {SHORTEST} or more.")
    return PageToken(given, given=True)


def token_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the token is kept: beside the default store."""
    return Path(default_store(environ).removeprefix("sqlite:///")).with_name(_FILE)


def kept_token(path: Path) -> str:
    """Return the token of a file, which is made where it is missing; of several processes at once all get the same.

    Raises:
        ConfigError: the file can be read by others or is not this user's own, or it cannot be made or read.
    """
    try:
        return _read(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as e:
        raise ConfigError(f"The page's token in {path} cannot be read ({e.strerror}): remove the file.") from e
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(path)
        return _read(path)
    except OSError as e:
        raise ConfigError(f"The page's token cannot be kept in {path} ({e.strerror}): give one by {PAGE_TOKEN}.") from e


def _make(path: Path) -> None:
    """Write a new token; where another process is first, its token stays."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(part, path)
    finally:
        part.unlink()


def _read(path: Path) -> str:
    if path.is_symlink():
        raise ConfigError(f"The page's token in {path} is a symbolic link: remove it, and another token is made.")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        _check_owned(path, os.fstat(file.fileno()))
        text = file.read(_LONGEST).decode("ascii", "replace").strip()
    if len(text) < SHORTEST or not text.isascii() or not text.isprintable():
        raise ConfigError(f"{path} has no token of a page: remove it, and another one is made.")
    return text


def _check_owned(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path} is no file, so that it has no token of a page: remove it.")
    if found.st_uid != os.geteuid():
        raise ConfigError(f"The page's token in {path} is another user's: remove it, and another one is made.")
    if found.st_mode & 0o077:
        raise ConfigError(
            f"The page's token in {path} may be read by others (mode {stat.S_IMODE(found.st_mode):o}): remove it, and "
            "another one is made."
        )
