"""The types of settings: how a value is written, read and checked. Those of words stand in `words.py`.

Every reader raises ValueError with what it expects, worded to follow "give": the caller knows which setting it was
and where it came from. Read `SettingType` first; the functions before it read single values.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.durations import DURATION as DURATION  # noqa: PLC0414  # read here by who reads settings
from ecsbatch.model.durations import format_duration as format_duration  # noqa: PLC0414
from ecsbatch.model.durations import parse_duration as parse_duration  # noqa: PLC0414
from ecsbatch.model.quota import Quota

if TYPE_CHECKING:
    from fractions import Fraction

_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
_PER: Final = re.compile(rf"({_NUMBER})/((?:{_NUMBER})?)([a-z]+)")
_WHOLE: Final = re.compile(r"[0-9]+")
_PERCENT: Final = re.compile(rf"({_NUMBER})%")


@dataclass(frozen=True, slots=True)
class Amount:
    """A count of servers, or a percentage of them.

    Attributes:
        count: servers, None where it is a percentage.
        percent: above 0 and up to 100, exact, so that 10% of 50 is 5 and never 4.
    """

    count: int | None = None
    percent: int | Fraction | None = None

    @classmethod
    def parse(cls, value: int | str) -> Amount:
        """Return the amount that ``50`` or ``10%`` says.

        Raises:
            ValueError: the value is neither a count nor a percentage up to 100%.
        """
        text = str(value).strip()
        if found := _PERCENT.fullmatch(text):
            percent = _exact(found[1])
            if percent <= 100:  # noqa: PLR2004  # a percentage's own end
                return cls(percent=percent)
        elif not isinstance(value, bool) and _WHOLE.fullmatch(text):
            return cls(count=int(text))
        raise ValueError('a count such as 50, or a percentage up to "100%"')

    def resolve(self, base: int, minimum: int = 0) -> int:
        """Return a number of servers: the count, or the percentage of ``base`` rounded down; at least ``minimum``."""
        if self.count is not None:
            return max(self.count, minimum)
        return max(int(base * (self.percent or 0) // 100), minimum)

    def __str__(self) -> str:
        return str(self.count) if self.percent is None else f"{float(self.percent):g}%"


def _exact(number: str) -> int | Fraction:
    if number.isdecimal():
        return int(number)
    from fractions import Fraction  # noqa: PLC0415 - it brings `decimal` along, and few percentages have a point

    return Fraction(number)


def parse_quota(text: str) -> Quota:
    """Return ``1000/60s`` or ``1000/m`` as servers per window.

    Raises:
        ValueError: the text is no quota.
    """
    limit, window = _parse_per(text)
    if not limit.is_integer():
        raise ValueError(text)
    return Quota(int(limit), window)


def parse_rate(text: str) -> float:
    """Return ``20/s`` or ``1200/1m`` in requests per second.

    Raises:
        ValueError: the text is no rate.
    """
    count, window = _parse_per(text)
    return count / window


def _parse_per(text: str) -> tuple[float, float]:
    found = _PER.fullmatch(text.strip().lower())
    if not found:
        raise ValueError(text)
    window = parse_duration(f"{found[2] or 1}{found[3]}")
    if not window:
        raise ValueError(text)
    return float(found[1]), window


class SettingType(ABC):
    """A type of setting: what can be given, in text and in a program, and the one form in which it is kept.

    What is invalid raises ValueError with what is expected.
    """

    def read(self, text: str) -> Any:
        """Return the value that a flag, an environment variable or a string in a file gives."""
        return self._or_refuse(self._read, text)

    def check(self, value: object) -> Any:
        """Return a value that a program passed."""
        return self._or_refuse(self._check, value)

    def load(self, value: object) -> Any:
        """Return a value of a TOML file."""
        return self._or_refuse(self._load, value)

    def shown(self, given: str) -> str:
        """Return what was given as it may be repeated."""
        return given

    def written(self, value: Any) -> str:
        """Return a checked value as one would give it to a flag."""
        return str(value)

    @property
    def secret(self) -> bool:
        """True where somebody may have written a password into a value."""
        return False

    def tells_password(self, value: object) -> bool:  # noqa: ARG002 - of a type that has no such values
        """Return True where a password stands in a value that is valid, so that nobody else may read it."""
        return False

    @property
    def expects(self) -> str:
        """What may be given, worded to follow "give"."""
        return self._expected()

    def _or_refuse(self, take: Callable[[Any], Any], given: object) -> Any:
        try:
            return take(given)
        except ValueError:
            raise ValueError(self.expects) from None

    @abstractmethod
    def _expected(self) -> str: ...

    @abstractmethod
    def _check(self, value: object) -> Any: ...

    def _read(self, text: str) -> Any:
        return self._check(text)

    def _load(self, value: object) -> Any:
        return self._read(value) if isinstance(value, str) else self._check(value)


def _number(value: object, low: float, high: float) -> float:
    # The comparison is False for NaN as well.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(value)
    return float(value)


@dataclass(frozen=True, slots=True)
class IntRange(SettingType):
    """A whole number within bounds; ``why`` is the reason of a bound that is not ours."""

    low: int
    high: int
    unit: str = ""
    why: str = ""

    def _expected(self) -> str:
        why = f" ({self.why})" if self.why else ""
        return f"a whole number from {self.low} to {self.high}{' ' if self.unit else ''}{self.unit}{why}"

    def _read(self, text: str) -> int:
        if not _WHOLE.fullmatch(text.strip()):
            raise ValueError(text)
        return self._check(int(text))

    def _check(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ValueError(value)
        return value

    def _load(self, value: object) -> int:
        # In a file a number in quotes is refused.
        return self._check(value)


@dataclass(frozen=True, slots=True)
class Duration(SettingType):
    """A duration within bounds, in seconds: in text it has a unit, a program passes a number."""

    low: float
    high: float

    def _expected(self) -> str:
        return f"{DURATION}, from {format_duration(self.low)} to {format_duration(self.high)}"

    def _read(self, text: str) -> float:
        return _number(parse_duration(text), self.low, self.high)

    def _check(self, value: object) -> float:
        return self._read(value) if isinstance(value, str) else _number(value, self.low, self.high)

    def written(self, value: float) -> str:
        """Return it with its units."""
        return format_duration(value)

    def _load(self, value: object) -> float:
        # A bare number in a file does not say whether it means seconds, except 0.
        if not isinstance(value, str) and value != 0:
            raise ValueError(value)
        return self._check(value)


@dataclass(frozen=True, slots=True)
class CountOrPercent(SettingType):
    """A count of servers or a percentage of them, kept as it was written."""

    least: int

    def _expected(self) -> str:
        bounds = ("from 0", '"0%"') if self.least == 0 else (f"from {self.least}", 'above "0%"')
        return f'a count {bounds[0]}, such as 50, or a percentage {bounds[1]} to "100%", such as "10%"'

    def _check(self, value: object) -> str:
        if not isinstance(value, int | str):
            raise ValueError(value)  # noqa: TRY004  # whatever is invalid is refused alike
        amount = Amount.parse(value)
        if self.least and ((amount.count or 0) < self.least and not amount.percent):
            raise ValueError(value)
        return str(value).strip()


@dataclass(frozen=True, slots=True)
class WaveSizes(SettingType):
    """The sizes of waves: ``auto``, or counts and percentages, the last of which may be ``domain``."""

    def _expected(self) -> str:
        return '"auto", or sizes from 1 such as "1,5%,25%" (the last repeats), or "20,domain" with "domain" as the last'

    def _check(self, value: object) -> tuple[str, ...]:
        given = value.split(",") if isinstance(value, str) else items_of(value) or [value]
        sizes = tuple(size.strip().lower() if isinstance(size, str) else size for size in given)
        if sizes == ("auto",):
            return ("auto",)
        sized = sizes[:-1] if sizes[-1:] == ("domain",) else sizes
        plain = tuple(CountOrPercent(1).check(size) for size in sized)
        return plain if sized == sizes else (*plain, "domain")


@dataclass(frozen=True, slots=True)
class QuotaType(SettingType):
    """A `Quota`: servers per window of time."""

    def _expected(self) -> str:
        return 'servers per window such as "1000/60s", 1 to 1000000 servers in 1s to 1d'

    def _read(self, text: str) -> Quota:
        return self._check(parse_quota(text))

    def _check(self, value: object) -> Quota:
        if isinstance(value, str):
            return self._read(value)
        if not isinstance(value, Quota):
            raise ValueError(value)  # noqa: TRY004  # whatever is invalid is refused alike
        return Quota(IntRange(1, 1_000_000).check(value.limit), Duration(1.0, 86_400.0).check(value.window))


@dataclass(frozen=True, slots=True)
class Rate(SettingType):
    """Requests per second; in text the unit stands with it."""

    low: float
    high: float

    def _expected(self) -> str:
        return f'a rate such as "20/s", from {self.low:g}/s to {self.high:g}/s'

    def _read(self, text: str) -> float:
        return _number(parse_rate(text), self.low, self.high)

    def _check(self, value: object) -> float:
        return self._read(value) if isinstance(value, str) else _number(value, self.low, self.high)

    def written(self, value: float) -> str:
        """Return it with its unit."""
        return f"{value:g}/s"

    def _load(self, value: object) -> float:
        # A bare number in a file does not say per what.
        if not isinstance(value, str):
            raise ValueError(value)  # noqa: TRY004  # whatever is invalid is refused alike
        return self._read(value)


def items_of(value: object) -> Sequence[object] | None:
    """Return what is a list of values, None where it is none: the bytes of a text are not."""
    listed = isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)
    return cast("Sequence[object]", value) if listed else None
