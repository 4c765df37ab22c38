"""The JSON of the API, and what it means in our words.

`job_of` runs for up to 1,000 sub-jobs a look and is the busiest code of a rollout: it reads servers that are still
awaited, builds nothing for those that run on, and leaves the checking of shapes to the exceptions that a wrong one
raises. All else fails closed: a shape that is not the documented one is an `UnknownAnswer`.
"""

from __future__ import annotations

import re
from collections.abc import Container, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from ecsbatch.errors import UnknownAnswer
from ecsbatch.model.servers import MAX_BATCH, Job, RestartType, ServerView, SubJob
from ecsbatch.model.text import one_line, truncate
from ecsbatch.planning.selection import as_server_id

_JOB_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MAX_WORD: Final = 64
_MAX_NAME: Final = 256
_ALWAYS_THERE: Final = ("name", "created", "hostId", "tenant_id", "flavor", "metadata", "OS-EXT-STS:vm_state")
"""Fields of which every server that exists has some."""
_NOTHING: Final[dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a listing.

    Attributes:
        servers: its rows, in the cloud's order.
        count: the cloud's ``count``, None where it gave none.
    """

    servers: Sequence[ServerView]
    count: int | None = None


def reboot_body(type_: RestartType, ids: Sequence[str]) -> bytes:
    """Return the body of BatchRebootServers.

    Raises:
        ValueError: no servers, or more than `MAX_BATCH`.
    """
    if not 1 <= len(ids) <= MAX_BATCH:
        raise ValueError(f"A request names 1 to {MAX_BATCH} servers, not {len(ids)}.")
    return orjson.dumps({"reboot": {"type": type_, "servers": [{"id": id_} for id_ in ids]}})


@contextmanager
def _reading(what: str) -> Generator[None]:
    """Turn whatever a wrong shape raises into the error that says so."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as e:
        raise UnknownAnswer(f"The cloud's answer is not {what} as documented.", answered=True) from e


def job_id_of(body: bytes) -> str:
    """Return the job that a submit was answered with.

    Raises:
        UnknownAnswer: the answer names none, so that nothing is certain.
    """
    with _reading("a job id"):
        job_id = orjson.loads(body)["job_id"]
        if not _JOB_ID.fullmatch(job_id):
            raise ValueError
        return str(job_id)


def job_of(body: bytes, job_id: str, pending: Container[str], *, running: bool = False) -> Job:
    """Read ShowJob.

    Args:
        body: the answer.
        job_id: the job that was asked for.
        pending: the servers that have not ended yet; sub-jobs of others are passed over.
        running: name those that are shown under way, too.

    Raises:
        UnknownAnswer: the answer is not this job.
    """
    with _reading("a job"):
        job: Any = orjson.loads(body)
        status = job["status"]
        if not isinstance(status, str) or not status or (job.get("job_id") or job_id) != job_id:
            raise ValueError
        ended: dict[str, SubJob] = {}
        shown: list[Any] = []
        for sub in (job.get("entities") or _NOTHING).get("sub_jobs") or ():
            said = sub.get("status")
            # Most rows of most looks are still running: no more is read of them than this.
            if said != "SUCCESS" and said != "FAIL":  # noqa: PLR1714 - a set would hash the word each time
                if running:
                    shown.append((sub.get("entities") or _NOTHING).get("server_id"))
                continue
            server_id = (sub.get("entities") or _NOTHING).get("server_id")
            if server_id is not None and server_id in pending:
                ended[server_id] = _sub_job(sub, server_id, succeeded=said == "SUCCESS")
        return Job(
            job_id,
            _word(status),
            tuple(ended.values()),
            _word(job.get("error_code")),
            _text(job.get("fail_reason")),
            frozenset(server_id for server_id in shown if isinstance(server_id, str)),
        )


def _sub_job(sub: Any, server_id: str, *, succeeded: bool) -> SubJob:
    """Build what is kept of an ended sub-job."""
    seconds = _seconds(sub.get("begin_time"), sub.get("end_time"))
    if succeeded:
        return SubJob(server_id, True, "", "", seconds)  # noqa: FBT003 - by place: 1,000 of them a look
    reasons = (_text(sub.get("fail_reason")), _text(sub["entities"].get("errorcode_message")))
    told = [reason for reason in dict.fromkeys(reasons) if reason]
    message = truncate("; ".join(one for one in told if not any(one in other and one != other for other in told)))
    return SubJob(server_id, succeeded, _word(sub.get("error_code")), message, seconds)


def _seconds(begin: Any, end: Any) -> float | None:
    """Return the time between two of the cloud's stamps, None where they do not make sense."""
    if not isinstance(begin, str) or not isinstance(end, str) or not begin or not end:
        return None
    try:
        took = (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
    except (ValueError, TypeError):
        return None
    return took if took >= 0 else None


def _text(value: Any) -> str:
    """Return a foreign sentence, fit to be shown; "" for null."""
    return truncate(one_line(value)) if isinstance(value, str) else ""


def _word(value: Any, limit: int = _MAX_WORD) -> str:
    """Return a foreign name, fit to be shown; "" for null."""
    # The usual case first: a listing of 20,000 servers comes by here 200,000 times.
    if type(value) is str and len(value) <= limit and value.isascii() and value.isprintable():
        return value
    if not value:
        return ""
    if not isinstance(value, str):
        raise TypeError
    return truncate(one_line(value), limit)


def page_of(body: bytes) -> ListingPage:
    """Read a page of ListServersDetails.

    Raises:
        UnknownAnswer: the answer is no list of servers.
    """
    with _reading("a list of servers"):
        answer = orjson.loads(body)
        count = answer.get("count")
        servers = [_view(row) for row in answer["servers"]]
        return ListingPage(servers, count if isinstance(count, int) and not isinstance(count, bool) else None)


def views_of(body: bytes, asked: Container[str]) -> tuple[list[ServerView], int]:
    """Read the rows of ListServersDetails that were asked for by id, and count the others.

    A row without a status tells nothing and is left out.

    Raises:
        UnknownAnswer: the answer is no list of servers.
    """
    servers = page_of(body).servers
    wanted = [server for server in servers if server.id in asked]
    return [server for server in wanted if server.status or not server.found], len(servers) - len(wanted)


def view_of(body: bytes, asked: str) -> ServerView:
    """Read ShowServer.

    Raises:
        UnknownAnswer: the answer is not this server.
    """
    with _reading("a server"):
        view = _view(orjson.loads(body)["server"])
        if view.id != asked or not view.status:
            raise ValueError
        return view


def _view(row: Any) -> ServerView:
    """Keep what we need of a server: never the whole row, whose ``user_data`` may carry secrets."""
    id_ = row["id"]
    if not isinstance(id_, str) or not id_:
        raise TypeError
    status = row.get("status")
    if not status and row.get("fault") and not any(row.get(name) for name in _ALWAYS_THERE):
        # An id that the cloud does not know gives a row of nulls with a fault ("Instance ... could not be found").
        return ServerView(as_server_id(id_), found=False)
    return ServerView(
        as_server_id(id_),
        True,  # noqa: FBT003 - by place: a listing has a million of them
        _word(status),
        _word(row.get("OS-EXT-STS:task_state")),
        _word(row.get("updated")),
        _flag(row.get("locked")),
        _word(row.get("OS-EXT-AZ:availability_zone")),
        _word(row.get("name"), _MAX_NAME),
        _word(row.get("hostId"), _MAX_NAME),
        _word(row.get("enterprise_project_id")),
        tuple([_word(tag, _MAX_NAME) for tag in row.get("tags") or ()]),
        _address(row.get("addresses")),
    )


def _flag(value: Any) -> bool:
    """Return a foreign yes or no; null is no, and whatever is neither makes the row another shape."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise TypeError


def _address(networks: Any) -> str:
    """Return the first fixed address, IPv4 before IPv6; "" where the row names none."""
    ports: list[dict[str, Any]] = [port for named in (networks or _NOTHING).values() for port in named]
    fixed = [port for port in ports if port.get("OS-EXT-IPS:type", "fixed") == "fixed"]
    found = [(str(port.get("version")), _word(port.get("addr"))) for port in fixed]
    return min(found)[1] if found else ""
