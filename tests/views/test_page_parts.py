"""Cells, columns and details of a page: each says of each server what the run's state says."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nights import MadeUpNight, night_plan
from scenes import HOSTILE, history, plan

from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Stage
from ecsbatch.policy.decide import unhealthy
from ecsbatch.views.page.cells import NOT_BACK, NOT_HEALTHY, STAGE, cell_states, changed
from ecsbatch.views.page.columns import dictionary_column, fleet_object
from ecsbatch.views.page.details import Details
from ecsbatch.views.page.figures import Figures


@given(st.binary(max_size=9_000), st.lists(st.tuples(st.integers(0, 8_999), st.integers(0, 255)), max_size=40))
def test_changed_cells_are_those_that_a_look_at_each_one_finds(before: bytes, writes: list[tuple[int, int]]) -> None:
    after = bytearray(before)
    for at, value in writes:
        if at < len(after):
            after[at] = value

    assert changed(before, bytes(after)) == [i for i, was in enumerate(before) if after[i] != was]


def test_changes_of_a_million_cells_are_found_at_their_ends_and_between_two_blocks() -> None:
    after = bytearray(1_000_000)
    for at in (0, 4_095, 4_096, 999_999):
        after[at] = 4

    assert changed(bytes(1_000_000), bytes(after)) == [0, 4_095, 4_096, 999_999]
    assert changed(bytes(256), bytes(range(256))) == list(range(1, 256)), "whichever bits differ"
    with pytest.raises(ValueError, match="3 cells and 2"):
        changed(bytes(3), bytes(2))


@given(st.integers(0, 2**32))
def test_a_cell_says_how_far_a_server_is_whether_it_is_back_and_whether_it_is_healthy(seed: int) -> None:
    night = MadeUpNight(seed)
    for _ in night.events(150):
        pass
    cells, state = cell_states(night.state), night.state
    fleet = state.plan.fleet

    assert [cell & STAGE for cell in cells] == list(state.stage)
    assert {i for i, cell in enumerate(cells) if cell & NOT_BACK} == state.held
    assert {fleet.ids[i] for i, cell in enumerate(cells) if cell & NOT_HEALTHY} == set(unhealthy(state))


def read_column(column: dict[str, Any]) -> list[str]:
    raw, width = b64decode(column["index"]), column["width"]
    return [column["values"][int.from_bytes(raw[i : i + width], "little")] for i in range(0, len(raw), width)]


@pytest.mark.parametrize(("different", "width"), [(1, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 4)])
def test_a_column_is_as_wide_as_its_values_need(different: int, width: int) -> None:
    texts = [f"h{i % different}" for i in range(different + 3)]
    column = dictionary_column(texts)

    assert (column["width"], len(column["values"])) == (width, different)
    assert read_column(column) == texts


def test_ids_are_sixteen_bytes_each_and_texts_where_one_is_no_uuid() -> None:
    told = fleet_object("night", night_plan(5))
    raw = b64decode(told["ids"]["uuids"])
    odd = Plan(fleet=Fleet(["web-1", "00000000-0000-4000-8000-000000000000"]), waves=(Wave(1, 0, 2),))
    big = Plan(fleet=Fleet(["ABCDEF00-0000-4000-8000-000000000000"]), waves=(Wave(1, 0, 1),))

    assert [raw[i : i + 16].hex() for i in range(0, len(raw), 16)] == [
        id_.replace("-", "") for id_ in night_plan(5).fleet.ids
    ]
    assert fleet_object("night", odd)["ids"] == {"texts": list(odd.fleet.ids)}
    assert fleet_object("night", big)["ids"] == {"texts": list(big.fleet.ids)}, "capitals would come back small"


def test_a_fleet_is_told_with_its_groups_and_waves_and_without_what_it_lacks() -> None:
    fleet = Fleet(["a", "b", "c"], ["az1", "az2", "az1"], None, None, ["h1", "h1", "h2"], {"app": ["web", "", "db"]})
    told = fleet_object("night", Plan(fleet=fleet, waves=(Wave(1, 0, 2, "2"),), soak=60.0, hold_after=(1,)))

    assert {name: read_column(column) for name, column in told["groups"].items()} == {
        "zone": ["az1", "az2", "az1"],
        "host": ["h1", "h1", "h2"],
        "tag:app": ["web", "", "db"],
    }
    assert told["waves"] == [{"number": 1, "label": "2", "start": 0, "end": 2, "hold": True, "soak": 60.0}]
    assert (told["v"], told["n"], told["to_restart"], told["names"]) == (1, 3, 2, None)
    assert fleet_object("night", Plan(fleet=Fleet(["a"]), waves=()))["groups"] == {}


def test_what_turns_a_text_around_or_hides_in_it_is_told_with_a_mark_in_its_place() -> None:
    names = [HOSTILE, "x" * 300, "\ud800"]
    told = fleet_object("night", Plan(fleet=Fleet(["a", "b", "c"], [HOSTILE] * 3, names), waves=()))

    assert all(text.isprintable() and len(text) <= 256 for text in (*told["names"], *told["groups"]["zone"]["values"]))


def rows(told: dict[str, Any]) -> dict[int, dict[str, str]]:
    return {i: told["values"][what] for i, what in zip(told["at"], told["what"], strict=True)}


@given(st.integers(0, 2**32))
def test_who_takes_over_new_details_has_those_of_each_server_that_has_ended(seed: int) -> None:
    night, seen = MadeUpNight(seed), dict[int, dict[str, str]]()
    details = Details(night.state)
    for recorded in night.events(200):
        details.apply(recorded)
        if recorded.seq % 6 == 0 and (news := details.fresh()) is not None:
            seen |= rows(news)
    seen |= rows(details.fresh() or {"at": [], "what": [], "values": []})

    nothing = dict.fromkeys(("reason", "code", "message", "host"), "")
    for i, outcome in enumerate(night.state.outcomes()):
        if night.state.stage[i] >= Stage.RESTARTED:
            told = seen.get(i, nothing)
            assert (told["reason"], told["code"], told["message"]) == (outcome.reason, outcome.code, outcome.message)
            assert rows(details.table()).get(i, nothing) == told
            assert told["host"] == ("h1" if outcome.kind.is_failure else "")


def test_details_repeat_no_text_and_cut_those_of_many_servers() -> None:
    state = history(plan())
    told = Details(state)
    ids = state.plan.fleet.ids
    for seq, i in enumerate(range(5, 9), state.seq + 1):
        recorded = Recorded(
            seq, 2_000.0, "k7f3q2", ev.ServerFailed(ids[i], batch=2, code="C", message="C: " + "x" * 10_000)
        )
        state.apply(recorded)
        told.apply(recorded)
    table = told.table()

    assert (table["at"], table["what"]) == ([5, 6, 7, 8], [0, 0, 0, 0])
    assert table["values"] == [{"reason": "", "code": "C", "message": "x" * 299 + "…", "host": ""}]


def test_fifty_thousand_different_messages_stay_a_few_megabytes() -> None:
    n = 50_000
    fleet = Fleet([str(i) for i in range(n)])
    state = RolloutState("night", Plan(fleet=fleet, waves=(Wave(1, 0, n),), max_failures=n))
    details = Details(state)
    for i in range(n):
        recorded = Recorded(i + 1, 1_000.0, "night", ev.ServerFailed(str(i), message=f"{i} " * 200))
        state.apply(recorded)
        details.apply(recorded)

    assert sum(len(value["message"]) for value in details.table()["values"]) <= 60 * n


def test_times_are_tenths_of_seconds_since_the_begin() -> None:
    state = history(plan())
    told = Figures(state).times.table()

    def column(name: str, width: int) -> list[int]:
        raw = b64decode(told[name])
        return [int.from_bytes(raw[i : i + width], "little", signed=width > 1) for i in range(0, len(raw), width)]

    assert told["origin"] == 1_001.0
    assert column("submitted", 4)[:12] == [40] * 4 + [120] * 6 + [-1] * 2
    assert column("ended", 4)[:6] == [60, 70, 80, 90, 140, -1]
    assert column("attempts", 1)[:12] == [1] * 10 + [0] * 2
