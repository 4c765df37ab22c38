"""Settings: one definition, read from library, file, environment and flags alike."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecsbatch.config.settings import (
    SECTIONS,
    SETTINGS,
    Connection,
    Engine,
    Observability,
    Output,
    Programs,
    Strategy,
    default_store,
)
from ecsbatch.config.sources import Settings, from_environment, from_flags, load, merge_layers
from ecsbatch.config.types import Amount, format_duration, parse_duration, parse_quota, parse_rate
from ecsbatch.errors import ConfigError, Invalid
from ecsbatch.model.quota import Quota

CONFIG = Path(__file__).parent.parent.parent / "config"


def in_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("0.5s", 0.5),
        ("250ms", 0.25),
        ("1d", 86_400.0),
        ("1m0.5s", 60.5),
        ("0", 0.0),
        ("0s", 0.0),
        (" 10S ", 10.0),
    ],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "0.5", "s", "-5s", "5 s", "5s1m", "1e3s", "infs", "nan", "٣s", "5m5m", ".5s"]
)
def test_what_does_not_say_its_unit_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="a duration with its unit"):
        parse_duration(text)


@given(st.integers(0, 10**9).map(lambda ms: ms / 1000))
def test_a_duration_that_is_written_reads_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("amount", "base", "minimum", "servers"),
    [
        ("10%", 50, 0, 5),
        ("10%", 59, 0, 5),
        ("1%", 50, 0, 0),
        ("1%", 50, 1, 1),
        ("100%", 7, 0, 7),
        ("0.1%", 1_000, 0, 1),
        ("29%", 100, 0, 29),
        ("0%", 100, 0, 0),
        ("50", 7, 0, 50),
        (50, 7, 0, 50),
        ("0", 7, 1, 1),
    ],
)
def test_a_percentage_is_rounded_down_and_a_count_stays(
    amount: int | str, base: int, minimum: int, servers: int
) -> None:
    assert Amount.parse(amount).resolve(base, minimum) == servers


@pytest.mark.parametrize("text", ["", "101%", "-1", "-1%", "1.5", "ten", "10 %", "%", "1_000", "٣", "inf%", True])
def test_what_is_neither_count_nor_percentage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="percentage"):
        Amount.parse(text)


def test_quotas_and_rates_say_per_what() -> None:
    assert parse_quota("1000/60s") == Quota(1000, 60.0)
    assert parse_quota("1000/m") == Quota(1000, 60.0)
    assert parse_quota(str(Quota(200, 300.0))) == Quota(200, 300.0)
    assert parse_rate("20/s") == 20.0
    assert parse_rate("1200/1m") == 20.0


@pytest.mark.parametrize("text", ["1000", "/60s", "1000/60", "1000/0s", "1.5/60s", "-1/60s", "1000/60h60"])
def test_a_quota_without_its_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_quota(text)


BAD_STRATEGIES: list[tuple[str, Any]] = [
    ("type", "warm"),
    ("batch_size", 0),
    ("batch_size", 1001),
    ("batch_size", True),
    ("batch_size", 10.0),
    ("max_unavailable", 0),
    ("max_unavailable", "0%"),
    ("max_unavailable", -1),
    ("max_unavailable", "101%"),
    ("max_unavailable", 0.1),
    ("max_unavailable", None),
    ("max_unavailable_per_domain", 0),
    ("waves", ""),
    ("waves", []),
    ("waves", "0,10%"),
    ("waves", "1,,5"),
    ("waves", "domain,5"),
    ("waves", "auto,5"),
    ("waves", 1.5),
    ("soak", -1.0),
    ("soak", math.nan),
    ("soak", math.inf),
    ("soak", "5"),
    ("hold_after", 0),
    ("hold_after", "every"),
    ("max_failures", -1),
    ("max_failures_per_wave", "a few"),
    ("max_not_found", "-1%"),
    ("on_failure", "continue"),
    ("order", "random"),
    ("check", "tcp"),
    ("check", "tcp:"),
    ("check", "ping:1"),
    ("check", "cmd: "),
    ("check", ""),
    ("check_interval", 0.0),
    ("min_ready", -0.1),
    ("gate", " "),
    ("gate_timeout", 0.0),
    ("server_timeout", 0.0),
    ("on_unknown", "resend"),
    ("precheck", "yes"),
]


@pytest.mark.parametrize(("name", "value"), BAD_STRATEGIES)
def test_a_strategy_that_cannot_be_meant_is_refused_by_name(name: str, value: object) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=rf"^{name} = .*: give .*\.$"):
        Strategy(**settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quota", Quota(0)),
        ("quota", Quota(1000, 0.0)),
        ("quota", Quota(1000, math.inf)),
        ("quota", 1000),
        ("quota", "1000"),
        ("burst", 0),
        ("burst", 1001),
        ("linger", -1.0),
        ("unknown_grace", math.nan),
        ("check_workers", 0),
        ("check_timeout", "10"),
        ("submit_workers", 0),
    ],
)
def test_an_engine_that_cannot_work_is_refused_by_name(name: str, value: object) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=rf"^{name} = .*: give .*\.$"):
        Engine(**settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("endpoint", "ecs.example.com"),
        ("endpoint", "https://ecs.example.com/v1"),
        ("region", "eu west"),
        ("project_id", "a/b"),
        ("api_rate", 0),
        ("api_rate", math.nan),
        ("api_rate", "20"),
        ("request_timeout", 0.0),
        ("connect_timeout", "10"),
    ],
)
def test_a_connection_that_cannot_be_is_refused_by_name(name: str, value: object) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=rf"^{name} = .*: give .*\.$"):
        Connection(**settings)


def test_the_bound_of_the_api_is_told_with_its_reason() -> None:
    with pytest.raises(ConfigError) as caught:
        Strategy(batch_size=1001)

    assert str(caught.value) == (
        "batch_size = 1001: give a whole number from 1 to 1000 servers (the API takes no more in one request)."
    )


def test_a_program_may_write_limits_as_it_likes() -> None:
    strategy = Strategy(waves=["1", "10%", 50], max_unavailable=50, hold_after=1, soak="5m", max_failures=" 2% ")  # type: ignore[arg-type]

    assert strategy.waves == ("1", "10%", "50")
    assert strategy == Strategy(waves="1,10%,50", max_unavailable="50", hold_after="1", soak=300, max_failures="2%")
    assert hash(strategy)


def test_an_endpoint_loses_its_slash() -> None:
    assert Connection(endpoint="https://ecs.example.com/").endpoint == "https://ecs.example.com"


def test_every_setting_has_a_name_of_its_own_and_help() -> None:
    assert sum(len(fields(kind)) for kind in SECTIONS.values()) == len(SETTINGS)
    assert all(setting.help.endswith(".") for setting in SETTINGS.values())


def test_each_setting_knows_its_flag_and_variable() -> None:
    assert SETTINGS["batch_size"].flag == "--batch-size"
    assert SETTINGS["batch_size"].variable == "ECSBATCH_BATCH_SIZE"


def test_amounts_are_written_as_they_are_read() -> None:
    assert [str(Amount.parse(text)) for text in ("50", "10%", "0.5%")] == ["50", "10%", "0.5%"]


def test_every_default_is_one_that_its_own_kind_accepts() -> None:
    for setting in SETTINGS.values():
        if not setting.optional:
            setting.kind.check(setting.default)


def test_every_default_is_refused_or_read_but_never_misread_as_text() -> None:
    for setting in SETTINGS.values():
        with pytest.raises(ValueError, match=re.escape(setting.kind.expects)):
            setting.kind.read("")


def test_production_toml_names_every_setting_and_holds_the_defaults(tmp_path: Path) -> None:
    text = (CONFIG / "production.toml").read_text(encoding="utf-8")
    everything = load(in_file(tmp_path, re.sub(r"(?m)^#(?=\w)", "", text)))

    assert set(everything) == set(SETTINGS)
    assert merge_layers(load(CONFIG / "production.toml")) == Settings(
        Connection(),
        Engine(),
        Strategy(),
        Programs(),
        Observability(),
        Output(),
        dict.fromkeys(load(CONFIG / "production.toml"), str(CONFIG / "production.toml")),
    )


def test_postgres_toml_can_be_used_and_has_no_password() -> None:
    store = merge_layers(load(CONFIG / "postgres.toml")).output.store
    assert store == "postgresql://ecsbatch_run@db.example.com/restarts"


def test_demo_toml_can_be_used() -> None:
    assert merge_layers(load(CONFIG / "demo.toml")).strategy.waves == ("1", "10%", "50%")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[strategy]\nbatch_size = 1001", "batch_size = 1001 in {}: give a whole number from 1 to 1000 servers "),
        ('[strategy]\nbatch_size = "100"', 'batch_size = "100" in {}: give a whole number'),
        ("[strategy]\nsoak = 30", 'soak = 30 in {}: give a duration with its unit, such as "30s"'),
        ('[strategy]\nprecheck = "no"', 'precheck = "no" in {}: give true or false.'),
        ("[strategy]\ntype = true", 'type = true in {}: give "soft" or "hard".'),
        ("[engine]\nquota = 1000", "quota = 1000 in {}: give servers per window such as"),
        ("[connection]\napi_rate = 20", 'api_rate = 20 in {}: give a rate such as "20/s"'),
        (
            "[strategy]\nmax_unavailble = 5",
            "max_unavailble in [strategy] of {}: there is no such setting, the nearest is max_unavailable.",
        ),
        ("[strategy]\nzzz = 5", "zzz in [strategy] of {}: there is no such setting."),
        ("[strategy]\nquota = 5", "quota in [strategy] of {}: it belongs into [engine]."),
        ("[strategi]\nsoak = 5", "strategi in {}: there is no such table, the nearest is strategy."),
        ("batch_size = 5", "batch_size in {}: it belongs into the table [strategy]."),
        ("strategy = 5", "strategy = 5 in {}: give a table, [strategy]."),
        ("[strategy]\nbatch-size = 1\nbatch_size = 2", "batch_size stands twice in {}: keep one."),
        ("[strategy]\nsoak = \n", "{} is no TOML: Invalid value (at line 2, column 8)."),
    ],
)  # fmt: skip
def test_a_file_is_checked_against_all_settings(tmp_path: Path, text: str, error: str) -> None:
    path = in_file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)

    assert str(caught.value).startswith(error.format(path))


@pytest.mark.parametrize("name", ["request_timeout", "connect-timeout"])
def test_a_file_of_before_may_have_the_timeouts_of_requests_with_the_engine(tmp_path: Path, name: str) -> None:
    path = in_file(tmp_path, f'[engine]\n{name} = "7s"')

    assert getattr(merge_layers(load(path)).connection, name.replace("-", "_")) == 7.0
    with pytest.raises(ConfigError, match="stands twice"):
        load(in_file(tmp_path, f'[engine]\n{name} = "7s"\n[connection]\n{name} = "7s"'))


@pytest.mark.parametrize("waves", ['["1", "10%"]', '"1,10%"', '[1, "10%"]'])
def test_waves_in_a_file_are_a_list_or_text(tmp_path: Path, waves: str) -> None:
    assert merge_layers(load(in_file(tmp_path, f"[strategy]\nwaves = {waves}"))).strategy.waves == ("1", "10%")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"# caf\xe9")

    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)
    with pytest.raises(ConfigError, match=r"no text in UTF-8 \(byte 5\)"):
        load(tmp_path / "latin")


def test_flag_goes_before_environment_before_file_before_default(tmp_path: Path) -> None:
    path = in_file(tmp_path, '[strategy]\nbatch_size = 10\nsoak = "1m"\nmax_failures = 3\n[engine]\nlinger = 0')
    environ = {"ECSBATCH_BATCH_SIZE": "20", "ECSBATCH_SOAK": "2m", "HOME": "/", "ECSBATCH_ORDER": ""}

    settings = merge_layers(from_flags({"batch_size": "30", "check": None}), from_environment(environ), load(path))

    assert settings.strategy == Strategy(batch_size=30, soak=120, max_failures=3)
    assert settings.engine == Engine(linger=0)
    assert settings.origins == {
        "batch_size": "--batch-size",
        "soak": "ECSBATCH_SOAK",
        "max_failures": str(path),
        "linger": str(path),
    }


def test_none_empties_what_a_file_has_set(tmp_path: Path) -> None:
    path = in_file(tmp_path, '[strategy]\ncheck = "tcp:22"')

    assert merge_layers(from_flags({"check": "none"}), load(path)).strategy.check is None


def test_flags_variables_and_files_tell_programs_which_setting_is_wrong(tmp_path: Path) -> None:
    ways: list[Callable[[], object]] = [
        lambda: from_flags({"batch_size": "1001"}),
        lambda: from_environment({"ECSBATCH_BATCH_SIZE": "1001"}),
        lambda: load(in_file(tmp_path, "[strategy]\nbatch_size = 1001")),
        lambda: load(in_file(tmp_path, '[strategy]\nbatch_size = "1001"')),
    ]
    for way in ways:
        with pytest.raises(Invalid) as caught:
            way()
        assert (caught.value.field, str(caught.value.value)) == ("batch_size", "1001")
        assert caught.value.expected == SETTINGS["batch_size"].kind.expects


def test_flags_and_variables_name_themselves_in_errors() -> None:
    with pytest.raises(ConfigError, match=r"^--batch-size 1001: give a whole number"):
        from_flags({"batch_size": "1001"})
    with pytest.raises(ConfigError, match=r"^ECSBATCH_SOAK=5: give a duration"):
        from_environment({"ECSBATCH_SOAK": "5"})


def test_a_misspelt_variable_is_an_error_and_other_readers_names_are_not() -> None:
    environ = {"ECSBATCH_MAX_UNAVAILBLE": "5"}

    with pytest.raises(ConfigError, match=r"^ECSBATCH_MAX_UNAVAILBLE: .*the nearest is max_unavailable\.$"):
        from_environment(environ)
    assert from_environment(environ, elsewhere={"max_unavailble"}) == {}


def test_switches_are_read_as_text_and_as_flags() -> None:
    assert merge_layers(from_flags({"precheck": False})).strategy.precheck is False
    assert merge_layers(from_environment({"ECSBATCH_PRECHECK": "No"})).strategy.precheck is False


def test_the_store_lies_in_the_users_state_directory() -> None:
    assert default_store({"XDG_STATE_HOME": "/var/state"}) == "sqlite:////var/state/ecsbatch/restarts.db"
    assert default_store({"XDG_STATE_HOME": "relative"}) == default_store({})
    assert default_store({}).endswith("/.local/state/ecsbatch/restarts.db")


def test_what_programs_may_do_is_told_by_flag_variable_and_file(tmp_path: Path) -> None:
    path = in_file(tmp_path, '[programs]\npass_env = ["ECSBATCH_AUTH_TOKEN"]\nallow_programs = ["./ok.sh", "./ok.sh"]')
    path.chmod(0o600)
    flags = from_flags({"pass_env": ["HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"]})
    variable = from_environment({"ECSBATCH_PASS_ENV": "HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK"})

    assert merge_layers(load(path)).programs == Programs(("ECSBATCH_AUTH_TOKEN",), ("./ok.sh",))
    for layer in (flags, variable):
        assert merge_layers(layer, load(path)).programs.pass_env == ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK")
    with pytest.raises(ConfigError, match="--pass-env PATH: give one or more of ECSBATCH_AUTH_TOKEN, "):
        from_flags({"pass_env": ["PATH"]})


def test_what_may_run_is_told_by_the_users_own_file_alone(tmp_path: Path) -> None:
    path = in_file(tmp_path, '[programs]\nallow_programs = ["./ok.sh"]')
    path.chmod(0o602)

    with pytest.raises(ConfigError, match=r"nobody else may write, and .*/fleet\.toml may be written by everybody"):
        load(path)
    path.chmod(0o600)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match=rf"nobody else may write, and {tmp_path} may be written by everybody"):
        load(path)
    with pytest.raises(ConfigError, match=r"ECSBATCH_ALLOW_PROGRAMS: it has no variable, .* \[programs\]"):
        from_environment({"ECSBATCH_ALLOW_PROGRAMS": "./ok.sh"})


@pytest.mark.parametrize(("name", "address"), [("endpoint", "https://ops:CA/CANARY@h"), ("store", "pg:ops:CANARY@h")])
def test_a_refused_address_is_repeated_without_its_password(tmp_path: Path, name: str, address: str) -> None:
    section, kind = ("connection", Connection) if name == "endpoint" else ("output", Output)
    file = tmp_path / "x.toml"
    file.write_text(f'[{section}]\n{name} = "{address}"\n')
    ways: list[Callable[[], object]] = [
        lambda: from_flags({name: address}),
        lambda: from_environment({f"ECSBATCH_{name.upper()}": address}),
        lambda: load(file),
        lambda: kind(**{name: address}),
    ]
    for way in ways:
        with pytest.raises(ConfigError, match=r"\*\*\*@h") as caught:
            way()
        assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://ops:CANARY@db/restarts", "postgresql://db/restarts?password=CANARY"])
def test_a_stores_password_may_stand_in_a_file_that_nobody_else_reads(tmp_path: Path, url: str) -> None:
    path = in_file(tmp_path, f'[output]\nstore = "{url}"\n')
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"^store in .*: it has a password and others may read") as seen:
        load(path)
    assert "CANARY" not in str(seen.value)

    path.chmod(0o600)
    settings = merge_layers(load(path))
    assert settings.output.store == url
    assert "CANARY" not in f"{settings!r} {load(path)!r} {Output(store=url)!r}"


def test_a_store_without_a_password_may_stand_in_any_file(tmp_path: Path) -> None:
    path = in_file(tmp_path, '[output]\nstore = "postgresql://ops@db/restarts"\n')
    path.chmod(0o644)

    assert merge_layers(load(path)).output.store == "postgresql://ops@db/restarts"


@pytest.mark.parametrize(
    "url", ["mysql://h/db", "postgresql+psycopg://h/db", "postgresql:h", "host=h dbname=db", "sqlite://x", "memory:"]
)
def test_a_store_is_given_by_a_url_of_two_kinds(url: str) -> None:
    with pytest.raises(Invalid, match=r'"sqlite:///path/to/restarts.db" or "postgresql://user@host/database"'):
        Output(store=url)
