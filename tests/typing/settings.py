"""Settings as a program with types sees them: what may be given, and what is read. Never executed, as `api.py` is not.

An ignored error is one that must be found: mypy complains where there is nothing to ignore.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_type

from ecsbatch import Changes, Engine, Quota, Server, Strategy
from ecsbatch.errors import ConfigError, EcsbatchError, Invalid


def durations() -> None:
    """Give durations as text or in seconds; read seconds."""
    strategy = Strategy(soak="5m", min_ready=10, gate_timeout=60.0, server_timeout="10m", check_interval="1s")
    assert_type(strategy, Strategy)
    assert_type(strategy.soak, float)
    assert_type(strategy.min_ready, float | None)
    assert_type(strategy.waves, tuple[str, ...])
    assert_type(replace(strategy, soak=30), Strategy)
    engine = Engine(linger=0.1, unknown_grace="90s", check_workers=100, check_timeout="30s")
    assert_type(engine.check_timeout, float)
    assert_type(engine.check_workers, int | None)


def mistaken(strategy: Strategy) -> None:
    """Make mistakes that a type checker sees although the program would be told only when it runs."""
    Strategy(soak=None)  # type: ignore[arg-type]
    Strategy(max_unavailble=1)  # type: ignore[call-arg]
    Engine(request_timeout=30.0)  # type: ignore[call-arg]
    Engine(check_timeout=b"10s")  # type: ignore[arg-type]
    Quota(limt=5)  # type: ignore[call-arg]
    Changes(retry=3)  # type: ignore[arg-type]
    Server()  # type: ignore[call-arg]
    strategy.soak = 3.0  # type: ignore[misc]


def told(error: EcsbatchError) -> dict[str, object]:
    """Answer over HTTP."""
    if isinstance(error, Invalid):
        assert_type(error.field, str)
        assert_type(error.expected, str)
        refused: ConfigError = error
        return refused.as_dict()
    return error.as_dict()
