"""What a command was told, and what the next command about its run must be told again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ecsbatch.cli.context import CliContext, Verbosity
from ecsbatch.errors import ConfigError
from ecsbatch.views.text import RepeatFlags


@pytest.fixture(autouse=True)
def nothing_is_exported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ECSBATCH_STORE", "ECSBATCH_REGION", "ECSBATCH_OUTPUT", "ECSBATCH_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_only_what_was_typed_is_typed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was exported, or stands in the file, holds for the next command by itself."""
    monkeypatch.setenv("ECSBATCH_REGION", "cn-north-4")
    context = CliContext.of(SimpleNamespace(store="sqlite:///own.db", ca_file="own ca.pem", region=None))

    assert context.repeat == RepeatFlags(
        go_on=" --store sqlite:///own.db --ca-file 'own ca.pem'", read=" --store sqlite:///own.db"
    )
    assert context.settings.connection.region == "cn-north-4"


def test_a_flag_goes_before_a_variable_and_a_variable_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ecsbatch.toml"
    file.write_text('[output]\noutput = "json"\nstore = "sqlite:///file.db"\n', encoding="utf-8")
    monkeypatch.setenv("ECSBATCH_STORE", "sqlite:///variable.db")
    exported = CliContext.of(None, file)
    typed = CliContext.of(SimpleNamespace(store="sqlite:///flag.db"), file)

    assert (exported.store_url, exported.wants_json) == ("sqlite:///variable.db", True)
    assert (typed.store_url, typed.wants_json) == ("sqlite:///flag.db", True)


def test_the_default_store_has_a_folder_of_its_owners_once_it_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "ecsbatch"
    context = CliContext.of(None)

    assert not folder.exists()
    assert context.store_url.startswith(f"sqlite:///{folder}/")
    assert folder.stat().st_mode & 0o077 == 0


def test_a_store_that_can_have_no_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file", encoding="utf-8")

    with pytest.raises(ConfigError, match="give --store sqlite:///PATH"):
        _ = CliContext.of(None).store_url


@pytest.mark.parametrize(
    ("verbosity", "level"),
    [(Verbosity(), "info"), (Verbosity(quiet=True), "warning"), (Verbosity(quiet=True, verbose=True), "debug")],
)
def test_who_asks_for_every_event_gets_it(verbosity: Verbosity, level: str) -> None:
    assert verbosity.level == level
