"""What can go wrong, sorted by what the caller may do next.

    EcsbatchError
    +-- ConfigError         a setting or argument is wrong: correct it, nothing was sent
    |   +-- Invalid         one value of it is (field, value, expected): give what is expected
    |   +-- RunNotFound     no run has this id, or several begin so (run_id, candidates): give another
    +-- SelectionError      it is not clear which servers: correct it, nothing was sent
    |   +-- ServerNotFound  a run, or the project, has no such server (server, run_id, names): give another
    |   +-- SelectionRefused  it is clear, and they must not be restarted so: change selection or limits
    +-- RunConflict         another run or process has this (run_id, holder): wait for it, or leave its servers out
    |   +-- NotHolder       no process here follows what is asked of a run (status): resume it
    |   +-- ServersClaimed *  another run has some of the servers (held, servers, runs): wait, or leave them out
    |   |   +-- ServersWanted *  and it is just being created: try again
    |   +-- RunExists *     the run id is taken, by a run of others or one that cannot go on (status): choose another
    |   +-- RunHeld *       a living process has this very run: ask or steer it, it goes on
    |   +-- RunTaken *      another process has taken the run meanwhile (host, pid, since): watch it there
    |   +-- RunOver *       the run was aborted, for good: begin a new one
    |   +-- NotFollowed *   its process has not followed a command in time (command): it will, or look at it
    +-- ProgramRefused      a check or gate on record that others may have written: give its text yourself
    +-- PlanStale           the fleet is not what the plan saw: plan again
    +-- StoreError          the store cannot be read or written: mend it, then resume
    |   +-- StoreOutdated   its tables are of an older version, or missing: have their owner upgrade them
    |   +-- RecordEdited    somebody has changed what it has of a run (run_id): restore it from a copy of before
    +-- EngineStopped       the engine ended before this server did: resume the run
    +-- CloudError          the cloud answered, or did not (status, code, request_id)
        +-- NotAccepted     certainly not accepted: the same request may be sent again
        |   +-- NotSent     no byte left this machine
        |   +-- Throttled   the cloud's own limit (retry_after, limit, window where it said them)
        +-- Refused         the cloud said no to this request: change it before sending again
        |   +-- JobNotFound the job id is not known, or not known any more: look at the servers
        |   +-- Denied      a permission for one of the servers is missing: find it, leave it out
        +-- AuthError       the key or token is not accepted: stop, repeated failures lock a key
        |   +-- TokenExpired  the token ran out: renew it once, then send again
        +-- UnknownAnswer   the request may have been carried out: never send it again blindly

Those with a ``*`` are of `ecsbatch.model.conflicts`. Every text is one sentence and the way on, and
`EcsbatchError.as_dict` gives each error to programs, its own word of the above as ``error``. No text names a flag or a
command of the command line, which adds its own way on.

A service that answers over HTTP goes by the class, the nearest first:

    STATUS = {
        ServerNotFound: 404,
        RunNotFound: 404,
        RunConflict: 409,
        PlanStale: 409,
        SelectionError: 400,
        EngineStopped: 503,
        StoreError: 503,
        CloudError: 502,
        EcsbatchError: 400,
    }

    def answer(error: EcsbatchError) -> tuple[int, dict[str, object]]:
        status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
        return status, error.as_dict()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self


class EcsbatchError(Exception):
    """Anything that ecsbatch raises on purpose; its text is one sentence and the way on.

    How a server ends is never an error: it is an `Outcome`. The classes below are sorted by what the caller may do
    next; the page of `ecsbatch.errors` draws their tree.

    Attributes:
        FIELDS: the names of those attributes of the class that `as_dict` gives.
        settings: the settings to look at, by the names of the arguments that take them.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ()

    settings: tuple[str, ...] = ()

    def about(self, *settings: str) -> Self:
        """Name the settings to look at; return the error itself."""
        self.settings = settings
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return the error for a JSON answer: its class as ``error``, its text as ``message``, and its own fields.

        A `RunNotFound`, for example, is ``{"error": "RunNotFound", "message": "There is no run …", "run_id": "k7f",
        "candidates": []}``. The fields of a class are its ``FIELDS``.
        """
        return {
            "error": type(self).__name__,
            "message": str(self),
            **{name: getattr(self, name) for name in self.FIELDS},
        }


class ConfigError(EcsbatchError):
    """A setting or argument is wrong; nothing was sent. Where one value is, by its name, it is `Invalid`."""


class Invalid(ConfigError):
    """A setting or argument has a value that it cannot have, or there is none of its name.

        try:
            Strategy(soak="soon")
        except Invalid as e:
            print(e.field, e.value, e.expected)

    Attributes:
        field: the name of the setting or argument.
        value: what was given, as JSON has it and otherwise as text; None where it may hold a secret.
        expected: what may be given instead, worded to follow "give".
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("field", "value", "expected")

    def __init__(self, message: str, *, field: str = "", value: object = None, expected: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.value = value
        self.expected = expected


class RunNotFound(ConfigError):
    """The store has no run of this id, or several whose ids begin so.

    Attributes:
        run_id: what was asked for, "" where that was the latest run.
        candidates: the ids that begin so, where there are several; not all of very many.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("run_id", "candidates")

    def __init__(self, message: str, *, run_id: str = "", candidates: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.candidates = list(candidates)


class SelectionError(EcsbatchError):
    """It is not clear which servers to restart, such as from a list that cannot be read; see `SelectionRefused`."""


class ServerNotFound(SelectionError):
    """A run has no server of this id or name, or the project none of this name.

    An id that the project does not have is none of these: its server is ``skipped``, ``not_found``.

    Attributes:
        server: what was asked for; of several one.
        run_id: the run; "" where the project was asked.
        names: all that were asked for and are no server's; not all of very many.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("server", "run_id", "names")

    def __init__(self, message: str, *, server: str = "", run_id: str = "", names: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.server = server
        self.run_id = run_id
        self.names = list(names) or [server]


class SelectionRefused(SelectionError):
    """The selection is readable and must not be restarted: it is empty, or what is down fills the budget alone."""


class RunConflict(EcsbatchError):
    """Another run or another process has what was asked for, or a run does not stand as what is asked of it needs.

    Attributes:
        run_id: the run that is in the way, or that was asked; "" where that is not known.
        holder: the name of the process that holds it, or held it last; "" where that is not known.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("run_id", "holder")

    def __init__(self, message: str, *, run_id: str = "", holder: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id
        self.holder = holder


class NotHolder(RunConflict):
    """Nobody can follow what is asked of a run: no living process holds it, or not this one any more.

    Attributes:
        run_id: the run.
        holder: the name of the process that held it last; "" where that is not known.
        status: how the run stands, a word of `RunStatus`.
    """

    FIELDS: ClassVar[tuple[str, ...]] = (*RunConflict.FIELDS, "status")

    def __init__(self, message: str, *, run_id: str = "", holder: str = "", status: str = "") -> None:
        super().__init__(message, run_id=run_id, holder=holder)
        self.status = status


class ProgramRefused(EcsbatchError):
    """A run's check or gate does not run here: others may have written its text, and who runs this has not given it."""


class PlanStale(EcsbatchError):
    """The fleet is no longer what the plan saw, or the plan is too old; nothing was sent: plan again.

    Attributes:
        drift: the first servers that differ, each with its ``server``, ``name``, ``kind``, ``before`` and ``now``.
        drifted: how many differ.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("drift", "drifted")

    def __init__(self, message: str, *, drift: Sequence[Mapping[str, str]] = (), drifted: int = 0) -> None:
        super().__init__(message)
        self.drift = [dict(each) for each in drift]
        self.drifted = drifted


class StoreError(EcsbatchError):
    """The store cannot be opened, read or written; what it has acknowledged before is safe."""


class StoreOutdated(StoreError):
    """The tables of a store at a server are of an older version or missing, and their owner has to upgrade them."""


class RecordEdited(StoreError):
    """Somebody has changed or taken away events or the plan of a run; an audit says what else.

    Attributes:
        run_id: the run.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("run_id",)

    def __init__(self, message: str, *, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class EngineStopped(EcsbatchError):
    """The engine ended, by a fault or by being closed, before this server had an outcome."""


class CloudError(EcsbatchError):
    """A request to the cloud did not give what it was sent for.

    Attributes:
        status: the HTTP status, 0 where there was no answer.
        message: the text without what follows here.
        code: the cloud's error code such as ``Ecs.0114``, "" where it gave none.
        request_id: the cloud's ``X-Request-Id``, "" where it gave none; its support asks for it.
        answered: True where the cloud began an HTTP answer, so that it has counted the request already.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("status", "code", "request_id", "answered")

    def __init__(
        self, message: str, *, status: int = 0, code: str = "", request_id: str = "", answered: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.answered = answered

    def __str__(self) -> str:
        facts = [f"HTTP {self.status}"] if self.status else []
        facts += [self.code] if self.code else []
        facts += [f"request {self.request_id}"] if self.request_id else []
        return f"{self.message} ({', '.join(facts)})" if facts else self.message


class NotAccepted(CloudError):
    """The cloud certainly did not take the request; the same one may be sent again after a pause.

    Attributes:
        retry_after: seconds to wait that the answer named, or None.
    """

    FIELDS: ClassVar[tuple[str, ...]] = (*CloudError.FIELDS, "retry_after")

    retry_after: float | None = None


class NotSent(NotAccepted):
    """No byte of the request left this machine (refused connection, DNS, TLS)."""


class Throttled(NotAccepted):
    """The cloud's own limit turned the request away (429).

    Attributes:
        limit: requests or servers per ``window`` that the message named, or None.
        window: seconds that the message named, or None.
    """

    FIELDS: ClassVar[tuple[str, ...]] = (*NotAccepted.FIELDS, "limit", "window")

    limit: int | None = None
    window: float | None = None


class Refused(CloudError):
    """The cloud said no to this very request (4xx about its content); sending it unchanged is pointless."""


class JobNotFound(Refused):
    """The job id is not known to the cloud: read too early, or ended more than a day ago."""


class Denied(Refused):
    """The key may not do this to one of the servers (403 with a code of ECS itself); it may to others."""


class AuthError(CloudError):
    """The key or token is not accepted, or lacks a permission.

    Stop at once: more than five failures in a row lock a key for five minutes.
    """


class TokenExpired(AuthError):
    """The token ran out; one caller renews it, once."""


class UnknownAnswer(CloudError):
    """The request may have been carried out (timeout, reset, 5xx, a 2xx without a job id)."""
