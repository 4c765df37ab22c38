"""JSON that people see, too."""

import json
from collections.abc import Sequence

import pytest

from ecsbatch.model.events import BatchSubmitting, Event, ServerFailed, ServerRestarted, ServerSkipped, WaveStarted
from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.recorded import Recorded, encode, encode_all

ACTING = "\x7f\x80\x85\x9b\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff"


@pytest.mark.parametrize("mark", ACTING, ids=ascii)
def test_what_a_terminal_would_act_upon_is_escaped_and_says_the_same(mark: str) -> None:
    written = json_bytes({f"a{mark}": [f"{mark}b"]})

    assert written.isascii()
    assert json.loads(written) == {f"a{mark}": [f"{mark}b"]}
    assert mark.encode() not in written


def test_other_letters_stay_as_they_are() -> None:
    assert json_bytes({"name": "Mühle 水車 €"}) == '{"name":"Mühle 水車 €"}'.encode()


def test_a_name_that_is_no_text_is_written_all_the_same() -> None:
    assert json.loads(json_bytes(["\udcff", "\x9b", 1])) == ["\udcff", "\x9b", 1]


def test_the_lines_of_events_hold_nothing_that_acts() -> None:
    line = encode(Recorded(1, 0.0, "tonight\x9b2J\u202e", WaveStarted(label="\u2066")))

    assert line.isascii()
    assert json.loads(line)["run_id"] == "tonight\x9b2J\u202e"


ODD = '%s "seq":1, "server":"s2", %b \x7f\u202e é'

ALIKE: dict[str, Sequence[Event]] = {
    "nothing": [],
    "one look": [ServerRestarted(server=f"s{n}", wave=1, batch=2, evidence="job", job_id="j") for n in range(3)],
    "two looks": [ServerRestarted(server=f"s{n}", wave=1, batch=n % 2, domain="az1") for n in range(4)],
    "kinds": [kind(server="s1", wave=1) for kind in (ServerRestarted, ServerFailed, ServerRestarted, ServerSkipped)],
    "flags": [ServerFailed(server=f"s{n}", holds=n > 1, message=ODD) for n in range(4)],
    "no server": [ServerFailed(), ServerFailed(server="s"), ServerFailed()],
    "odd servers": [ServerFailed(server=server, message=ODD) for server in (ODD, "s2", "%", "%d", ODD)],
    "no text": [ServerFailed(server="\udcff"), ServerFailed(server="s", code="\udcff")],
    "others between": [WaveStarted(1, 2, ODD), ServerFailed(server="s"), BatchSubmitting(1, ["s", ODD])],
}


@pytest.mark.parametrize("run_id", ["k7f3q2", ODD])
@pytest.mark.parametrize("events", ALIKE.values(), ids=ALIKE)
def test_events_that_are_stored_together_are_written_as_each_alone(events: Sequence[Event], run_id: str) -> None:
    recorded = [Recorded(seq, 1000.5, run_id, event) for seq, event in enumerate(events, 1)]

    assert encode_all(recorded) == b"\n".join(map(encode, recorded))
