"""Tables of views are dicts of views that cost the garbage collector nothing."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from ecsbatch.model.servers import Fleet, ServerView
from ecsbatch.model.view_table import PackedViews, SeenFleet, ViewTable

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3)
views = st.builds(
    ServerView,
    st.sampled_from("abcdef"),
    st.booleans(),
    words,
    words,
    words,
    locked=st.booleans(),
    az=words,
    name=words,
    host_id=words,
    enterprise_project_id=words,
    tags=st.tuples(words, words) | st.just(()),
    address=words,
)


@given(st.lists(views), st.lists(views), st.integers(0, 5), st.integers(0, 5), st.sampled_from("abcdef"))
def test_it_is_a_dict_of_views_in_their_order(
    first: list[ServerView], more: list[ServerView], start: int, end: int, gone: str
) -> None:
    plain = {view.id: view for view in first}
    table = ViewTable(plain)
    assert list(table.items()) == list(plain.items())
    assert table.baselines() == [view.updated for view in plain.values()]
    assert list(table.part(start).items()) == list(plain.items())[start:]
    assert list(table.part(start, end).items()) == list(plain.items())[start:end]

    later = {view.id: view for view in more}
    table.take(ViewTable(later))
    plain |= later
    assert list(table.items()) == list(plain.items())

    table.pop(gone, None)
    plain.pop(gone, None)
    assert (list(table), len(table), gone in table, table.get(gone)) == (list(plain), len(plain), False, None)
    assert bool(table) is bool(plain)


def test_a_part_is_a_copy() -> None:
    table = ViewTable({id_: ServerView(id_) for id_ in "abc"})

    part = table.part(0, 2)
    del part["a"]

    assert (list(part), list(table)) == (["b"], ["a", "b", "c"])


def test_the_collector_does_not_visit_its_rows() -> None:
    table = ViewTable({str(n): ServerView(str(n), status="ACTIVE", tags=(f"app={n}",)) for n in range(100)})

    for _ in range(2):
        gc.collect()

    assert not any(map(gc.is_tracked, table._rows.values()))


@given(st.lists(views), st.lists(views), st.sampled_from("abcdef"))
def test_packed_views_are_a_dict_of_views_too(first: list[ServerView], more: list[ServerView], gone: str) -> None:
    plain, table = dict[str, ServerView](), PackedViews()
    for each in (first, more):
        plain.update((view.id, view) for view in each)
        table.update((view.id, view) for view in each)
    assert list(table.items()) == list(plain.items())

    table.pop(gone, None)
    plain.pop(gone, None)
    assert (list(table), len(table), gone in table, table.get(gone)) == (list(plain), len(plain), False, None)

    table.clear()
    assert not table


def test_a_nul_in_a_packed_text_moves_no_other_text() -> None:
    table = PackedViews()
    table["a"] = ServerView("a", status="AC\0TIVE", az="az1\0", tags=("\0",))

    assert table["a"] == ServerView("a", status="ACTIVE", az="az1", tags=("",))


def test_the_collector_does_not_visit_packed_views_at_all() -> None:
    table = PackedViews()
    table.update((str(n), ServerView(str(n), tags=(f"app={n}",))) for n in range(100))

    assert not gc.is_tracked(table._rows)


@given(st.lists(views))
def test_of_a_fleet_that_was_seen_is_kept_what_tells_whether_it_has_changed(seen: list[ServerView]) -> None:
    kept = {view.id: view for view in seen if view.id != "a"}
    fleet = SeenFleet(Fleet("fedcba"), kept)

    assert dict(fleet) == {
        id_: ServerView(id_, view.found, view.status, view.task_state, view.updated, view.locked, view.az)
        for id_, view in kept.items()
    }
    assert list(fleet) == [id_ for id_ in "fedcba" if id_ in kept]
    assert (len(fleet), fleet.get("a"), fleet.get("z")) == (len(kept), None, None)
