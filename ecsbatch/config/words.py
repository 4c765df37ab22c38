"""The types of settings that are words: one of a few, any text of a form, addresses, and commands."""

from __future__ import annotations

import re
from collections.abc import Callable

from ecsbatch.config.addresses import LISTEN, parse_listen_address
from ecsbatch.config.types import SettingType, items_of
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.store_url import has_password, shown
from ecsbatch.model.text import without_password, without_user


@dataclass(frozen=True, slots=True)
class Choice(SettingType):
    """One of a few words, in capitals or small letters; kept in small letters."""

    words: tuple[str, ...]

    def _expected(self) -> str:
        quoted = [f'"{word}"' for word in self.words]
        return f"{', '.join(quoted[:-1])} or {quoted[-1]}"

    def _read(self, text: str) -> str:
        return self._check(text.strip())

    def _check(self, value: object) -> str:
        if not isinstance(value, str) or value.lower() not in self.words:
            raise ValueError(value)
        return value.lower()


@dataclass(frozen=True, slots=True)
class Bool(SettingType):
    """On or off."""

    def _expected(self) -> str:
        return "true or false"

    def _read(self, text: str) -> bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.strip().lower() not in words:
            raise ValueError(text)
        return words[text.strip().lower()]

    def _check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(value)  # noqa: TRY004  # whatever is invalid is refused alike
        return value

    def _load(self, value: object) -> bool:
        # In a file a word in quotes is refused.
        return self._check(value)


@dataclass(frozen=True, slots=True)
class Text(SettingType):
    """Text of a certain form, a regular expression; numbers are taken as text where ``numbers`` allows it."""

    form: str
    expects_text: str
    numbers: bool = False

    def _expected(self) -> str:
        return self.expects_text

    def _check(self, value: object) -> str:
        if self.numbers and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not re.fullmatch(self.form, value.strip()):
            raise ValueError(value)
        return value.strip()


@dataclass(frozen=True, slots=True)
class Words(SettingType):
    """Some of a few words, in a list or with commas between them. Kept as a tuple, each word once."""

    words: frozenset[str]

    def _expected(self) -> str:
        return f"one or more of {', '.join(sorted(self.words))}"

    def _check(self, value: object) -> tuple[str, ...]:
        given = [value] if isinstance(value, str) else _texts(value, bool)
        return _texts([word for text in given for word in text.split(",")], self.words.__contains__)


@dataclass(frozen=True, slots=True)
class ListenAddress(SettingType):
    """An address of this machine at which something listens, kept as it was given."""

    def _expected(self) -> str:
        return LISTEN

    def _check(self, value: object) -> str:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str):
            raise ValueError(value)  # noqa: TRY004  # whatever is invalid is refused alike
        parse_listen_address(text)
        return text.strip()


@dataclass(frozen=True, slots=True)
class HostNames(SettingType):
    """Names of hosts, in a list or with commas between them. Kept as a tuple in small letters, each name once."""

    def _expected(self) -> str:
        return 'one or more names of hosts without a port, such as "ops.example.com"'

    def _check(self, value: object) -> tuple[str, ...]:
        given = [value] if isinstance(value, str) else _texts(value, bool)
        return _texts([name.lower() for text in given for name in text.split(",")], _is_host_name)


@dataclass(frozen=True, slots=True)
class CommandText(Text):
    """A command line or the name of a check, in which somebody may have written a password."""

    def shown(self, given: str) -> str:
        """Return what was given, without the user of a URL."""
        return without_user(given)

    @property
    def secret(self) -> bool:
        """True: a command's words may be anything."""
        return True


@dataclass(frozen=True, slots=True)
class Address(Text):
    """An address, in which somebody may have written a password."""

    def shown(self, given: str) -> str:
        """Return what was given, without what may be a password."""
        return without_password(given)

    @property
    def secret(self) -> bool:
        """True: before the host may stand a user with a password."""
        return True


@dataclass(frozen=True, slots=True)
class StoreUrl(Address):
    """The URL of a store, in which a password may stand."""

    def shown(self, given: str) -> str:
        """Return what was given, without what may be a password."""
        return shown(given)

    def tells_password(self, value: object) -> bool:
        """Return True where a password stands in a URL."""
        return isinstance(value, str) and has_password(value)


@dataclass(frozen=True, slots=True)
class Commands(SettingType):
    """Command lines, each as it is; kept as a tuple."""

    @property
    def secret(self) -> bool:
        """True: a command's words may be anything."""
        return True

    def _expected(self) -> str:
        return 'a list of command lines, such as ["./ok.sh", "cmd:./up {id}"]'

    def _check(self, value: object) -> tuple[str, ...]:
        return _texts(value, bool)


def _is_host_name(name: str) -> bool:
    return re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?", name) is not None


def _texts(value: object, valid: Callable[[str], bool]) -> tuple[str, ...]:
    items = items_of(value)
    if items is None:
        raise ValueError(value)
    texts = [each.strip() if isinstance(each, str) else "" for each in items]
    if not all(map(valid, texts)):
        raise ValueError(texts)
    return tuple(dict.fromkeys(texts))
