"""Dataclasses whose parts are made when they are needed: a command imports two hundred of them, and uses a few.

`dataclasses.dataclass` writes and compiles up to eight methods for each class, half a millisecond for a frozen one: a
fifth of what ``ecsbatch status`` took. Here a class is made with its slots, which cannot be added later; what is known
of its fields and the methods that depend on them stand as `_Later` until they are first looked up, which is what an
import seldom does. `dataclasses` itself then says what the fields are, so that ``fields``, ``replace``, ``asdict`` and
patterns know such a class. A frozen one with slots is made in two thirds of the time, too: its ``__init__`` sets each
slot by the slot's own descriptor.

For type checkers the decorator is the one of `dataclasses`.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from functools import partial
from inspect import get_annotations
from operator import attrgetter
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final, cast

__all__ = ["dataclass", "wrap_init"]

_NO_FIELDS: Final = ("ClassVar", "typing.ClassVar")
_UNKNOWN: Final = ("InitVar", "KW_ONLY", "dataclasses.")
"""How annotations begin that are of no field, and those that nobody here uses."""
_NOT_AGAIN: Final = ("__dict__", "__weakref__")
"""What a class gets when it is made."""


_UNCOMPILED: Final = 2
"""Instances of a class that are made without a compiled ``__init__``."""


class _FromFactory:
    """The default of a parameter whose field has a factory."""

    def __repr__(self) -> str:
        return "<factory>"


_FROM_FACTORY: Final = _FromFactory()


class _Later:
    """Stands for an attribute of a class until it is first looked up, and is replaced then."""

    __slots__ = ("_cls", "_name", "make")

    def __init__(self, make: Callable[[type[Any]], Any]) -> None:
        self.make = make

    def __set_name__(self, cls: type[Any], name: str) -> None:
        """Learn where it stands."""
        self._cls = cls
        self._name = name

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        """Return what it stands for; a function bound, as a method is."""
        made = self.make(self._cls)
        setattr(self._cls, self._name, made)
        return made.__get__(instance, owner) if hasattr(made, "__get__") else made


class _LaterInit(_Later):
    """An ``__init__`` that is compiled for the third instance: most classes of a command have one or two.

    Compiling takes a hundred times as long as to look at the fields of one instance.
    """

    __slots__ = ("_left",)

    def __init__(self, make: Callable[[type[Any]], Any]) -> None:
        super().__init__(make)
        self._left = _UNCOMPILED

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        """Return the real one to who asks the class for it, and to who makes more than a few instances.

        ``inspect.signature`` of Python 3.13 asks as if the class were an instance.
        """
        if not self._left or not isinstance(instance, self._cls):
            return super().__get__(instance, owner)
        self._left -= 1
        return partial(self._fill, instance)

    def _fill(self, instance: Any, /, *args: Any, **given: Any) -> None:
        """Set the fields of an instance one by one; what does not fit is for the real one to tell of."""
        known = [f for f in fields(self._cls) if f.init]
        values = dict(zip((f.name for f in known if not f.kw_only), args, strict=False))
        fits = len(values) == len(args) and values.keys().isdisjoint(given)
        values |= given
        for f in known:
            if f.name not in values:
                values[f.name] = f.default if f.default_factory is MISSING else f.default_factory()
        if not fits or len(values) != len(known) or any(value is MISSING for value in values.values()):
            self._cls.__init__(instance, *args, **given)
            return
        put = object.__setattr__ if self._cls.__dataclass_params__.frozen else setattr
        for name, value in values.items():
            put(instance, name, value)
        if hasattr(self._cls, "__post_init__"):
            instance.__post_init__()


def _dataclass(
    cls: type[Any] | None = None,
    /,
    *,
    frozen: bool = False,
    slots: bool = False,
    eq: bool = True,
    repr: bool = True,  # noqa: A002 - as in `dataclasses`
    kw_only: bool = False,
) -> Any:
    """Make a dataclass, as `dataclasses.dataclass` does.

    Raises:
        TypeError: it has a field of a kind that only `dataclasses` knows.
    """

    def made(given: type[Any]) -> Any:
        # Made again, as slots cannot be added to a class.
        body = {name: value for name, value in vars(given).items() if name not in _NOT_AGAIN}
        names = _own_fields(given)
        values = {name: body.pop(name) for name in names if name in body}
        if slots:
            inherited = {name for base in given.__mro__[1:] for name in vars(base).get("__slots__", ())}
            body["__slots__"] = tuple(name for name in names if name not in inherited)
        else:
            body |= _defaults(values)
        added = _later(values, frozen=frozen, kw_only=kw_only)
        if repr:
            added["__repr__"] = _repr
        if eq:
            added |= {"__eq__": _Later(_eq_of), "__hash__": _Later(_hash_of) if frozen else None}
        if frozen:
            added |= _FROZEN_SLOTS if slots else _FROZEN
        # A class that compares by itself has a hash of None unless it says more; ours goes before that one alone.
        own = {name: value for name, value in body.items() if value is not None or name not in added}
        make: Any = type(given)
        return make(given.__name__, given.__bases__, added | own | {"__qualname__": given.__qualname__})

    return made if cls is None else made(cls)


def wrap_init(cls: type[Any], wrap: Callable[[Callable[..., None]], Callable[..., None]]) -> None:
    """Put a function around the ``__init__`` of a class, when it is made."""
    before: Any = vars(cls)["__init__"]
    if not isinstance(before, _Later):
        cls.__init__ = wrap(before)
        return
    make = before.make

    def wrapped(of: type[Any]) -> Callable[..., None]:
        return wrap(make(of))

    before.make = wrapped


def _own_fields(cls: type[Any]) -> list[str]:
    """Return the names of the fields that a class adds to those of its bases.

    Raises:
        TypeError: one is of a kind that only `dataclasses` knows.
    """
    kinds = {name: str(kind) for name, kind in get_annotations(cls).items()}
    if any(kind.startswith(_UNKNOWN) for kind in kinds.values()):
        raise TypeError(f"{cls.__name__} has a field of a kind that is not known here")
    return [name for name, kind in kinds.items() if not kind.startswith(_NO_FIELDS)]


def _defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults that are attributes of a class without slots."""
    defaults = {name: _default_of(value) for name, value in values.items()}
    return {name: value for name, value in defaults.items() if value is not MISSING}


def _default_of(value: Any) -> Any:
    return getattr(value, "default", None) if isinstance(value, Field) else value  # pyright: ignore[reportUnknownArgumentType]


def _later(values: Mapping[str, Any], *, frozen: bool, kw_only: bool) -> dict[str, Any]:
    """Return what is made of the fields, whatever else there is."""

    def likeness(cls: type[Any]) -> Any:
        return _likeness(cls, values, frozen=frozen, kw_only=kw_only)

    return {
        "__dataclass_fields__": _Later(lambda cls: likeness(cls).__dataclass_fields__),
        "__dataclass_params__": _Later(lambda cls: likeness(cls).__dataclass_params__),
        "__match_args__": _Later(lambda cls: likeness(cls).__match_args__),
        "__init__": _LaterInit(_init_of_frozen if frozen else _init_of),
        "__replace__": dataclasses.replace,
    }


def _likeness(cls: type[Any], values: Mapping[str, Any], *, frozen: bool, kw_only: bool) -> Any:
    """Return a dataclass of the same fields and nothing else, which costs next to nothing.

    It has no bases, but their fields: to derive from a frozen class, `dataclasses` would compile what refuses to set.
    """
    inherited: dict[str, Field[Any]] = {}
    for base in reversed(cls.__mro__[1:]):
        if "__dataclass_fields__" in vars(base):
            inherited |= {f.name: f for f in fields(base)}
    own = get_annotations(cls)
    annotations = {name: f.type for name, f in inherited.items()} | own
    # One that is given another type has the default that can be seen in the class: none where it is a slot.
    seen = {name: getattr(cls, name, MISSING) for name in own.keys() & inherited.keys()}
    again = {name: value for name, value in seen.items() if not isinstance(value, MemberDescriptorType | type(MISSING))}
    kept = {name: f for name, f in inherited.items() if name not in own}
    told = {"__annotations__": annotations, "__module__": cls.__module__, "__doc__": "Fields."}
    body = {**kept, **again, **values, **told}
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(type(cls.__name__, (), body))
    made.__dataclass_params__.frozen = frozen  # who derives from it with `dataclasses` is to be frozen, too
    return made


def _init_of(cls: type[Any]) -> Callable[..., None]:
    return _compiled_init(cls, {f.name: f"self.{f.name} = " for f in fields(cls)}, {})


def _init_of_frozen(cls: type[Any]) -> Callable[..., None]:
    """Return an ``__init__`` that sets fields although nobody may: by their slots, or as `object` does."""
    slots = {f.name: getattr(cls, f.name, None) for f in fields(cls)}
    names: dict[str, Any] = {"_set": object.__setattr__}
    sets = {f.name: f"_set(self, {f.name!r}, " for f in fields(cls)}
    for name, slot in slots.items():
        if isinstance(slot, MemberDescriptorType):
            names[f"_set_{name}"], sets[name] = slot.__set__, f"_set_{name}(self, "
    return _compiled_init(cls, sets, names)


def _compiled_init(cls: type[Any], sets: Mapping[str, str], names: dict[str, Any]) -> Callable[..., None]:
    """Write and compile the method that takes a value for each field and sets it.

    Args:
        cls: whose it is.
        sets: how the line begins that sets a field, up to the value; a bracket that it opens is closed behind it.
        names: what is called in those lines.
    """
    known = sorted((f for f in fields(cls) if f.init), key=lambda f: f.kw_only is True)
    parameters, lines = ["self"], list[str]()
    names["_FROM_FACTORY"] = _FROM_FACTORY
    for f in known:
        if f.kw_only and "*" not in parameters:
            parameters.append("*")
        default, value = "", f.name
        if f.default_factory is not MISSING:
            names[f"_new_{f.name}"] = f.default_factory
            default, value = "=_FROM_FACTORY", f"_new_{f.name}() if {f.name} is _FROM_FACTORY else {f.name}"
        elif f.default is not MISSING:
            names[f"_default_{f.name}"] = f.default
            default = f"=_default_{f.name}"
        parameters.append(f.name + default)
        lines.append(sets[f.name] + value + ")" * sets[f.name].count("("))
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    head = f"def make({', '.join(names)}):\n  def __init__({', '.join(parameters)}):\n    "
    text = head + "\n    ".join(lines or ["pass"]) + "\n  return __init__"
    made: dict[str, Any] = {}
    # Its globals are its module's: whoever reads its annotations looks there for the names in them.
    exec(text, vars(sys.modules[cls.__module__]), made)  # noqa: S102 - as `dataclasses` does
    init: Callable[..., None] = made["make"](**names)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {f.name: f.type for f in known} | {"return": None}
    return init


def _values_of(cls: type[Any]) -> Callable[[Any], Any]:
    names = [f.name for f in fields(cls) if f.compare]
    return attrgetter(*names) if names else lambda _: ()


def _eq_of(cls: type[Any]) -> Callable[[Any, object], bool]:
    values = _values_of(cls)

    def __eq__(self: Any, other: object) -> bool:  # noqa: N807 - it becomes one
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    return __eq__


def _hash_of(cls: type[Any]) -> Callable[[Any], int]:
    values = _values_of(cls)

    def __hash__(self: Any) -> int:  # noqa: N807 - the same
        return hash(values(self))

    return __hash__


def _repr(self: Any) -> str:
    shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{type(self).__qualname__}({shown})"


def _refuse_to_set(self: Any, name: str, value: object) -> None:
    if _is_fixed(self, name):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def _refuse_to_delete(self: Any, name: str) -> None:
    if _is_fixed(self, name):
        raise FrozenInstanceError(f"cannot delete field {name!r}")
    object.__delattr__(self, name)


def _is_fixed(frozen: Any, name: str) -> bool:
    """Tell whether an attribute stays as it is; a subclass that is no dataclass may have others, which do not."""
    cls: Any = cast("Any", type(frozen))
    return "__dataclass_fields__" in vars(cls) or any(f.name == name for f in fields(frozen))


def _state(self: Any) -> list[Any]:
    """Return what is copied and pickled; setting attributes is refused to `copy`, too."""
    return [getattr(self, f.name) for f in fields(self)]


def _set_state(self: Any, state: Sequence[Any]) -> None:
    for f, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, f.name, value)


_FROZEN: Final = {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
_FROZEN_SLOTS: Final = {**_FROZEN, "__getstate__": _state, "__setstate__": _set_state}

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass
