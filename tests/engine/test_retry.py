"""What follows an answer, as tables: of a request's tokens and servers, of one refused server, of the next pause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import pytest

from ecsbatch.engine.retry import AfterSubmit, Backoff, Charge, Next, after_submit, skip_of
from ecsbatch.errors import (
    AuthError,
    CloudError,
    Denied,
    JobNotFound,
    NotAccepted,
    NotSent,
    Refused,
    Throttled,
    TokenExpired,
    UnknownAnswer,
)
from ecsbatch.model.outcome import SkipReason

AGAIN_UNCHARGED = AfterSubmit(Charge.REFUND, Next.AGAIN, "not_sent")
AGAIN_AFTER_429 = AfterSubmit(Charge.ANSWERED, Next.AGAIN, "throttled")
AGAIN = AfterSubmit(Charge.ANSWERED, Next.AGAIN, "not_accepted")
STOP = AfterSubmit(Charge.ANSWERED, Next.STOP, "auth")
LOOK = AfterSubmit(Charge.ANSWERED, Next.LOOK, "refused")
SETTLE_ANSWERED = AfterSubmit(Charge.ANSWERED, Next.RECONCILE, "")
SETTLE_GIVEN_UP = AfterSubmit(Charge.GIVEN_UP, Next.RECONCILE, "")

NO_BYTE, BUSY_UNREAD = NotSent("Connection refused."), NotAccepted("Busy.")
SLOW_DOWN = Throttled("Slow down.", status=429, answered=True)
BUSY = NotAccepted("Busy.", status=503, answered=True)
BAD_KEY = AuthError("No such key.", status=401, answered=True)
OLD_TOKEN = TokenExpired("Too old.", status=401, code="Common.0013", answered=True)
NO_SERVER = Refused("No such server.", status=404, code="Ecs.0114", answered=True)
MALFORMED = Refused("Bad request.", status=400, answered=True)
NO_RIGHT = Denied("Not this one.", status=403, code="Ecs.0003", answered=True)
NO_SUCH_PATH = JobNotFound("Not found.", status=404, answered=True)
PARTLY = Refused("Partly.", status=400, code="Ecs.0611", answered=True)
SILENCE, BROKEN = UnknownAnswer("Timeout."), UnknownAnswer("Oops.", status=500, answered=True)
STRANGE, STRANGE_ANSWER = CloudError("What?"), CloudError("What?", status=418, answered=True)

ANSWERS = {
    # The cloud has certainly not carried it out: the same request goes again.
    "no byte has left, so nothing is charged and it goes again": (NO_BYTE, AGAIN_UNCHARGED),
    "a 429 has counted the request and begun nothing": (SLOW_DOWN, AGAIN_AFTER_429),
    "a busy cloud has counted the request and not taken it": (BUSY, AGAIN),
    "what was not taken may have been counted, whatever was read of the answer": (BUSY_UNREAD, AGAIN),
    # Nobody will be let in with this key: each further request brings its lock nearer.
    "a key that is not accepted stops, for failures in a row lock it": (BAD_KEY, STOP),
    "a token that is too old still, after its renewal, stops": (OLD_TOKEN, STOP),
    # A no to this very request.
    "a refusal says that nothing began, so its servers are looked at first": (NO_SERVER, LOOK),
    "a refusal needs no code": (MALFORMED, LOOK),
    "a right that is missing for one server is a refusal of all": (NO_RIGHT, LOOK),
    "a 404 without a code of a server is a refusal": (NO_SUCH_PATH, LOOK),
    # The request may have been carried out: it is never sent again blindly.
    "a refusal of a batch that failed in part does not say what began": (PARTLY, SETTLE_ANSWERED),
    "silence may hide a restart, and one that begins late is counted late": (SILENCE, SETTLE_GIVEN_UP),
    "a broken answer may hide a restart, and the request is counted": (BROKEN, SETTLE_ANSWERED),
    "an error of no known kind may hide a restart": (STRANGE, SETTLE_GIVEN_UP),
    "an answer of no known kind may hide a restart": (STRANGE_ANSWER, SETTLE_ANSWERED),
}


@pytest.mark.parametrize(("error", "after"), ANSWERS.values(), ids=ANSWERS)
def test_a_request_without_a_job_goes_again_stops_or_is_settled(error: CloudError, after: AfterSubmit) -> None:
    assert after_submit(error) == after


def kinds(base: type[CloudError] = CloudError) -> Iterator[type[CloudError]]:
    yield base
    for kind in base.__subclasses__():
        if kind.__module__ == CloudError.__module__:
            yield from kinds(kind)


def test_every_error_of_the_cloud_has_its_row() -> None:
    assert {type(error) for error, _ in ANSWERS.values()} == set(kinds())


def test_only_a_request_that_has_certainly_begun_nothing_goes_again() -> None:
    again = {type(error) for error, after in ANSWERS.values() if after.next is Next.AGAIN}

    assert again == {NotAccepted, *NotAccepted.__subclasses__()}


CODES = {
    "a server that does not exist cannot be restarted": ("Ecs.0114", SkipReason.NOT_FOUND),
    "a server that the batch does not find cannot be restarted": ("Ecs.0614", SkipReason.NOT_FOUND),
    "a locked server is to be left alone": ("Ecs.0605", SkipReason.LOCKED),
    "a server in the wrong state is left alone": ("Ecs.0100", SkipReason.NOT_ACTIVE),
    "a restart that the cloud could not begin is a failure": ("Ecs.0227", None),
    "a batch that failed in part says nothing of one server": ("Ecs.0611", None),
    "a missing permission is a failure": ("Ecs.0003", None),
    "a code that nobody knows is a failure": ("Ecs.9999", None),
    "a refusal without a code is a failure": ("", None),
}


@pytest.mark.parametrize(("code", "reason"), CODES.values(), ids=CODES)
def test_a_server_that_is_refused_alone_is_skipped_where_its_code_says_why(
    code: str, reason: SkipReason | None
) -> None:
    assert skip_of(code) is reason


class Draws(Random):
    """Chance that always draws the same number, of 0 to 1."""

    def __init__(self, drawn: float) -> None:
        super().__init__()
        self.drawn = drawn

    def random(self) -> float:
        """Draw it."""
        return self.drawn


FAILS, SUCCEEDS = False, True
LEAST, HALF_WAY, MOST = 0.0, 0.5, 1.0

PAUSES = {
    "each failure doubles the pause": ({}, [FAILS] * 5, MOST, [1, 2, 4, 8, 16]),
    "half of a pause is certain": ({}, [FAILS] * 4, LEAST, [0.5, 1, 2, 4]),
    "the other half is drawn": ({}, [FAILS] * 3, HALF_WAY, [0.75, 1.5, 3]),
    "no pause is longer than a minute": ({}, [FAILS] * 8, MOST, [1, 2, 4, 8, 16, 32, 60, 60]),
    "a success begins anew": ({}, [FAILS, FAILS, SUCCEEDS, FAILS, FAILS], MOST, [1, 2, 1, 2]),
    "a success before any failure changes nothing": ({}, [SUCCEEDS, SUCCEEDS, FAILS], MOST, [1]),
    "the first pause can be another": ({"first": 3.0}, [FAILS] * 3, MOST, [3, 6, 12]),
    "the longest pause can be another": ({"most": 5.0}, [FAILS] * 5, MOST, [1, 2, 4, 5, 5]),
    "a first pause longer than the longest is cut": ({"first": 9.0, "most": 5.0}, [FAILS] * 2, MOST, [5, 5]),
}


@pytest.mark.parametrize(("spans", "fates", "drawn", "pauses"), PAUSES.values(), ids=PAUSES)
def test_pauses_double_until_something_succeeds(
    spans: dict[str, float], fates: Sequence[bool], drawn: float, pauses: Sequence[float]
) -> None:
    backoff = Backoff(Draws(drawn), **spans)

    assert [pause for fate in fates if (pause := backoff.succeeded() if fate else backoff.next()) is not None] == pauses


def test_after_a_night_of_failures_the_pause_is_the_longest() -> None:
    """Doubled as often as that, a number of this kind has no room for it."""
    backoff = Backoff(Draws(MOST))

    assert [backoff.next() for _ in range(2_000)][-1] == 60.0


def test_two_that_have_failed_together_do_not_come_back_together() -> None:
    one, other = Backoff(Random(1)), Backoff(Random(2))

    assert {one.next() for _ in range(50)}.isdisjoint(other.next() for _ in range(50))
