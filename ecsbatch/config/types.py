"""What a setting can hold: how it is written, read and checked.

Every reader raises ValueError with what it expects, worded to follow "give": the caller knows which setting it was
and where it came from.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, cast

from ecsbatch.model.quota import Quota

_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
_DURATION: Final = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in _UNITS))
_PER: Final = re.compile(rf"({_NUMBER})/((?:{_NUMBER})?)([a-z]+)")
_WHOLE: Final = re.compile(r"[0-9]+")
_PERCENT: Final = re.compile(rf"({_NUMBER})%")

DURATION = 'a duration with its unit, such as "30s", "1h30m" or "0.5s"'


def parse_duration(text: str) -> float:
    """Read ``30s``, ``5m``, ``1h30m``, ``0.5s`` or ``250ms`` as seconds; of bare numbers only 0 has a meaning."""
    text = text.strip().lower()
    if text == "0":
        return 0.0
    found = _DURATION.fullmatch(text) if text else None
    if not found:
        raise ValueError(DURATION)
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS.values(), strict=True) if part)


def format_duration(seconds: float) -> str:
    """Write seconds as `parse_duration` reads them, to the millisecond: ``1h30m``, ``0.25s``."""
    rest, parts = round(seconds, 3), ""
    for unit in ("d", "h", "m"):
        whole, rest = divmod(rest, _UNITS[unit])
        parts += f"{whole:.0f}{unit}" if whole else ""
    return parts + (f"{round(rest, 3):g}s" if rest or not parts else "")


@dataclass(frozen=True, slots=True)
class Amount:
    """A count of servers, or a percentage of them.

    Attributes:
        count: servers, None where it is a percentage.
        percent: above 0 and up to 100, exact, so that 10% of 50 is 5 and never 4.
    """

    count: int | None = None
    percent: Fraction | None = None

    @classmethod
    def parse(cls, value: int | str) -> Amount:
        """Read ``50`` or ``10%``."""
        text = str(value).strip()
        if found := _PERCENT.fullmatch(text):
            percent = Fraction(found[1])
            if percent <= 100:  # noqa: PLR2004  # a percentage's own end
                return cls(percent=percent)
        elif not isinstance(value, bool) and _WHOLE.fullmatch(text):
            return cls(count=int(text))
        raise ValueError('a count such as 50, or a percentage up to "100%"')

    def resolve(self, base: int, minimum: int = 0) -> int:
        """Return servers: a count as it is, a percentage of ``base`` rounded down; at least ``minimum``."""
        if self.count is not None:
            return max(self.count, minimum)
        return max(math.floor(base * (self.percent or 0) / 100), minimum)

    def __str__(self) -> str:
        return str(self.count) if self.percent is None else f"{float(self.percent):g}%"


def parse_quota(text: str) -> Quota:
    """Read ``1000/60s`` or ``1000/m`` as servers per window."""
    limit, window = _parse_per(text)
    if not limit.is_integer():
        raise ValueError(text)
    return Quota(int(limit), window)


def parse_rate(text: str) -> float:
    """Read ``20/s`` or ``1200/1m`` as requests per second."""
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
    """One kind of setting."""

    @property
    @abstractmethod
    def expects(self) -> str:
        """What may be given, worded to follow "give"."""

    def refusal(self) -> ValueError:
        """Return the error that says what is expected."""
        return ValueError(self.expects)

    @abstractmethod
    def read(self, text: str) -> object:
        """Read what a flag, an environment variable or a string of a file says."""

    @abstractmethod
    def check(self, value: object) -> object:
        """Return a value that a program passed, in its one form."""

    def load(self, value: object) -> object:
        """Read a value of a TOML file."""
        return self.read(value) if isinstance(value, str) else self.check(value)


@dataclass(frozen=True, slots=True)
class IntRange(SettingType):
    """A whole number within bounds, with the reason of a bound that is not ours."""

    low: int
    high: int
    unit: str = ""
    why: str = ""

    @property
    def expects(self) -> str:
        """See `SettingType`."""
        why = f" ({self.why})" if self.why else ""
        return f"a whole number from {self.low} to {self.high}{' ' if self.unit else ''}{self.unit}{why}"

    def read(self, text: str) -> int:
        """See `SettingType`."""
        if not _WHOLE.fullmatch(text.strip()):
            raise self.refusal()
        return self.check(int(text))

    def check(self, value: object) -> int:
        """See `SettingType`."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise self.refusal()
        return value

    def load(self, value: object) -> int:
        """See `SettingType`; a number in quotes is refused."""
        return self.check(value)


@dataclass(frozen=True, slots=True)
class Duration(SettingType):
    """A duration within bounds: text with a unit, or seconds where a program passes a number."""

    low: float
    high: float

    @property
    def expects(self) -> str:
        """See `SettingType`."""
        return f"{DURATION}, from {format_duration(self.low)} to {format_duration(self.high)}"

    def read(self, text: str) -> float:
        """See `SettingType`."""
        try:
            return self.check(parse_duration(text))
        except ValueError:
            raise self.refusal() from None

    def check(self, value: object) -> float:
        """See `SettingType`."""
        if isinstance(value, str):
            return self.read(value)
        # The comparison is False for NaN as well.
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise self.refusal()
        return float(value)

    def load(self, value: object) -> float:
        """See `SettingType`; a number does not say whether it means seconds, except 0."""
        if not isinstance(value, str) and value != 0:
            raise self.refusal()
        return self.check(value)


@dataclass(frozen=True, slots=True)
class CountOrPercent(SettingType):
    """A count of servers or a percentage of them, kept as it was written."""

    least: int

    @property
    def expects(self) -> str:
        """See `SettingType`."""
        bounds = ("from 0", '"0%"') if self.least == 0 else (f"from {self.least}", 'above "0%"')
        return f'a count {bounds[0]}, such as 50, or a percentage {bounds[1]} to "100%", such as "10%"'

    def read(self, text: str) -> str:
        """See `SettingType`."""
        return self.check(text)

    def check(self, value: object) -> str:
        """See `SettingType`."""
        if not isinstance(value, int | str):
            raise self.refusal()
        try:
            amount = Amount.parse(value)
        except ValueError:
            raise self.refusal() from None
        if self.least and ((amount.count or 0) < self.least and not amount.percent):
            raise self.refusal()
        return str(value).strip()


@dataclass(frozen=True, slots=True)
class WaveSizes(SettingType):
    """The sizes of waves: ``auto``, or counts and percentages, the last of which may be ``domain``."""

    @property
    def expects(self) -> str:
        """See `SettingType`."""
        return '"auto", or sizes from 1 such as "1,5%,25%" (the last repeats), or "20,domain" with "domain" as the last'

    def read(self, text: str) -> tuple[str, ...]:
        """See `SettingType`."""
        return self.check(text)

    def check(self, value: object) -> tuple[str, ...]:
        """See `SettingType`."""
        given: Sequence[object]
        if isinstance(value, str):
            given = value.split(",")
        elif isinstance(value, Sequence):
            given = cast("Sequence[object]", value)
        else:
            given = [value]
        sizes = tuple(size.strip().lower() if isinstance(size, str) else size for size in given)
        if sizes == ("auto",):
            return ("auto",)
        sized = sizes[:-1] if sizes[-1:] == ("domain",) else sizes
        try:
            plain = tuple(CountOrPercent(1).check(size) for size in sized)
        except ValueError:
            raise self.refusal() from None
        if not sizes:
            raise self.refusal()
        return plain if sized == sizes else (*plain, "domain")


@dataclass(frozen=True, slots=True)
class QuotaType(SettingType):
    """Servers per window of time."""

    @property
    def expects(self) -> str:
        """See `SettingType`."""
        return 'servers per window such as "1000/60s", 1 to 1000000 servers in 1s to 1d'

    def read(self, text: str) -> Quota:
        """See `SettingType`."""
        try:
            return self.check(parse_quota(text))
        except ValueError:
            raise self.refusal() from None

    def check(self, value: object) -> Quota:
        """See `SettingType`."""
        if isinstance(value, str):
            return self.read(value)
        if not isinstance(value, Quota):
            raise self.refusal()
        try:
            return Quota(IntRange(1, 1_000_000).check(value.limit), Duration(1.0, 86_400.0).check(value.window))
        except ValueError:
            raise self.refusal() from None


@dataclass(frozen=True, slots=True)
class Rate(SettingType):
    """Requests per second; in text with the unit."""

    low: float
    high: float

    @property
    def expects(self) -> str:
        """See `SettingType`."""
        return f'a rate such as "20/s", from {self.low:g}/s to {self.high:g}/s'

    def read(self, text: str) -> float:
        """See `SettingType`."""
        try:
            return self.check(parse_rate(text))
        except ValueError:
            raise self.refusal() from None

    def check(self, value: object) -> float:
        """See `SettingType`."""
        if isinstance(value, str):
            return self.read(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise self.refusal()
        return float(value)

    def load(self, value: object) -> float:
        """See `SettingType`; a number does not say per what."""
        if not isinstance(value, str):
            raise self.refusal()
        return self.read(value)


@dataclass(frozen=True, slots=True)
class Choice(SettingType):
    """One of a few words, in capitals or small letters."""

    words: tuple[str, ...]

    @property
    def expects(self) -> str:
        """See `SettingType`."""
        quoted = [f'"{word}"' for word in self.words]
        return f"{', '.join(quoted[:-1])} or {quoted[-1]}"

    def read(self, text: str) -> str:
        """See `SettingType`."""
        return self.check(text.strip())

    def check(self, value: object) -> str:
        """See `SettingType`."""
        if not isinstance(value, str) or value.lower() not in self.words:
            raise self.refusal()
        return value.lower()


@dataclass(frozen=True, slots=True)
class Bool(SettingType):
    """On or off."""

    @property
    def expects(self) -> str:
        """See `SettingType`."""
        return "true or false"

    def read(self, text: str) -> bool:
        """See `SettingType`."""
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.strip().lower() not in words:
            raise self.refusal()
        return words[text.strip().lower()]

    def check(self, value: object) -> bool:
        """See `SettingType`."""
        if not isinstance(value, bool):
            raise self.refusal()
        return value

    def load(self, value: object) -> bool:
        """See `SettingType`; a word in quotes is refused."""
        return self.check(value)


@dataclass(frozen=True, slots=True)
class Text(SettingType):
    """Text of a certain form; numbers are taken as text where ``numbers`` allows it."""

    form: str
    expects_text: str
    numbers: bool = False

    @property
    def expects(self) -> str:
        """See `SettingType`."""
        return self.expects_text

    def read(self, text: str) -> str:
        """See `SettingType`."""
        return self.check(text)

    def check(self, value: object) -> str:
        """See `SettingType`."""
        if self.numbers and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not re.fullmatch(self.form, value.strip()):
            raise self.refusal()
        return value.strip()
