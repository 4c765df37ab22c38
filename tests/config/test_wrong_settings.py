"""What a program gets wrong in its settings: always `Invalid`, with the name, the value and what is expected."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any, get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecsbatch.config.settings import SECTIONS, SETTINGS, Connection, Engine, Programs, Strategy
from ecsbatch.config.types import Duration
from ecsbatch.config.words import Bool
from ecsbatch.errors import Invalid
from ecsbatch.model.quota import Quota
from ecsbatch.model.run import Changes
from ecsbatch.model.servers import Server


def tried(make: Callable[[], Any]) -> tuple[Any, Invalid | None]:
    try:
        return make(), None
    except Invalid as e:
        return None, e


CLASSES = [*SECTIONS.values(), Quota, Changes, Server]


def refused(make: Callable[[], object]) -> Invalid:
    with pytest.raises(Invalid) as caught:
        make()
    return caught.value


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "given", "field", "text"),
    [
        (Strategy, {"max_unavailble": 1}, "max_unavailble", "has no max_unavailble: did you mean max_unavailable?"),
        (Engine, {"check_worker": 1}, "check_worker", "has no check_worker: did you mean check_workers?"),
        (Engine, {"soak": 1}, "soak", "has no soak: give it to Strategy."),
        (Engine, {"request_timeout": 5}, "request_timeout", "has no request_timeout: give it to EcsClient."),
        (Engine, {"connect_timeout": 5}, "connect_timeout", "has no connect_timeout: give it to EcsClient."),
        (Programs, {"zzz": 1}, "zzz", "has no zzz: it has pass_env, allow_programs."),
        (Quota, {"limt": 5}, "limt", "has no limt: did you mean limit?"),
        (Changes, {"retri": []}, "retri", "has no retri: did you mean retry?"),
        (Server, {"zone": "az1"}, "zone", "has no zone: it has id, domain, name, site, address."),
    ],
)
def test_an_argument_that_a_class_does_not_have_is_named_with_the_one_that_was_meant(
    cls: type[Any], given: dict[str, Any], field: str, text: str
) -> None:
    error = refused(lambda: cls(**given))

    assert (str(error), error.field, error.value) == (f"{cls.__name__} {text}", field, None)
    assert error.expected in text


@pytest.mark.parametrize(
    ("make", "field", "text"),
    [
        (lambda: replace(Engine(), brst=5), "brst", "Engine has no brst: did you mean burst?"),
        (lambda: Quota(1, 60.0, 2), "", "Quota: too many positional arguments."),
        (lambda: Connection("", endpoint=""), "endpoint", "Connection: multiple values for argument 'endpoint'."),
        (lambda: Server(name="web-1"), "id", "Server: missing a required argument: 'id'."),
    ],
)
def test_arguments_that_do_not_fit_are_refused_alike(make: Callable[[], object], field: str, text: str) -> None:
    error = refused(make)

    assert (str(error), error.field) == (text, field)


@given(st.sampled_from(CLASSES), st.text(max_size=200))
@example(Strategy, "self")
@example(Strategy, "cls")
@example(Engine, "\x1b[31msoak")
def test_any_other_name_is_refused_and_never_shown_raw(cls: type[Any], name: str) -> None:
    if name in {f.name for f in fields(cls)}:
        return
    error = refused(lambda: cls(**{name: "CANARY"}))

    assert str(error).isprintable()
    assert "CANARY" not in json.dumps(error.as_dict())


def test_an_error_of_the_class_itself_is_not_taken_for_a_wrong_argument() -> None:
    class Broken(str):
        __slots__ = ()

        def strip(self, *_: object) -> str:
            raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        Strategy(check=Broken("tcp:22"))


@pytest.mark.parametrize("cls", CLASSES)
def test_a_class_keeps_its_signature_and_its_types(cls: type[Any]) -> None:
    assert list(inspect.signature(cls).parameters) == [f.name for f in fields(cls)]
    assert set(get_type_hints(cls)) >= {f.name for f in fields(cls)}


# -- values ------------------------------------------------------------------------------------------------------------

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.builds(object),
    st.just(Decimal(5)),
    st.just(10**5000),
    st.just("9" * 5000),
    st.just(Quota(-1, math.nan)),
    st.just(lambda: None),
)
ANYTHING = st.one_of(
    PLAIN, st.lists(PLAIN, max_size=3), st.tuples(PLAIN), st.dictionaries(st.text(max_size=3), PLAIN, max_size=2)
)


@given(name=st.sampled_from(sorted(SETTINGS)), value=ANYTHING)
@example(name="soak", value=False)
@example(name="cold_start", value=0)
@example(name="waves", value=b"15")
@example(name="pass_env", value=b"")
@example(name="batch_size", value=10**5000)
def test_a_value_of_any_type_is_taken_or_refused_by_name(name: str, value: object) -> None:
    cls = SECTIONS[SETTINGS[name].section]
    made, error = tried(lambda: cls(**{name: value}))

    if error is not None:
        assert error.field == name
        assert str(error).startswith(f"{name} = ")
        assert str(error).isprintable()
        assert json.dumps(error.as_dict(), allow_nan=False)
    else:
        assert isinstance(value, bool) == isinstance(SETTINGS[name].kind, Bool)
        assert not isinstance(value, bytes)
        assert replace(made) == made


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("soak", -1.0, -1.0),
        ("soak", math.nan, "nan"),
        ("batch_size", None, None),
        ("batch_size", "many", "many"),
        ("waves", [0], "[0]"),
        ("check", "url:ftp://ops:CANARY@h", None),
        ("check", ["cmd:up", "--token", "CANARY"], None),
        ("gate", b"up CANARY", None),
        ("endpoint", "ftp://ops:CANARY@h", None),
        ("store", "mysql://ops:CANARY@h/db", None),
        ("allow_programs", "up --token CANARY", None),
    ],
)
def test_the_value_is_told_but_where_it_may_hold_a_secret(name: str, value: object, told: object) -> None:
    cls: Any = SECTIONS[SETTINGS[name].section]
    error = refused(lambda: cls(**{name: value}))

    assert error.value == told
    assert error.expected == SETTINGS[name].kind.expects
    if "CANARY" in str(value) and name != "allow_programs":
        assert "CANARY" not in json.dumps(error.as_dict())


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Changes(retry="failed"), "retry"),
        (lambda: Changes(retry=None), "retry"),
        (lambda: Changes(skip_domains=[1]), "skip_domains"),
        (lambda: Changes(forgive="yes"), "forgive"),
        (lambda: Changes(limits=["max_failures"]), "limits"),
        (lambda: Engine(burst=1001), "burst"),
        (lambda: Engine(quota=Quota("many")), "quota"),
    ],
)
def test_what_does_not_fit_together_is_named_too(make: Callable[[], object], field: str) -> None:
    assert refused(make).field == field


# -- durations ---------------------------------------------------------------------------------------------------------

DURATIONS = [s for s in SETTINGS.values() if isinstance(s.kind, Duration)]


@pytest.mark.parametrize("setting", DURATIONS, ids=lambda setting: setting.name)
def test_a_program_gives_a_duration_in_seconds_or_as_text_and_reads_seconds(setting: Any) -> None:
    cls: Any = SECTIONS[setting.section]
    for value in (20, 20.0, "20s", " 20S "):
        kept = getattr(cls(**{setting.name: value}), setting.name)
        assert (kept, type(kept)) == (20.0, float)
    assert get_type_hints(cls)[setting.name] in {float | str, float | str | None}
    assert refused(lambda: cls(**{setting.name: "20"})).field == setting.name


def test_all_durations_of_strategy_and_engine_are_known() -> None:
    assert {s.name for s in DURATIONS} == {
        *("soak", "check_interval", "min_ready", "gate_timeout", "server_timeout"),
        *("linger", "unknown_grace", "blind_timeout", "typical_restart", "check_timeout"),
        *("request_timeout", "connect_timeout"),
    }
