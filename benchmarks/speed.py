"""How fast the simulated cloud's time goes; by itself, so that a contestant imports nothing of the cloud with it."""

from __future__ import annotations

from typing import Final

SPEED: Final = 12.0
"""The cloud's seconds in a real one: a restart of 40 s takes 3.3 s."""
