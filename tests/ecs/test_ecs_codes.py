"""From answers that are no success to errors."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecsbatch.ecs.error_codes import CODES, date_of, error_of
from ecsbatch.errors import (
    AuthError,
    CloudError,
    Denied,
    JobNotFound,
    NotAccepted,
    Refused,
    Throttled,
    TokenExpired,
    UnknownAnswer,
)
from ecsbatch.model.text import MAX_TEXT, one_line

SHAPES = [
    '{"error":{"code":"%s","message":"%s","details":[{"code":"x","message":"y"}]}}',
    '{"error_code":"%s","error_msg":"%s","request_id":"r-1"}',
    '{"errorCode":"%s","errorMsg":"%s"}',
    '{"code":"%s","message":"%s"}',
    '{"status":null,"wrapped":{"deeper":{"code":"%s","message":"%s"}}}',
]


def said(code: str, message: str = "words") -> bytes:
    return (SHAPES[0] % (code, message)).encode()


SUBMIT = [
    (429, "", Throttled),
    (429, "Ecs.0005", Throttled),
    (429, "APIGW.0308", Throttled),
    (429, "APIG.0308", Throttled),
    (503, "APIGW.0308", Throttled),
    (429, "Common.1503", Throttled),
    (400, "Common.1503", Throttled),
    (501, "Ecs.0603", NotAccepted),
    (400, "Ecs.0603", NotAccepted),
    (401, "", AuthError),
    (403, "", AuthError),
    (401, "APIGW.0301", AuthError),
    (401, "APIG.0301", AuthError),
    (401, "APIGW.0303", AuthError),
    (403, "APIGW.0310", AuthError),
    (401, "Common.0013", AuthError),
    (400, "Common.0018", AuthError),
    (400, "Ecs.0023", AuthError),
    (403, "Ecs.0003", Denied),
    (403, "Ecs.0110", Denied),
    (403, "Pdp.0001", AuthError),
    *[(403, f"Ecs.00{n}", AuthError) for n in range(66, 72)],
    (403, "Ecs.9999", Denied),
    (404, "APIGW.0101", AuthError),
    (404, "", AuthError),
    (404, "404", AuthError),
    (405, "", AuthError),
    (407, "", AuthError),
    (302, "", AuthError),
    (307, "Ecs.0005", AuthError),
    (400, "Ecs.0005", Refused),
    (400, "Ecs.0100", Refused),
    (404, "Ecs.0114", Refused),
    (404, "Ecs.0614", Refused),
    (400, "Ecs.0118", Refused),
    (400, "Ecs.0227", Refused),
    (400, "Ecs.0226", Refused),
    (400, "Ecs.0605", Refused),
    (400, "Ecs.0611", UnknownAnswer),
    (400, "Common.0002", Refused),
    (400, "Ecs.7777", Refused),
    (404, "Ecs.7777", Refused),
    (400, "badRequest", Refused),
    (413, "APIGW.0201", Refused),
    (500, "", UnknownAnswer),
    (502, "", UnknownAnswer),
    (504, "Ecs.0605", UnknownAnswer),
    (500, "Ecs.0003", UnknownAnswer),
    (400, "Ecs.0000", UnknownAnswer),
    (400, "Ecs.0002", UnknownAnswer),
    (400, "Ecs.0004", UnknownAnswer),
    (400, "Ecs.0301", UnknownAnswer),
    (500, "Ecs.0615", UnknownAnswer),
    *[(400, f"Ecs.{n}", UnknownAnswer) for n in (1000, 1001, 1002, 1100, 1200, 1201, 1300)],
    (500, "Common.0001", UnknownAnswer),
    *[(400, f"Common.{n}", UnknownAnswer) for n in ("0011", "0020", "0021", "0022", "0025", "0999", "7777")],
    (404, "Common.7777", UnknownAnswer),
    (408, "", UnknownAnswer),
    (418, "", UnknownAnswer),
    (200, "", UnknownAnswer),
    (600, "", UnknownAnswer),
]


@pytest.mark.parametrize(("status", "code", "kind"), SUBMIT)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_to_a_submit(status: int, code: str, kind: type[CloudError], shape: str) -> None:
    error = error_of(status, {}, (shape % (code, "words")).encode(), what="submit")

    assert (type(error), error.status, error.code, error.answered) == (kind, status, code, True)
    assert error.message.endswith(": words")


def test_every_code_of_the_table_is_tried() -> None:
    assert set(CODES) - {code for _, code, _ in SUBMIT} == set()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "Common.0011", JobNotFound),
        (404, "Ecs.0114", JobNotFound),
        (404, "Common.7777", JobNotFound),
        (404, "", AuthError),
        (404, "APIGW.0101", AuthError),
        (401, "APIGW.0301", AuthError),
        (429, "Common.1503", Throttled),
        (500, "Common.0011", UnknownAnswer),
        (400, "Common.0025", UnknownAnswer),
    ],
)
def test_an_answer_to_a_look_at_a_job(status: int, code: str, kind: type[CloudError]) -> None:
    assert type(error_of(status, {}, said(code), what="job")) is kind


def test_only_a_job_can_be_gone() -> None:
    assert type(error_of(404, {}, said("Ecs.0114"), what="look")) is Refused
    assert type(error_of(400, {}, said("Common.0011"), what="look")) is UnknownAnswer


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (401, "Common.0013", "The token has expired.", TokenExpired),
        (401, "APIGW.0301", "Incorrect IAM authentication information: token expires, expires_at:...", TokenExpired),
        (401, "APIG.0301", "Token Expired", TokenExpired),
        (401, "APIGW.0301", "Incorrect IAM authentication information: verify aksk signature fail", AuthError),
        (403, "APIGW.0310", "expired", AuthError),
        (500, "Common.0013", "expired", UnknownAnswer),
    ],
)
def test_a_token_that_ran_out_is_told_apart(status: int, code: str, message: str, kind: type[CloudError]) -> None:
    assert type(error_of(status, {}, said(code, message), what="submit")) is kind


@pytest.mark.parametrize(
    ("says", "limit", "window"),
    [
        ("policy user over ratelimit,limit:200,time:5 minute", 200, 300.0),
        ("policy ip over ratelimit,limit:5,time:1 second", 5, 1.0),
        ("policy api over ratelimit,limit:10,time:2 hour", 10, 7200.0),
        ("limit:1,time:1 day", 1, 86_400.0),
        ("limit:1,time:0 second", None, None),
        ("limit:many,time:1 second", None, None),
        ("slow down", None, None),
    ],
)
def test_a_throttled_answer_says_its_limit(says: str, limit: int | None, window: float | None) -> None:
    error = error_of(429, {}, said("APIGW.0308", f"The throttling threshold has been reached: {says}"), what="submit")

    assert isinstance(error, Throttled)
    assert (error.limit, error.window, error.retry_after) == (limit, window, None)


NOON = "Thu, 01 Jan 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("99999999999", 86_400.0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("-1", None),
        ("soon", None),
        ("٣", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(value: str, seconds: float | None) -> None:
    error = error_of(429, {"retry-after": value, "date": NOON}, b"", what="submit")

    assert isinstance(error, NotAccepted)
    assert error.retry_after == seconds


def test_busy_means_a_minute_unless_the_answer_says_otherwise() -> None:
    busy = error_of(501, {}, said("Ecs.0603"), what="submit")
    told = error_of(501, {"retry-after": "5"}, said("Ecs.0603"), what="submit")

    assert isinstance(busy, NotAccepted)
    assert isinstance(told, NotAccepted)
    assert (busy.retry_after, told.retry_after) == (60.0, 5.0)


def test_the_request_id_is_the_header_s_or_the_body_s() -> None:
    body = (SHAPES[1] % ("APIGW.0301", "no")).encode()

    assert error_of(401, {"x-request-id": "h-1"}, body, what="submit").request_id == "h-1"
    assert error_of(401, {}, body, what="submit").request_id == "r-1"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad Gateway</html>", b'{"error":{"code":"Ecs.0', b"[1,2]", b"null", b'"Ecs.0005"', b"\xff\xfe"],
)
def test_an_unreadable_400_is_unknown(body: bytes) -> None:
    """What did not come from the API says nothing about what the API did."""
    assert type(error_of(400, {}, body, what="submit")) is UnknownAnswer


def test_a_redirect_points_to_the_endpoint() -> None:
    error = error_of(307, {"location": "https://evil.example"}, b"", what="submit")

    assert str(error) == "The endpoint answers with a redirect: check it. (HTTP 307)"


def test_a_message_is_one_short_clean_line() -> None:
    dirty = "a\x1b[31mred\x1b[0m\n\tb\x1b]0;title\x07c\u202e\u200bd\x9f\x00"
    error = error_of(
        400, {"x-request-id": "i\x1b[1md\n"}, orjson.dumps({"code": "Ecs\x1b.1", "message": dirty * 50}), what="submit"
    )

    assert one_line(dirty) == "ared bcd"
    assert len(error.message) <= MAX_TEXT
    assert error.message.isprintable()
    assert error.message.endswith("…")
    assert error.request_id == "id"


def test_a_canary_never_reaches_a_message() -> None:
    """Also where escape sequences split it, and where the cut would leave half of it."""

    def redact(text: str) -> str:
        return text.replace("CANARY-CANARY", "***")

    for text in ("CANARY-CANARY", "CANARY\x1b[0m-CAN\u200bARY", "x" * 250 + "CANARY-CANARY", "CANARY-CANARY" * 99):
        error = error_of(
            401, {"x-request-id": text}, orjson.dumps({"code": text, "message": text}), what="submit", redact=redact
        )

        assert "CANARY" not in str(error) + error.code + error.request_id + error.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["error", "code", "message", "error_code", "error_msg", "errorCode", "request_id", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "x-request-id"]), st.text(max_size=30) | st.just(NOON), max_size=3
)


@given(
    status=st.integers(0, 999),
    headers=HEADERS,
    body=JSON.map(lambda j: orjson.dumps(j, option=orjson.OPT_NON_STR_KEYS)) | st.binary(max_size=60),
    what=st.sampled_from(["submit", "job", "look"]),
)
def test_no_answer_is_too_hostile(status: int, headers: dict[str, str], body: bytes, what: str) -> None:
    error = error_of(status, headers, body, what=what)  # type: ignore[arg-type]  # drawn from its words

    assert isinstance(error, CloudError)
    assert error.message
    assert str(error).isprintable()
    if status >= 500 and not isinstance(error, (Throttled, NotAccepted)):
        assert isinstance(error, UnknownAnswer)


def test_a_nest_of_a_thousand_objects_says_nothing() -> None:
    assert error_of(400, {}, b'{"a":' * 900 + b"1" + b"}" * 900, what="submit").code == ""
    assert error_of(400, {}, b'{"a":' * 9000, what="submit").code == ""


def test_an_error_of_a_megabyte_says_nothing() -> None:
    assert type(error_of(400, {}, said("Ecs.0005", "x" * 1_000_000), what="submit")) is UnknownAnswer


@given(st.text(max_size=40) | st.just(NOON))
def test_any_date_header_is_read_or_passed_over(value: str) -> None:
    date_of({"date": value})


def test_a_date_is_read_as_utc() -> None:
    assert date_of({"date": NOON}) == 1_767_268_800.0
    assert date_of({"date": "Thu, 01 Jan 2026 12:00:00 -0000"}) == 1_767_268_800.0
    assert date_of({}) is None
