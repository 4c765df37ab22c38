"""All scenarios by their names, and how one is played."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from . import abort_scenarios, look_scenarios, quota_scenarios
from .stage import Product, Stage, Stuck
from .verdict import Verdict

Scenario = Callable[[Stage, Verdict], None]

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.__name__: scenario
    for module in (quota_scenarios, abort_scenarios, look_scenarios)
    for scenario in module.SCENARIOS
}

ACROSS: Final[dict[str, Scenario]] = {scenario.__name__: scenario for scenario in quota_scenarios.ACROSS}
"""Those that want an older checkout as well."""


def play(name: str, product: Product) -> Verdict:
    """Play a scenario and return its verdict; what never comes is one, too."""
    verdict = Verdict(name)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"hostile-{name}-") as folder, Stage(Path(folder), product) as stage:
        try:
            (SCENARIOS | ACROSS)[name](stage, verdict)
        except Stuck as e:
            verdict.complaints += [str(e), *stage.last_words()]
    verdict.note(f"{time.monotonic() - began:.0f} s")
    return verdict
