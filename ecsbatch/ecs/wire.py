"""Writes and reads the API's JSON: the one door through which a cloud's words come in.

Each text that is kept is made one printable line here and stripped of secrets, whatever the status: a cloud may echo
what it was sent. An id that would change by that is not kept at all.

`job_of` reads up to 1,000 sub-jobs a look and is the busiest code of a rollout: it reads only servers that are still
waited for, builds nothing for those that are still running, and leaves it to the exceptions of a wrong shape to find
one. What does not have the documented shape is an `UnknownAnswer`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeAlias

import orjson

from ecsbatch.ecs.auth.schemes import NOT_SEARCHED
from ecsbatch.errors import UnknownAnswer
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.servers import MAX_BATCH, Job, RestartType, ServerView, SubJob
from ecsbatch.model.text import one_line, truncate
from ecsbatch.planning.selection import as_server_id

Redact: TypeAlias = Callable[[str], str]
"""Hides secrets in a text, see `Auth.redact`."""

_JOB_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MAX_WORD: Final = 64
_MAX_NAME: Final = 256
_MAX_ID: Final = 64
_ALWAYS_THERE: Final = ("name", "created", "hostId", "tenant_id", "flavor", "metadata", "OS-EXT-STS:vm_state")
"""Fields of which every existing server has at least one."""
_NOTHING: Final[dict[str, Any]] = {}
_STATES: Final = frozenset({"INIT", "RUNNING", "SUCCESS", "FAIL"})
"""What the API calls a job's state; these words are no secrets."""


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a listing.

    Attributes:
        servers: its rows, in the cloud's order.
        count: the cloud's ``count`` of all servers that match, None where it gave none.
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
    """Turn what a wrong shape raises into an `UnknownAnswer`."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as e:
        raise UnknownAnswer(f"The cloud's answer is not {what} as documented.", answered=True) from e


def job_id_of(body: bytes, redact: Redact = str) -> str:
    """Return the job's id from the answer to a submit (BatchRebootServers).

    Raises:
        UnknownAnswer: the answer has none: the request may have been carried out.
    """
    with _reading("a job id"):
        job_id = orjson.loads(body)["job_id"]
        if not _JOB_ID.fullmatch(job_id) or not _is_clean(job_id, redact):
            raise ValueError
        return str(job_id)


def job_of(body: bytes, job_id: str, pending: Container[str], redact: Redact = str, *, running: bool = False) -> Job:
    """Return the job that an answer to ShowJob shows.

    Args:
        body: the answer's body.
        job_id: the job that was asked for.
        pending: servers without an outcome yet; sub-jobs of other servers are left out.
        redact: hides secrets.
        running: True to name the servers that are shown under way, too.

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
            # Most rows of most looks are still running: no more of them is read than this.
            if said != "SUCCESS" and said != "FAIL":  # noqa: PLR1714 - a set would hash the word each time
                if running:
                    shown.append((sub.get("entities") or _NOTHING).get("server_id"))
                continue
            server_id = (sub.get("entities") or _NOTHING).get("server_id")
            if server_id is not None and server_id in pending:
                ended[server_id] = _sub_job(sub, server_id, redact, succeeded=said == "SUCCESS")
        return Job(
            job_id,
            status if status in _STATES else _state(status, redact),
            tuple(ended.values()),
            _word(job.get("error_code"), redact),
            _text(job.get("fail_reason"), redact),
            frozenset(server_id for server_id in shown if isinstance(server_id, str)),
        )


def _sub_job(sub: Any, server_id: str, redact: Redact, *, succeeded: bool) -> SubJob:
    """Return what is kept of an ended sub-job."""
    seconds, ended_at = _times(sub.get("begin_time"), sub.get("end_time"))
    if succeeded:
        return SubJob(server_id, True, "", "", seconds, ended_at)  # noqa: FBT003 - by place: 1,000 of them a look
    reasons = (_text(sub.get("fail_reason"), redact), _text(sub["entities"].get("errorcode_message"), redact))
    told = [reason for reason in dict.fromkeys(reasons) if reason]
    message = truncate("; ".join(one for one in told if not any(one in other and one != other for other in told)))
    return SubJob(server_id, succeeded, _word(sub.get("error_code"), redact), message, seconds, ended_at)


def _times(begin: Any, end: Any) -> tuple[float | None, float | None]:
    """Return the seconds between two of the cloud's times, and the latter since 1970; None where they make no sense."""
    if not isinstance(begin, str) or not isinstance(end, str) or not begin or not end:
        return None, None
    try:
        ended = datetime.fromisoformat(end)
        took = (ended - datetime.fromisoformat(begin)).total_seconds()
        ended_at = ended.timestamp() if ended.tzinfo is not None else None
    except (ValueError, TypeError, OverflowError):
        return None, None
    return (took, ended_at) if took >= 0 else (None, None)


def _text(value: Any, redact: Redact) -> str:
    """Return a sentence of the cloud, fit to be shown; "" for null."""
    return truncate(redact(one_line(value))) if isinstance(value, str) else ""


def _word(value: Any, redact: Redact, limit: int = _MAX_WORD) -> str:
    """Return a name or a code of the cloud, fit to be shown; "" for null."""
    # The usual case first: a listing of 20,000 servers calls this 200,000 times.
    if type(value) is str and redact is str and len(value) <= limit and value.isascii() and value.isprintable():
        return value
    if not value:
        return ""
    if not isinstance(value, str):
        raise TypeError
    return truncate(redact(one_line(value)), limit)


def _name(value: Any, redact: Redact) -> str:
    """Return a name of the cloud's user, fit to be shown; "" for null."""
    return _word(value, redact, _MAX_NAME)


def _state(value: Any, redact: Redact) -> str:
    """Return a word by which a rollout goes; it counts also where an `Auth` fails to search it."""
    word = _word(value, redact)
    return _word(value, str) if word == NOT_SEARCHED else word


_READ: Final[Mapping[str, Callable[[Any, Redact], str]]] = {
    "status": _state,
    "OS-EXT-STS:task_state": _state,
    "updated": _state,
    "OS-EXT-AZ:availability_zone": _word,
    "name": _name,
    "hostId": _name,
    "enterprise_project_id": _word,
}
"""How the texts of a row are read."""


def _is_clean(id_: str, redact: Redact) -> bool:
    """Return True where an id is no secret, as far as that can be searched."""
    return redact(id_) in {id_, NOT_SEARCHED}


def page_of(body: bytes, redact: Redact = str) -> ListingPage:
    """Return the page that an answer to ListServersDetails shows.

    Raises:
        UnknownAnswer: the answer is no list of servers.
    """
    with _reading("a list of servers"):
        answer = orjson.loads(body)
        count = answer.get("count")
        servers = _views(answer["servers"], redact)
        return ListingPage(servers, count if isinstance(count, int) and not isinstance(count, bool) else None)


def _views(rows: Any, redact: Redact) -> list[ServerView]:
    """Return what is kept of rows, fit to be shown.

    A page has hundreds of texts, all of them hardly ever anything but short, printable, without blanks at their ends
    and no secret: that is asked of all together, and only where it is not so each is seen to by itself.
    """
    servers = [_view(row) for row in rows]
    texts = [text for server in servers for text in _texts(server)]
    kept = ",".join(texts)
    bare = ", " not in kept and " ," not in kept and kept == kept.strip()
    if bare and max(map(len, texts), default=0) <= _MAX_WORD and kept.isprintable() and redact(kept) == kept:
        return servers
    return [_view(row, redact) for row in rows]


def _texts(server: ServerView) -> tuple[str, ...]:
    """Return all that a cloud says of a server."""
    return server.id, *server[2:5], *server[6:10], *server.tags, server.address


def views_of(body: bytes, asked: Container[str], redact: Redact = str) -> tuple[list[ServerView], int]:
    """Return the rows of ListServersDetails that were asked for by id, and the number of the others.

    A row without a status says nothing and is left out.

    Raises:
        UnknownAnswer: the answer is no list of servers.
    """
    servers = page_of(body, redact).servers
    wanted = [server for server in servers if server.id in asked]
    return [server for server in wanted if server.status or not server.found], len(servers) - len(wanted)


def view_of(body: bytes, asked: str, redact: Redact = str) -> ServerView:
    """Return the server that an answer to ShowServer shows.

    Raises:
        UnknownAnswer: the answer is not this server.
    """
    with _reading("a server"):
        view = _view(orjson.loads(body)["server"], redact)
        if view.id != asked or not view.status:
            raise ValueError
        return view


def _view(row: Any, redact: Redact | None = None) -> ServerView:
    """Return what we need of a server's row, never all of it: its ``user_data`` may contain secrets.

    Without ``redact`` its texts are as they came; where one is no text, nothing can be made of them together.
    """
    id_ = row["id"]
    if not isinstance(id_, str) or not 0 < len(id_) <= _MAX_ID or not id_.isprintable():
        raise TypeError
    if redact is not None and not _is_clean(id_, redact):
        raise TypeError
    texts = [row.get(name) or "" for name in _READ]
    if not texts[0] and row.get("fault") and not any(row.get(name) for name in _ALWAYS_THERE):
        # For an id that it does not know the cloud sends a row of nulls with a fault ("... could not be found").
        return ServerView(as_server_id(id_), found=False)
    tags, address = [tag or "" for tag in row.get("tags") or ()], _address(row.get("addresses"))
    if redact is not None:
        texts = [read(text, redact) for read, text in zip(_READ.values(), texts, strict=True)]
        tags, address = [_name(tag, redact) for tag in tags], _word(address, redact)
    status, task_state, updated, az, name, host_id, project_id = texts
    return ServerView(
        as_server_id(id_),
        True,  # noqa: FBT003 - by place: a listing has a million of them
        status,
        task_state,
        updated,
        _flag(row.get("locked")),
        az,
        name,
        host_id,
        project_id,
        tuple(tags),
        address,
    )


def _flag(value: Any) -> bool:
    """Return a flag of the cloud; null is False, and anything else is a wrong shape."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise TypeError


def _address(networks: Any) -> str:
    """Return the first fixed address as it came, IPv4 before IPv6; "" where the row names none."""
    fixed = [
        (str(port.get("version")), port.get("addr") or "")
        for ports in (networks or _NOTHING).values()
        for port in ports
        if port.get("OS-EXT-IPS:type", "fixed") == "fixed"
    ]
    return min(fixed)[1] if fixed else ""
