"""A plan in a file: the numbers, the servers as they were seen, and a checksum over all of it (the seal).

`plan_pieces` writes one, `read_plan` reads it back.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Final, cast

import orjson

from ecsbatch.errors import ConfigError, PlanStale
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.json_text import json_bytes, stamp
from ecsbatch.model.ownership import Exposure, current_user, exposure_of, seen_file
from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import Fleet, ServerView, Site
from ecsbatch.planning.groups import by_servers

FORMAT: Final = 1
"""The version of the file's format; a file in another one is refused."""

_MARK: Final = "ecsbatch_plan"
_SEAL: Final = "sha256"
_KEPT: Final = ("found", "status", "task_state", "updated", "locked")
"""The fields of a server's view that are kept: those that drift is found by, besides the zone."""


class PlanFileUnreadable(ConfigError):
    """A file cannot be read as a plan.

    Attributes:
        file: its name.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("file",)

    def __init__(self, message: str, *, file: str = "") -> None:
        super().__init__(message)
        self.file = file


@dataclass(frozen=True, slots=True)
class Kept:
    """What a plan's file says.

    Attributes:
        plan: the plan.
        views: its servers as they were seen, by id.
        site: where they are.
        made_at: when it was made, seconds since 1970.
        made_by: the version of ecsbatch that made it.
        exposure: why others may have written the file; None: only this user may.
    """

    plan: Plan
    views: Mapping[str, ServerView]
    site: Site
    made_at: float
    made_by: str
    exposure: Exposure | None = None


def plan_pieces(plan: Plan, views: Mapping[str, ServerView], site: Site, made_at: float) -> Iterator[bytes]:
    """Yield the contents of a plan's file: one JSON object, with a line for each server.

    Args:
        plan: the plan.
        views: its servers as they were seen, by id.
        site: where they are.
        made_at: seconds since 1970.
    """
    from importlib.metadata import version  # noqa: PLC0415 - slow to import, and only who writes a plan needs it

    head = {
        _MARK: FORMAT,
        "made_at": stamp(made_at),
        "made_by": version("ecsbatch"),
        "site": asdict(site),
        "plan": plan.to_json(),
    }
    rows = [_row(plan.fleet, index, views) for index in range(len(plan.fleet))]
    yield json_bytes(head)[:-1]
    yield b',"' + _SEAL.encode() + b'":"' + _seal(head, rows).encode() + b'","servers":[\n'
    yield b",\n".join(json_bytes(row) for row in rows)
    yield b"\n]}\n"


def is_plan(file: str) -> bool:
    """Return True where a file begins as a plan's does."""
    try:
        with Path(file).open("rb") as opened:
            return opened.read(64).lstrip().startswith(b'{"' + _MARK.encode())
    except (OSError, ValueError):
        return False


def read_plan(file: str) -> Kept:
    """Return what a plan's file says.

    Raises:
        ConfigError: the file cannot be read, is no plan, or has another format.
        PlanStale: the file was changed after it was made.
    """
    raw, exposure = _object(file)
    if raw[_MARK] != FORMAT:
        raise ConfigError(
            f"{file} is a plan in form {raw[_MARK]}, this version knows {FORMAT}: plan again with this one."
        )
    seal, rows = raw.pop(_SEAL, ""), raw.pop("servers", None)
    try:
        changed = seal != _seal(raw, rows)
        kept = None if changed else _kept(raw, rows)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise ConfigError(f"{file} is no whole plan ({type(e).__name__}): plan again.") from None
    if kept is None or kept.plan.hash != raw["plan"]["hash"]:
        raise PlanStale(f"{file} was changed after it was made, its seal is broken: plan again.")
    return replace(kept, exposure=exposure)


def _object(file: str) -> tuple[dict[str, Any], Exposure | None]:
    exposure: Exposure | None = None
    try:
        with Path(file).open("rb") as opened:
            exposure = _exposure(opened, Path(file))
            raw = orjson.loads(opened.read())
    except OSError as e:
        raise PlanFileUnreadable(
            f"{file} cannot be read ({e.strerror}): name a file that holds a plan.", file=file
        ) from e
    except (orjson.JSONDecodeError, ValueError):
        raw = None
    if not isinstance(raw, dict) or _MARK not in raw:
        raise PlanFileUnreadable(f"{file} is no plan: name a file that holds one.", file=file)
    return cast("dict[str, Any]", raw), exposure


def _exposure(opened: BinaryIO, path: Path) -> Exposure | None:
    """Ask of the open file itself: another one may have its name a moment later."""
    status = os.fstat(opened.fileno())
    if not stat.S_ISREG(status.st_mode):
        return Exposure(f"{path} is no file, and whoever fills it writes the plan", "a file of your own in its place")
    return exposure_of([seen_file(status, path, opened.fileno())], current_user())


def _kept(raw: Mapping[str, Any], rows: list[dict[str, Any]]) -> Kept:
    fleet = Fleet(
        [row["id"] for row in rows],
        [row.get("domain", "") for row in rows],
        [row.get("name", "") for row in rows],
        [row.get("site", "") for row in rows],
        [row.get("host", "") for row in rows],
        _tags([row.get("tags", {}) for row in rows]),
    )
    views = {row["id"]: _view(row) for row in rows}
    made_at = datetime.fromisoformat(raw["made_at"]).timestamp()
    known = {each.name for each in fields(Site)}
    site = Site(**{name: value for name, value in raw["site"].items() if name in known})
    return Kept(Plan.from_json(raw["plan"], fleet), views, site, made_at, str(raw["made_by"]))


def _row(fleet: Fleet, index: int, views: Mapping[str, ServerView]) -> dict[str, Any]:
    """Return one server's object, without what is empty or as in most servers."""
    server = fleet[index]
    view = views.get(server.id) or ServerView(server.id, found=False)
    usual = ServerView(server.id)
    row = {"id": server.id, "domain": server.domain, "name": server.name, "site": server.site, "az": view.az}
    groups = {
        "host": fleet.host(index),
        "tags": {key: values[index] for key, values in fleet.tags.items() if values[index]},
    }
    seen = {name: getattr(view, name) for name in _KEPT if getattr(view, name) != getattr(usual, name)}
    return {name: value for name, value in (row | groups).items() if value} | seen


def _tags(of_each: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the tags of all servers as columns, in the order in which a plan has them."""
    servers = Counter(key for tags in of_each for key in tags)
    return {key: [tags.get(key, "") for tags in of_each] for key in by_servers(servers)}


def _view(row: Mapping[str, Any]) -> ServerView:
    return ServerView(row["id"], az=row.get("az", ""), **{name: row[name] for name in _KEPT if name in row})


def _seal(head: Mapping[str, Any], rows: Any) -> str:
    """Return the SHA-256 of all that the file says: it finds mistakes; whoever wants to deceive can seal anew."""
    digest = hashlib.sha256(orjson.dumps(dict(head), option=orjson.OPT_SORT_KEYS))
    digest.update(orjson.dumps(rows, option=orjson.OPT_SORT_KEYS))
    return digest.hexdigest()
