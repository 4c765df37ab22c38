"""Arguments that do not fit, as JSON or a slip of the pen may give them: `Invalid` says which, and what is near.

Read `refuses_unknown` first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from inspect import Signature, signature
from typing import Any, Final, TypeVar

from ecsbatch.errors import Invalid
from ecsbatch.lazy_dataclass import wrap_init
from ecsbatch.model.text import printable

C = TypeVar("C", bound=type[Any])

_LONGEST_NAME: Final = 60
"""Characters of a name that nobody has given on purpose which a text repeats."""


def refuses_unknown(elsewhere: Callable[[str], str] = lambda _: "") -> Callable[[C], C]:
    """Have a class raise `Invalid` where Python raises TypeError: for arguments that do not fit its ``__init__``.

    For type checkers the class stays as it is, and only a call that fails costs anything.

    Args:
        elsewhere: returns where an argument of a name is given instead, "" where nowhere.
    """

    def decorate(cls: C) -> C:
        def checking(init: Callable[..., None]) -> Callable[..., None]:
            @wraps(init)
            def checked(self: Any, /, *args: Any, **given: Any) -> None:
                try:
                    init(self, *args, **given)
                except TypeError:
                    _refuse_misfit(cls, signature(init), elsewhere, self, *args, **given)
                    raise

            return checked

        wrap_init(cls, checking)
        return cls

    return decorate


def nearest(name: str, known: Collection[str]) -> str:
    """Return the known name that is most like a misspelt one, "" where none is."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a slip of the pen

    return next(iter(get_close_matches(name, known, n=1)), "")


def _refuse_misfit(
    cls: type[Any], takes: Signature, elsewhere: Callable[[str], str], /, *args: Any, **given: Any
) -> None:
    """Refuse arguments that do not fit a signature.

    Raises:
        Invalid: one is unknown, missing, or given twice.
    """
    known = list(takes.parameters)[1:]
    for name in given:
        if name not in known:
            raise _unknown(cls.__name__, printable(name, _LONGEST_NAME), known, elsewhere(name))
    try:
        takes.bind(*args, **given)
    except TypeError as e:
        named = [name for name in known if f"'{name}'" in str(e)]
        raise Invalid(f"{cls.__name__}: {e}.", field=named[0] if named else "") from None


def _unknown(owner: str, name: str, known: Collection[str], elsewhere: str) -> Invalid:
    meant = nearest(name, known)
    if elsewhere:
        way_on, expected = f"give it to {elsewhere}.", f"it to {elsewhere}"
    elif meant:
        way_on, expected = f"did you mean {meant}?", meant
    else:
        expected = ", ".join(known)
        way_on = f"it has {expected}."
    return Invalid(f"{owner} has no {name}: {way_on}", field=name, expected=expected)


def refuse_no_number(after: object) -> None:
    """Refuse what is no number of an event, as a request's header may say one.

    Raises:
        Invalid: it is none.
    """
    if isinstance(after, bool) or not isinstance(after, int) or after < 0:
        expected = "the number of an event, or 0"
        raise Invalid(f"after = {after!r}: give {expected}.", field="after", value=after, expected=expected)
