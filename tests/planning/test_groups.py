"""What people group servers by: the hosts and the tags that a look showed, and nothing that a run depends on."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ecsbatch.config.settings import Strategy
from ecsbatch.model.servers import Fleet, Server, ServerView
from ecsbatch.planning.groups import FEW_VALUES, LONGEST, MOST_TAGS, SeenTags
from ecsbatch.planning.strategy import make_plan

_WORDS = st.text("ab=é", max_size=3)
_TAGS = st.lists(_WORDS, max_size=4)


def columns_of(*tags: Sequence[str]) -> dict[str, tuple[str, ...]]:
    seen = SeenTags()
    for each in tags:
        seen.add(each)
    return seen.columns()


def test_hosts_and_tags_follow_their_servers_into_the_order_of_the_rollout() -> None:
    views = {
        f"s{i}": ServerView(f"s{i}", status="SHUTOFF" if i == 1 else "ACTIVE", host_id=f"h{i // 2}", tags=(f"n={i}",))
        for i in range(6)
    }
    fleet = make_plan([Server(id_) for id_ in reversed(views)], Strategy(), views=views).fleet

    assert set(fleet.ids) == set(views)
    assert fleet.ids[-1] == "s1"
    assert [fleet.host(i) for i in range(6)] == [views[id_].host_id for id_ in fleet.ids]
    assert fleet.tags == {"n": tuple(id_[1:] for id_ in fleet.ids)}


def test_a_plan_without_a_look_has_none_and_one_that_was_given_some_keeps_them() -> None:
    given_some = Fleet(["a", "b"], hosts=["h1", ""], tags={"app": ["", "web"], "none": ["", ""]})
    kept = make_plan(given_some, Strategy()).fleet

    assert (make_plan([Server("a")], Strategy()).fleet.hosts, Fleet(["a"]).host(0), Fleet(["a"]).tags) == (None, "", {})
    assert (kept.hosts, kept.tags) == (("h1", ""), {"app": ("", "web")})


def test_servers_of_one_host_or_tag_share_one_text() -> None:
    columns = columns_of(*([f"app={'we'}b"] for _ in range(3)))
    fleet = Fleet(["a", "b", "c"]).grouped([f"{'ho'}st-{1}" for _ in range(3)], columns)

    assert len(set(map(id, fleet.hosts or ()))) == 1
    assert len(set(map(id, fleet.tags["app"]))) == 1


def test_a_tag_without_a_value_tells_who_has_it_from_who_has_not() -> None:
    assert columns_of(["canary"], ["canary="], ["app=a=b", "=x"], ()) == {
        "canary": ("canary", "canary", "", ""),
        "app": ("", "", "a=b", ""),
    }


def test_a_value_of_each_servers_own_is_nothing_to_group_by() -> None:
    many = 2 * FEW_VALUES + 2
    of_each = columns_of(*([f"id={i}", f"pair={i // 2}", f"few={i % FEW_VALUES}"] for i in range(many)))
    some = columns_of(*([f"id={i}"] for i in range(FEW_VALUES)), *[[]] * many)
    one_key_many_times = columns_of(*([f"id={i}.{n}" for n in range(9)] for i in range(FEW_VALUES + 1)))

    assert list(of_each) == ["few", "pair"]
    assert list(some) == ["id"]
    assert one_key_many_times == {}


def test_the_tags_of_most_servers_are_kept_and_long_texts_are_cut() -> None:
    of_all = [f"k{n:02}=v" for n in range(MOST_TAGS - 1)]
    columns = columns_of(["rare=1", *of_all], ["a=1", "b=1", *of_all], ["b=2", *of_all])
    long = "x" * (LONGEST + 1)

    assert list(columns) == [tag[:3] for tag in of_all] + ["b"]
    assert columns_of([f"{long}={long}"]) == {long[:-1]: (long[:-1],)}
    views = {"a": ServerView("a", status="ACTIVE", host_id=long)}
    assert make_plan([Server("a"), Server("b")], Strategy(order="input"), views=views).fleet.hosts == (long[:-1], "")


@given(st.lists(_TAGS, max_size=6))
def test_each_server_has_the_values_of_its_own_tags(tags: list[list[str]]) -> None:
    expected: dict[str, list[str]] = {}
    for i, each in enumerate(tags):
        for text in each:
            key, value = text.split("=", 1) if "=" in text else (text, "")
            if key:
                expected.setdefault(key, [""] * len(tags))[i] = value or key

    assert columns_of(*tags) == {key: tuple(values) for key, values in expected.items()}


@given(st.lists(st.tuples(_WORDS, _TAGS), min_size=1, max_size=6), st.sampled_from(["spread", "domain", "input"]))
def test_neither_hash_nor_servers_know_of_hosts_and_tags(of_each: list[tuple[str, list[str]]], order: str) -> None:
    """Of two plans that differ in nothing but these, whoever agreed to one agreed to the other."""
    views = {
        f"s{i}": ServerView(f"s{i}", status="ACTIVE", az=f"az{i % 2}", host_id=host, tags=tuple(tags))
        for i, (host, tags) in enumerate(of_each)
    }
    plan = make_plan([Server(id_) for id_ in views], Strategy(order=order), views=views)
    fleet = plan.fleet
    bare = Fleet(fleet.ids, fleet.domains, fleet.names, fleet.sites)

    assert (fleet.order_hash(b"x"), fleet.targets_hash()) == (bare.order_hash(b"x"), bare.targets_hash())
    assert (list(fleet), list(fleet.key_order()())) == (list(bare), list(bare.key_order()()))
    assert "host" not in str(plan.to_json())
