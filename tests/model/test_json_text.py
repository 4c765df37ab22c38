"""JSON that people see, too."""

import json

import pytest

from ecsbatch.model.events import WaveStarted
from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.recorded import Recorded, encode

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
