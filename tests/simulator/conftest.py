"""A cloud whose clock the test moves by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simulated_world import World


@pytest.fixture
def world() -> Callable[..., World]:
    return World
