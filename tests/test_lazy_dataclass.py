"""What `dataclass` of ours makes is what `dataclasses` makes of the same class, but later."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
from collections.abc import Callable
from dataclasses import field
from importlib import import_module
from typing import Any, ClassVar

import pytest

from ecsbatch.lazy_dataclass import (
    _Later,  # pyright: ignore[reportPrivateUsage]  # its own test
    dataclass,
)


def _classes(decorator: Callable[..., Any]) -> dict[str, Any]:
    """Return classes of all kinds that there are here, made by one of the two decorators."""

    @decorator(frozen=True, slots=True)
    class Fact:
        """A base without fields."""

        name: ClassVar[str] = ""

    @decorator(frozen=True, slots=True)
    class Derived(Fact):
        """A frozen one with slots."""

        name: ClassVar[str] = "derived"
        number: int
        text: str = "none"
        words: list[str] = field(default_factory=list[str])
        secret: str = field(default="", repr=False)
        noted: float = field(default=0.0, compare=False)

    @decorator(frozen=True, slots=True)
    class Further(Derived):
        """It adds a field and overrides a default."""

        text: str = "more"
        last: int | None = None

    @decorator(frozen=True)
    class Checked:
        """Frozen without slots, and checked."""

        number: int = 1

        def __post_init__(self) -> None:
            object.__setattr__(self, "number", abs(self.number))

    @decorator(slots=True)
    class Mutable:
        """With slots."""

        number: int
        words: dict[str, int] = field(default_factory=dict[str, int])

    @decorator(kw_only=True)
    class Named:
        """By names alone, with a method of its own."""

        b: int
        a: int = 1

        def __repr__(self) -> str:
            return f"Named {self.a} {self.b}"

    @decorator(eq=False)
    class Alone:
        """Equal to itself alone."""

        number: int = 0

    made = {cls.__name__: cls for cls in (Fact, Derived, Further, Checked, Mutable, Named, Alone)}
    for name, cls in made.items():
        cls.__qualname__ = name
    return made


OURS = _classes(dataclass)
THEIRS = _classes(dataclasses.dataclass)
GIVEN: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Fact", (), {}),
    ("Derived", (1,), {}),
    ("Derived", (2, "two", ["x"], "hidden", 3.0), {}),
    ("Derived", (2,), {"noted": 5.0}),
    ("Further", (1,), {}),
    ("Further", (1,), {"last": 4, "secret": "s"}),
    ("Checked", (-3,), {}),
    ("Checked", (), {}),
    ("Mutable", (1,), {}),
    ("Mutable", (1, {"a": 1}), {}),
    ("Named", (), {"b": 2}),
    ("Alone", (), {}),
]

by_name = pytest.mark.parametrize("name", OURS)
by_instance = pytest.mark.parametrize(("name", "arguments", "named"), GIVEN)


@by_name
def test_fields_patterns_and_signature_are_the_same(name: str) -> None:
    ours, theirs = OURS[name], THEIRS[name]

    assert [repr(f) for f in dataclasses.fields(ours)] == [repr(f) for f in dataclasses.fields(theirs)]
    assert ours.__match_args__ == theirs.__match_args__
    assert ours.__doc__ == theirs.__doc__
    assert str(inspect.signature(ours)) == str(inspect.signature(theirs))
    assert ours.__dict__.get("__slots__") == theirs.__dict__.get("__slots__")
    assert (ours.__hash__ is None) == (theirs.__hash__ is None)


@by_instance
def test_instances_are_the_same(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """The first ones, which are made without a compiled constructor, and those behind them."""
    theirs = THEIRS[name](*arguments, **named)

    for ours in [_classes(dataclass)[name](*arguments, **named), *(OURS[name](*arguments, **named) for _ in range(3))]:
        assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
        assert repr(ours) == repr(theirs) or name == "Alone"
        assert dataclasses.asdict(dataclasses.replace(ours)) == dataclasses.asdict(theirs)
        assert hasattr(ours, "__dict__") == hasattr(theirs, "__dict__")


@by_instance
def test_equal_where_theirs_are(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    ours, theirs = OURS[name](*arguments, **named), THEIRS[name](*arguments, **named)

    for other, given, also in GIVEN:
        left = ours == OURS[other](*given, **also)
        right = theirs == THEIRS[other](*given, **also)
        assert left == right


@pytest.mark.parametrize("name", [name for name in OURS if name != "Fact"])
def test_a_frozen_one_refuses_alike(name: str) -> None:
    _, arguments, named = next(given for given in GIVEN if given[0] == name)
    refused = list[str]()
    for classes in (OURS, THEIRS):
        made = classes[name](*arguments, **named)
        for act in (lambda made=made: setattr(made, "number", 2), lambda made=made: delattr(made, "number")):
            try:
                act()
            except AttributeError as e:
                refused.append(f"{type(e).__name__}: {e}" if "object" not in str(e) else type(e).__name__)
            else:
                refused.append("taken")

    assert refused[:2] == refused[2:]


@by_instance
def test_copies_and_pickles(
    name: str, arguments: tuple[Any, ...], named: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], name, OURS[name], raising=False)
    made = OURS[name](*arguments, **named)

    for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301 - our own
        assert type(again) is type(made)
        assert dataclasses.asdict(again) == dataclasses.asdict(made)


def test_hashable_is_what_is_frozen() -> None:
    fact, other = OURS["Further"](1, words=()), OURS["Further"](1, words=(), noted=3.0)

    assert hash(fact) == hash(other)
    assert len({fact, other}) == 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(OURS["Mutable"](1))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((), {}), ((1, 2, 3, 4, 5, 6), {}), ((1,), {"number": 2}), ((1,), {"other": 2}), ((), {"text": "t"})],
)
def test_arguments_that_do_not_fit_are_told_of_alike(arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    said = set[str]()
    for classes in (_classes(dataclass), OURS, THEIRS):
        with pytest.raises(TypeError) as raised:
            classes["Derived"](*arguments, **named)
        said.add(str(raised.value).rpartition(".")[2])

    assert len(said) == 1


def test_the_constructor_is_compiled_for_the_third_instance() -> None:
    late = _classes(dataclass)["Checked"]
    compiled = list[bool]()
    for number in range(4):
        compiled.append(not isinstance(vars(late)["__init__"], _Later))
        assert late(-number).number == number

    assert compiled == [False, False, False, True]


def _ours() -> set[type[Any]]:
    """Return all dataclasses of the package that are imported by now."""
    modules = [module for name, module in sys.modules.items() if name.startswith("ecsbatch.")]
    classes = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return {cls for cls in classes if isinstance(vars(cls).get("__init__"), _Later) or dataclasses.is_dataclass(cls)}


def test_all_fields_of_the_package_are_of_kinds_that_are_known() -> None:
    for module in ("restarter", "ecs.client", "store.store", "cli.commands.restart"):
        import_module(f"ecsbatch.{module}")
    classes = _ours()
    known = {cls: dataclasses.fields(cls) for cls in classes}
    slots = {cls: [name for base in reversed(cls.__mro__) for name in vars(base).get("__slots__", ())] for cls in known}

    assert len(classes) > 150
    assert {cls: names for cls, names in slots.items() if names and names != [f.name for f in known[cls]]} == {}
    assert [f.name for names in known.values() for f in names if not f.init] == []


def test_one_that_is_frozen_by_dataclasses_may_derive() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Theirs(OURS["Derived"]):  # type: ignore[misc]
        """A subclass in another package."""

        more: int = 0

    made = Theirs(1, more=2)

    assert (made.number, made.more, made.name) == (1, 2, "derived")
    assert made == Theirs(1, more=2)


@pytest.mark.parametrize("decorator", [dataclass, dataclasses.dataclass])
def test_a_subclass_is_filled_by_its_own_rules_from_its_first_instance_on(decorator: Callable[..., Any]) -> None:
    @decorator(frozen=True)
    class Base:
        number: int = 1

    class Checked(Base):
        def __post_init__(self) -> None:
            raise AssertionError

    @decorator()
    class Mutable:
        number: int = 1

    class Doubled(Mutable):
        def __setattr__(self, name: str, value: int) -> None:
            super().__setattr__(name, 2 * value)

    assert [Checked(3).number for _ in range(4)] == [3] * 4
    assert [Doubled(3).number for _ in range(4)] == [6] * 4


@pytest.mark.parametrize("slots", [False, True])
@pytest.mark.parametrize("decorator", [dataclass, dataclasses.dataclass])
def test_a_field_of_a_base_may_be_given_another_type(decorator: Callable[..., Any], slots: bool) -> None:  # noqa: FBT001 - a table's column
    @decorator(frozen=True, slots=slots)
    class Base:
        first: int = 1
        last: int = 2

    @decorator(frozen=True, slots=slots)
    class Derived(Base):
        first: str

    default = "" if slots else " = 1"
    assert str(inspect.signature(Derived)) == f"(first: 'str'{default}, last: 'int' = 2) -> None"
    assert dataclasses.fields(Base)[0].type == "int"


def test_the_constructor_is_shown_to_who_asks_as_python_3_13_does() -> None:
    late = _classes(dataclass)["Derived"]

    bound = vars(late)["__init__"].__get__(late, type(late))

    assert list(inspect.signature(bound).parameters) == ["number", "text", "words", "secret", "noted"]


@by_instance
def test_copy_may_replace(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """As ``copy.replace`` of Python 3.13 asks for it."""
    made = OURS[name](*arguments, **named)

    assert dataclasses.asdict(made.__replace__()) == dataclasses.asdict(made)


def test_no_method_of_the_package_asks_for_the_class_from_which_its_own_was_made() -> None:
    """``super()`` would: it is compiled for the class that was given, and fails for instances of the one made of it."""
    asking = [
        f"{cls.__qualname__}.{name}"
        for cls in _ours()
        for name, value in vars(cls).items()
        if inspect.isfunction(value) and "__class__" in value.__code__.co_freevars
    ]

    assert asking == []
