"""Dataclasses whose methods are made when they are needed: a command imports two hundred of them, and uses a few.

`dataclasses.dataclass` writes and compiles up to eight methods for each class, half a millisecond for a frozen one: a
fifth of what ``ecsbatch status`` took. Here a class is what `dataclasses` makes of its fields, so that ``fields``,
``replace``, ``asdict`` and patterns know it; but its ``__init__`` is compiled when it is first looked up, and its other
methods are closures over the names of its fields. A frozen one with slots is made twice as quickly, too: its
``__init__`` sets each slot by the slot's own descriptor.

For type checkers the decorator is the one of `dataclasses`. What it does not know is refused: nobody here uses it.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, field, fields
from inspect import get_annotations
from operator import attrgetter
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

__all__ = ["dataclass", "field"]

T = TypeVar("T")


class _FromFactory:
    """The default of a parameter whose field has a factory."""

    def __repr__(self) -> str:
        return "<factory>"


_FROM_FACTORY: Final = _FromFactory()


class _LazyInit:
    """An ``__init__`` that is compiled, and put into its own place, when it is first looked up."""

    def __init__(self, cls: type[Any], *, frozen: bool) -> None:
        self._cls = cls
        self._frozen = frozen

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        """Return the real one, bound as a method is."""
        made = self._cls.__init__ = _compiled_init(self._cls, frozen=self._frozen)
        return made.__get__(instance, owner)


def _dataclass(
    cls: type[T] | None = None,
    /,
    *,
    frozen: bool = False,
    slots: bool = False,
    eq: bool = True,
    repr: bool = True,  # noqa: A002 - as in `dataclasses`
    kw_only: bool = False,
) -> Any:
    """Make a dataclass, as `dataclasses.dataclass` does."""

    def made(given: type[T]) -> type[T]:
        likeness = _likeness(given, kw_only=kw_only)
        known: tuple[Field[Any], ...] = fields(likeness)
        cls = _with_slots(given, [f.name for f in known]) if slots else given
        likeness.__dataclass_params__.frozen = frozen  # who derives from it with `dataclasses` is to be frozen, too
        for name in ("__dataclass_fields__", "__dataclass_params__", "__match_args__"):
            setattr(cls, name, getattr(likeness, name))
        _add_methods(cls, known, frozen=frozen, eq=eq, repr_=repr)
        return cls

    return made if cls is None else made(cls)


def _likeness(cls: type[Any], *, kw_only: bool) -> Any:
    """Return a dataclass of the same fields and nothing else, which costs next to nothing.

    It has no bases, but their fields: to derive from a frozen class, `dataclasses` would compile what refuses to set.
    """
    own = get_annotations(cls)
    inherited: dict[str, Field[Any]] = {}
    for base in reversed(cls.__mro__[1:]):
        if dataclasses.is_dataclass(base):
            inherited |= {f.name: f for f in fields(base)}
    values = {name: vars(cls)[name] for name in own if name in vars(cls)}
    for name, value in values.items():
        if isinstance(value, Field):
            # As a class attribute it would hide the default, or stand where there is none.
            if value.default is MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, value.default)
    annotations = {name: f.type for name, f in inherited.items()} | own
    body = {**inherited, **values, "__annotations__": annotations, "__module__": cls.__module__, "__doc__": "Fields."}
    return dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(type(cls.__name__, (), body))


def _with_slots(cls: type[T], names: Sequence[str]) -> type[T]:
    """Make a class again, with slots: they cannot be added to one that is made."""
    inherited = {name for base in cls.__mro__[1:] for name in base.__dict__.get("__slots__", ())}
    slots = tuple(name for name in names if name not in inherited)
    body = {name: value for name, value in vars(cls).items() if name not in {*names, "__dict__", "__weakref__"}}
    made = type(cls)(cls.__name__, cls.__bases__, {**body, "__slots__": slots, "__qualname__": cls.__qualname__})
    return cast("type[T]", made)


def _add_methods(cls: type[Any], known: Sequence[Field[Any]], *, frozen: bool, eq: bool, repr_: bool) -> None:
    own = vars(cls)
    names = [f.name for f in known]
    if "__init__" not in own:
        cls.__init__ = _LazyInit(cls, frozen=frozen)
    if repr_ and "__repr__" not in own:
        cls.__repr__ = _repr_of([f.name for f in known if f.repr])
    if eq and "__eq__" not in own:
        values = _getter([f.name for f in known if f.compare])
        cls.__eq__ = _eq_of(values)
        if own.get("__hash__") is None:
            cls.__hash__ = _hash_of(values) if frozen else None
    if frozen:
        cls.__setattr__, cls.__delattr__ = _refusals(cls, frozenset(names))
        if "__slots__" in own and "__getstate__" not in own:
            cls.__getstate__, cls.__setstate__ = _state_of(names)


def _compiled_init(cls: type[Any], *, frozen: bool) -> Any:
    """Write and compile the method that takes a value for each field and sets it."""
    known = [f for f in fields(cls) if f.init]
    known.sort(key=lambda f: f.kw_only)
    namespace: dict[str, Any] = {"_FROM_FACTORY": _FROM_FACTORY}
    parameters, lines = ["self"], list[str]()
    for f in known:
        if f.kw_only and "*" not in parameters:
            parameters.append("*")
        parameters.append(_parameter(f, namespace))
        value = f.name
        if f.default_factory is not MISSING:
            value = f"_new_{f.name}() if {f.name} is _FROM_FACTORY else {f.name}"
        lines.append(_assignment(cls, f.name, value, namespace) if frozen else f"self.{f.name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    head = f"def make({', '.join(namespace)}):\n  def __init__({', '.join(parameters)}):\n    "
    text = head + "\n    ".join(lines or ["pass"]) + "\n  return __init__"
    made: dict[str, Any] = {}
    # Its globals are its module's: whoever reads its annotations looks there for the names in them.
    exec(text, vars(sys.modules[cls.__module__]), made)  # noqa: S102 - as `dataclasses` does
    init = made["make"](**namespace)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {f.name: f.type for f in known} | {"return": None}
    return init


def _parameter(f: Field[Any], namespace: dict[str, Any]) -> str:
    if f.default_factory is not MISSING:
        namespace[f"_new_{f.name}"] = f.default_factory
        return f"{f.name}=_FROM_FACTORY"
    if f.default is not MISSING:
        namespace[f"_default_{f.name}"] = f.default
        return f"{f.name}=_default_{f.name}"
    return f.name


def _assignment(cls: type[Any], name: str, value: str, namespace: dict[str, Any]) -> str:
    """Return a line that sets a field although nobody may: by its slot, or as `object` sets attributes."""
    slot = getattr(cls, name, None)
    if isinstance(slot, MemberDescriptorType):
        namespace[f"_set_{name}"] = slot.__set__
        return f"_set_{name}(self, {value})"
    namespace["_set"] = object.__setattr__
    return f"_set(self, {name!r}, {value})"


def _getter(names: Sequence[str]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda _: ()


def _repr_of(names: Sequence[str]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:  # noqa: N807 - it becomes one
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return __repr__


def _eq_of(values: Callable[[Any], Any]) -> Callable[[Any, object], bool]:
    def __eq__(self: Any, other: object) -> bool:  # noqa: N807 - the same
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    return __eq__


def _hash_of(values: Callable[[Any], Any]) -> Callable[[Any], int]:
    def __hash__(self: Any) -> int:  # noqa: N807 - the same
        return hash(values(self))

    return __hash__


def _refusals(cls: type[Any], names: frozenset[str]) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return what refuses to set and to delete fields; a subclass that is not frozen may have attributes of its own."""

    def __setattr__(self: Any, name: str, value: object) -> None:  # noqa: N807 - the same
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807 - the same
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return __setattr__, __delattr__


def _state_of(names: Sequence[str]) -> tuple[Callable[[Any], list[Any]], Callable[[Any, Sequence[Any]], None]]:
    """Return what copies and pickles a frozen instance with slots: setting attributes is refused to `copy`, too."""

    def __getstate__(self: Any) -> list[Any]:  # noqa: N807 - the same
        return [getattr(self, name) for name in names]

    def __setstate__(self: Any, state: Sequence[Any]) -> None:  # noqa: N807 - the same
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return __getstate__, __setstate__


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass
