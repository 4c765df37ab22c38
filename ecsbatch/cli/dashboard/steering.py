"""What may be asked of a run from the page: as from the command line, but no limit is loosened, and nothing retried.

The body of a request is an object: its ``action`` is ``pause``, ``resume``, ``promote``, ``adjust`` with new values of
``max_unavailable`` and ``max_failures`` beside it, or ``abort`` with the run's id typed once more as ``run``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from ecsbatch.cli.remote import loosened
from ecsbatch.errors import EcsbatchError, EngineStopped, Invalid, RunConflict, RunNotFound, ServerNotFound, StoreError
from ecsbatch.model.text import MAX_TEXT, printable
from ecsbatch.views.steering import steering_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecsbatch.model.recorded import Recorded
    from ecsbatch.rollout.history import History

LIMITS: Final = ("max_unavailable", "max_failures")
"""Limits that can be tightened from the page."""

_ENDS: Final = "Nothing more is sent; the run ends once its servers under way have their outcome."
_ASKED: Final = "The run is asked to abort, and whoever goes on with it follows. Until then requests may leave."

_STATUS: Final[Mapping[type[EcsbatchError], int]] = {
    ServerNotFound: 404,
    RunNotFound: 404,
    RunConflict: 409,
    Invalid: 422,
    EngineStopped: 503,
    StoreError: 503,
    EcsbatchError: 400,
}


def status_of(error: EcsbatchError) -> int:
    """Return the HTTP status that answers an error."""
    return next(status for kind, status in _STATUS.items() if isinstance(error, kind))


def read_request(body: bytes) -> dict[str, Any]:
    """Read the body of a request.

    Raises:
        Invalid: it is no object with an action.
    """
    try:
        asked: Any = orjson.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise Invalid("The body is no JSON object.", field="action", expected="an action")
    return cast("dict[str, Any]", asked)


async def steer(runs: History, run_id: str, asked: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Ask the process that holds a run, and wait until it has followed; return what it has recorded.

    Args:
        runs: of the store.
        run_id: which run, by its whole id.
        asked: see `read_request`.
        by: who asks, for the record.

    Raises:
        Invalid: there is no such action, a limit would be loosened, or an abort is not confirmed.
        RunConflict: nobody can follow, or nobody did in time.
        RunNotFound: there is no such run.
        StoreError: the store cannot be used.
    """
    steering = runs.steer(run_id)
    match asked.get("action"):
        case "pause":
            return _told(await steering.pause(by))
        case "resume":
            return _told(await steering.resume(by))
        case "promote":
            return _told(await steering.promote(by))
        case "adjust":
            limits = await _tighter(runs, run_id, {name: asked[name] for name in asked if name != "action"})
            return _told(await steering.adjust(by, **limits))
        case "abort":
            _check_typed(run_id, asked.get("run"))
            followed = await steering.abort(by)
            return {"followed": followed, "text": _ENDS if followed else _ASKED}
        case action:
            given = printable(str(action))
            expected = "pause, resume, promote, adjust or abort"
            raise Invalid(f"action = {given!r}: give {expected}.", field="action", value=given, expected=expected)


async def _tighter(runs: History, run_id: str, limits: dict[str, Any]) -> dict[str, Any]:
    """Return new limits.

    Raises:
        Invalid: there are none, or one is looser than it is now: that is asked for where somebody is asked back.
    """
    for name in limits:
        if name not in LIMITS:
            raise Invalid(
                f"{printable(name)} cannot be changed from the page: {' and '.join(LIMITS)} can.", field=printable(name)
            )
    looser = loosened(await runs.state(run_id), limits)
    if looser:
        raise Invalid(
            f"{', '.join(looser)} would allow more than now: the page only tightens limits, ecsbatch adjust loosens "
            "them.",
            field=looser[0],
            value=limits[looser[0]],
            expected="less than now",
        )
    return limits


def _check_typed(run_id: str, typed: object) -> None:
    if typed != run_id:
        raise Invalid(
            f"An abort is final: type the run's id, {run_id}, to confirm it.", field="run", expected="the run's id"
        )


def _told(events: Sequence[Recorded]) -> dict[str, Any]:
    texts = [printable(text, MAX_TEXT) for text in steering_texts(recorded.event for recorded in events)]
    return {"followed": True, "text": f"{'; '.join(texts) or 'it is so already'}."}
