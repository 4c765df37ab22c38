"""A store's password that somebody hears, and a server that need not prove its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .mutant import Mutant

ADDRESS: Final = "tests/store/test_store_address.py::"

PASSWORDS: Final[Sequence[Mutant]] = (
    Mutant(
        name="checks and gates get the store's password",
        promise="No child gets a credential that it was not given.",
        file="rollout/programs.py",
        old="withheld = (CREDENTIAL_VARIABLES | STORE_VARIABLES) - set(passed)",
        new="withheld = CREDENTIAL_VARIABLES - set(passed)",
        tests=(
            "tests/rollout/test_checks.py::test_a_command_finds_its_server_in_the_environment_and_none_of_our_keys",
        ),
    ),
    Mutant(
        name="a password may be typed",
        promise="No secret stands on a command line.",
        file="cli/app.py",
        old="if as_store and has_password(url):",
        new="if False:",
        tests=("tests/cli/test_typed_passwords.py::test_a_password_that_is_typed_is_refused",),
    ),
    Mutant(
        name="a store is called by its whole URL",
        promise="No password reaches a message.",
        file="store/store.py",
        old="self.url = shown(url) if isinstance(url, str) else url.url",
        new="self.url = url if isinstance(url, str) else url.url",
        tests=(f"{ADDRESS}test_a_program_is_warned_where_it_opens_a_store_by_a_weak_way",),
    ),
    Mutant(
        name="a server on another machine may be anybody",
        promise="Who has the store proves it, unless somebody says that he need not.",
        file="store/address.py",
        old='else _VERIFIED if away else ""',
        new='else ""',
        tests=(f"{ADDRESS}test_another_machine_must_prove_its_name_unless_somebody_says_otherwise",),
    ),
)
