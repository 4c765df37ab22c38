"""JSON to models and back."""

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecsbatch.ecs.wire import job_id_of, job_of, page_of, reboot_body, view_of, views_of
from ecsbatch.errors import UnknownAnswer
from ecsbatch.model.servers import Job, ServerView, SubJob

ENDED_AT = 1742714959.585
"""2025-03-23T07:29:19.585Z."""


def sub(server: str, status: str = "SUCCESS", **fields: Any) -> dict[str, Any]:
    return {
        "status": status,
        "entities": {"server_id": server, "errorcode_message": fields.pop("errorcode_message", None)},
        "job_id": "s",
        "job_type": "serverActions",
        "begin_time": "2025-03-23T07:28:46.894Z",
        "end_time": "" if status == "RUNNING" else "2025-03-23T07:29:19.585Z",
        "error_code": None,
        "fail_reason": None,
        **fields,
    }


def job(*subs: Any, status: str = "RUNNING", **fields: Any) -> bytes:
    return orjson.dumps(
        {"status": status, "job_id": "j", "entities": {"sub_jobs_total": len(subs), "sub_jobs": subs}, **fields}
    )


def test_a_restart_s_body_is_byte_for_byte_the_documented_one() -> None:
    assert reboot_body("HARD", ["a", "b"]) == b'{"reboot":{"type":"HARD","servers":[{"id":"a"},{"id":"b"}]}}'


@pytest.mark.parametrize("count", [0, 1001])
def test_a_restart_names_1_to_1000_servers(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        reboot_body("SOFT", ["x"] * count)


def test_a_job_id_is_read() -> None:
    assert job_id_of(b'{"job_id":"ff80808288d41e1b018990260955686a"}') == "ff80808288d41e1b018990260955686a"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"job_id":null}', b'{"job_id":""}', b'{"job_id":7}', b'{"job_id":"../x"}', b"<html>"]
)
def test_an_answer_without_a_job_id_is_unknown(body: bytes) -> None:
    with pytest.raises(UnknownAnswer):
        job_id_of(body)


def test_the_recorded_job_is_read() -> None:
    """Recorded from the real API: the parent closed eight seconds after its only sub-job."""
    ended = SubJob("a", succeeded=True, seconds=32.691, ended_at=ENDED_AT)

    assert job_of(job(sub("a")), "j", {"a"}) == Job("j", "RUNNING", (ended,))


def test_only_awaited_servers_are_read() -> None:
    body = job(sub("a"), sub("b"), sub("c", "RUNNING"), sub("d", "INIT"), sub("e", "RUNNING"))
    seen = job_of(body, "j", {"b", "c", "d", "not-listed"})

    assert [s.server_id for s in seen.ended] == ["b"]


def test_a_failed_sub_job_says_all_its_reasons_once() -> None:
    body = job(
        sub("a", "FAIL", error_code="Ecs.0605", fail_reason="locked\x1b[1m!", errorcode_message="by\nsomeone"),
        sub("b", "FAIL", fail_reason="same", errorcode_message="same"),
        sub("c", "FAIL", end_time=None),
        status="FAIL",
        error_code="Common.0021",
        fail_reason="Subjob fails.",
    )
    seen = job_of(body, "j", {"a", "b", "c"})

    assert seen == Job(
        "j",
        "FAIL",
        (
            SubJob(
                "a", succeeded=False, code="Ecs.0605", message="locked!; by someone", seconds=32.691, ended_at=ENDED_AT
            ),
            SubJob("b", succeeded=False, code="", message="same", seconds=32.691, ended_at=ENDED_AT),
            SubJob("c", succeeded=False),
        ),
        "Common.0021",
        "Subjob fails.",
    )


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("", ""),
        (None, None),
        (1, 2),
        ("then", "now"),
        ("2025-01-01T00:00:09Z", "2025-01-01T00:00:01Z"),
        ("2025-01-01T00:00:00", "2025-01-01T00:00:01Z"),
    ],
)
def test_times_that_make_no_sense_are_none(begin: Any, end: Any) -> None:
    seen = job_of(job(sub("a", begin_time=begin, end_time=end)), "j", {"a"})

    assert seen.ended[0].seconds is None


@pytest.mark.parametrize("entities", [None, {}, {"sub_jobs": None}, {"sub_jobs": []}, {"sub_jobs": [{}]}, "absent"])
def test_sub_jobs_may_not_be_there_yet(entities: Any) -> None:
    body: dict[str, Any] = {"status": "INIT", "entities": entities, "new_field": {"x": 1}}
    if entities == "absent":
        del body["entities"]

    assert job_of(orjson.dumps(body), "j", {"a"}) == Job("j", "INIT")


def test_a_server_named_twice_counts_once_and_its_end_wins() -> None:
    seen = job_of(job(sub("a", "RUNNING"), sub("a"), sub("a", "INIT")), "j", {"a"})

    assert len(seen.ended) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"status":null}',
        b'{"status":7}',
        b'{"status":"SUCCESS","job_id":"another"}',
        b'{"status":"RUNNING","entities":[1]}',
        b'{"status":"RUNNING","entities":{"sub_jobs":{"a":1}}}',
        b'{"status":"RUNNING","entities":{"sub_jobs":[null]}}',
        b'{"status":"RUNNING","entities":{"sub_jobs":[{"status":"FAIL","entities":[1]}]}}',
        b'{"status":"RUNNING","entities":{"sub_jobs":[{"status":"FAIL","entities":{"server_id":["a"]}}]}}',
        b'{"status":"RUNNING","entities":{"sub_jobs":5}}',
        job(sub("a"))[:-20],
    ],
)
def test_another_shape_is_a_look_that_failed(body: bytes) -> None:
    with pytest.raises(UnknownAnswer) as caught:
        job_of(body, "j", {"a"})

    assert caught.value.answered


ROW = {
    "id": "a",
    "status": "ACTIVE",
    "name": "web\x1b[31m",
    "updated": "2025-03-23T07:29:19Z",
    "locked": True,
    "hostId": "h",
    "tags": ["k=v", "solo"],
    "enterprise_project_id": "0",
    "OS-EXT-AZ:availability_zone": "az1",
    "OS-EXT-STS:task_state": "rebooting",
    "OS-EXT-SRV-ATTR:user_data": "Q0FOQVJZ",
}


def test_a_server_is_read_without_its_user_data() -> None:
    ((view,), _) = views_of(orjson.dumps({"count": 1, "servers": [ROW]}), {"a"})

    assert view == ServerView(
        id="a",
        status="ACTIVE",
        task_state="rebooting",
        updated="2025-03-23T07:29:19Z",
        locked=True,
        az="az1",
        name="web",
        host_id="h",
        enterprise_project_id="0",
        tags=("k=v", "solo"),
    )
    assert "Q0FOQVJZ" not in repr(view)


def test_an_unknown_id_is_a_row_of_nulls_with_a_fault() -> None:
    row = dict.fromkeys(ROW) | {"id": "x", "fault": {"message": "Instance x could not be found."}}

    assert views_of(orjson.dumps({"servers": [row]}), {"x"}) == ([ServerView("x", found=False)], 0)


def test_a_server_without_a_status_is_unknown_not_missing() -> None:
    assert views_of(b'{"servers":[{"id":"x","status":null}]}', {"x"}) == ([], 0)
    assert list(page_of(b'{"servers":[{"id":"x","status":null}]}').servers) == [ServerView("x")]


def test_rows_that_were_not_asked_for_are_dropped_and_counted() -> None:
    views, unasked = views_of(orjson.dumps({"servers": [ROW, {**ROW, "id": "b"}]}), {"b", "c"})

    assert ([view.id for view in views], unasked) == (["b"], 1)


def test_a_server_is_the_same_in_capital_letters() -> None:
    """What was asked for is not unasked for because the cloud writes it otherwise."""
    small = "0d0bd7c6-5d3c-4d35-9d3f-8f3c6d1a2b3c"
    views, unasked = views_of(orjson.dumps({"servers": [{**ROW, "id": small.upper()}]}), {small})

    assert ([view.id for view in views], unasked) == ([small], 0)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"server":null}', b'{"server":{"id":"a"}}', b'{"server":{"id":"b","status":"ACTIVE"}}']
)
def test_one_server_is_the_one_that_was_asked_for(body: bytes) -> None:
    assert view_of(orjson.dumps({"server": ROW}), "a").status == "ACTIVE"
    with pytest.raises(UnknownAnswer):
        view_of(body, "a")


def test_a_page_tells_the_cloud_s_count() -> None:
    assert page_of(b'{"count":7,"servers":[]}').count == 7
    assert page_of(b'{"count":true,"servers":[]}').count is None
    assert page_of(b'{"servers":[]}').count is None


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"servers":null}',
        b'{"servers":[null]}',
        b'{"servers":[{"id":null}]}',
        b'{"servers":[{"id":1}]}',
        b'{"servers":[{"id":"a","status":["ACTIVE"]}]}',
        b'{"servers":[{"id":"a","status":"ACTIVE","tags":[{"key":"k"}]}]}',
        b'{"servers":"no"}',
    ],
)
def test_another_shape_is_a_listing_that_failed(body: bytes) -> None:
    with pytest.raises(UnknownAnswer):
        page_of(body)


KEYS = ["status", "entities", "sub_jobs", "server_id", "servers", "id", "job_id", "count", "tags", "name", "begin_time"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from(["SUCCESS", "FAIL", "a", "j"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=30,
)


@given(JSON.map(orjson.dumps) | st.binary(max_size=50))
def test_no_body_raises_anything_but_an_unknown_answer(body: bytes) -> None:
    for read in (
        lambda: job_of(body, "j", {"a"}),
        lambda: job_id_of(body),
        lambda: page_of(body),
        lambda: views_of(body, {"a"}),
    ):
        with contextlib.suppress(UnknownAnswer):
            read()


def test_who_is_shown_under_way_is_named_where_that_is_asked_for() -> None:
    """A server that the job leaves out is neither ended nor under way: the look says nothing of it."""
    body = job(sub("a", "RUNNING"), sub("b", "INIT"), sub("c"), {"status": "RUNNING", "entities": None})

    assert job_of(body, "j", {"a", "b", "c", "d"}, running=True).running == {"a", "b"}
    assert job_of(body, "j", {"a", "b", "c", "d"}).running == frozenset()


# What a cloud echoes


def without_canary(text: str) -> str:
    return text.replace("CANARY", "***")


ECHOES = ("CANARY", "a\u200bCANARY", "CAN\u200bARY", "CAN\x7fARY", "a CANARY" + "b" * 500, "\x1b[1mCANARY")


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "raw"])
def test_no_text_of_a_good_answer_repeats_a_secret(echo: str, ascii_only: bool) -> None:  # noqa: FBT001 - a parameter
    def said(answer: dict[str, Any]) -> bytes:
        return json.dumps(answer, ensure_ascii=ascii_only).encode()

    reasons = {"error_code": echo, "fail_reason": echo}
    sub_job = {**reasons, "status": "FAIL", "entities": {"server_id": "a", "errorcode_message": echo}}
    words = dict.fromkeys((*_TEXTS, "OS-EXT-STS:task_state", "OS-EXT-AZ:availability_zone"), echo)
    row = {**words, "id": "a", "tags": [echo], "addresses": {echo: [{"addr": echo, "version": echo}]}, "fault": echo}
    kept = [
        job_of(said({"status": echo, **reasons, "entities": {"sub_jobs": [sub_job]}}), "j", {"a"}, without_canary),
        page_of(said({"servers": [row]}), without_canary),
        views_of(said({"servers": [row]}), {"a"}, without_canary),
        view_of(said({"server": row}), "a", without_canary),
    ]

    assert all("***" in repr(one) for one in kept)
    assert "CANARY" not in repr(kept)


_TEXTS = ("status", "name", "updated", "hostId", "enterprise_project_id", "metadata", "user_data")


@pytest.mark.parametrize("id_", ["CANARY", "x" * 65, "a\x1b[2J", "a\u202eb"])
def test_an_id_that_is_a_secret_or_cannot_be_shown_is_none(id_: str) -> None:
    with pytest.raises(UnknownAnswer):
        page_of(orjson.dumps({"servers": [{"id": id_, "status": "ACTIVE"}]}), without_canary)
    with pytest.raises(UnknownAnswer):
        job_id_of(orjson.dumps({"job_id": id_ * 3}), without_canary)


WORDS = st.none() | st.sampled_from(["", " ", "web", " web ", "a, b", "a ,b", "CANARY", "x\u202ey", "y" * 65, "é"])


@given(name=WORDS, az=WORDS, tags=st.none() | st.lists(WORDS, max_size=3), address=WORDS)
def test_a_row_is_read_alike_whatever_stands_beside_it(name: Any, az: Any, tags: Any, address: Any) -> None:
    """A page of nothing but plain texts is judged as a whole, any other row by row."""
    row = {"id": "a", "status": "ACTIVE", "name": name, "OS-EXT-AZ:availability_zone": az, "tags": tags}
    row["addresses"] = {"net": [{"addr": address, "version": "4"}]}
    long = {"id": "b", "status": "ACTIVE", "name": "n" * 100}

    alone, beside = (
        page_of(orjson.dumps({"servers": rows}), redact=without_canary).servers[0] for rows in ([row], [row, long])
    )

    assert alone == beside


def test_a_tag_of_nothing_is_empty() -> None:
    assert page_of(b'{"servers":[{"id":"a","status":"ACTIVE","tags":[null,"k"]}]}').servers[0].tags == ("", "k")
