"""The databases on which the tests of the store are run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from backends import Backend, InFile, InMemory


@pytest.fixture
def backend() -> Iterator[Backend]:
    """Return a new database of each kind, in turn."""
    made = InMemory()
    yield made
    made.close()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Backend]:
    """Return a new database of each kind that processes share, in turn."""
    made = InFile(tmp_path / "restarts.db")
    yield made
    made.close()
