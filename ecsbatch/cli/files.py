"""Files that commands write: for their owner only, and whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ecsbatch.errors import ConfigError


def write_file(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file for its owner only; the old one stays until the new one is whole.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        part = path.with_name(path.name + ".part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else "that is no file's name"
        raise ConfigError(f"--out {path} cannot be written ({reason}): name a file in a folder of yours.") from e
