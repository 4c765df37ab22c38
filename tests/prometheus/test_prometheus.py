"""What Prometheus and its promtool say of our metrics, alerts and dashboard, which scraped a real run."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from programs import Prometheus, free_port, promtool, scraping, until
from prometheus_client.parser import text_string_to_metric_families
from typed_commands import Terminal, simulate

HERE = Path(__file__).parent
CONFIG = HERE.parent.parent / "config"
ALERTS = CONFIG / "alerts.yml"
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
TESTED = HERE / "alerts_test.yml"
DASHBOARD: dict[str, Any] = json.loads((CONFIG / "grafana.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {"$site": ".*", "$instance": ".*", "$__rate_interval": "2s", "$__range": "1m"}
PATIENT = ("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s")
SLOWLY = (
    "--waves",
    "100%",
    "--max-unavailable",
    "8",
    "--max-failures",
    "50%",
    "--request-timeout",
    "2s",
    "--unknown-grace",
    "1s",
)


@dataclass
class Scraped:
    """A run that was scraped.

    Attributes:
        prometheus: it has scraped it.
        since: when it began, seconds since 1970.
        text: what it answered in its middle.
        file: what it left for node_exporter.
    """

    prometheus: Prometheus
    since: float
    text: str
    file: str


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, databases: Any) -> Iterator[Scraped]:
    """Run sixty servers on a cloud with faults and a store with leases, and scrape it."""
    folder, since = tmp_path_factory.mktemp("run"), time.time()
    faults = ("--faults", "fail=5%,reject_503=5%,look.reject_503=5%", "--seed", "11")
    cloud = simulate(folder, ["--servers", "60", "--speed", "60", "--shutoff", "2", *faults])
    simulator = next(cloud)
    terminal, url, target = (
        Terminal(folder, dict(simulator.environment)),
        databases.create(),
        f"127.0.0.1:{free_port()}",
    )
    try:
        with scraping(target, "ecsbatch", folder) as prometheus:
            metrics = ("--metrics", target, "--metrics-file", "ecsbatch.prom")
            process = terminal.begin(
                "restart", "all.txt", *PATIENT, *SLOWLY, *metrics, "--yes", "--quiet", ECSBATCH_STORE=url
            )
            text = ""

            def under_way() -> bool:
                nonlocal text
                text = asked(f"http://{target}/metrics")
                assert process.poll() is None, process.communicate()
                return 'outcome="restarted",site="' in text and 'ecsbatch_runs{state="running"} 1.0' in text

            until(under_way)
            _, err = process.communicate()
            assert process.wait() in {0, 3}, err
            yield Scraped(prometheus, since, text, (folder / "ecsbatch.prom").read_text(encoding="utf-8"))
    finally:
        terminal.end()
        databases.drop(url)
        for _ in cloud:
            pass


def asked(url: str) -> str:
    """Return an answer; "" while nobody answers."""
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own
            return str(answer.read().decode())
    except OSError:
        return ""


# -- the dashboard -----------------------------------------------------------------------------------------------------


def filled(expression: str) -> str:
    """Return a query as Grafana asks it with all of each variable selected."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_every_query_of_the_dashboard_is_answered(panel: Mapping[str, Any], seen: Scraped) -> None:
    assert panel["description"]
    assert panel["targets"]
    for target in panel["targets"]:
        assert seen.prometheus.series(filled(target["expr"]), seen.since), target["expr"]


def test_the_dashboard_s_variables_have_values(seen: Scraped) -> None:
    variables = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    assert {each["name"] for each in variables} == {"site", "instance"}
    for variable in variables:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
        assert seen.prometheus.ask(f"label/{label}/values", **{"match[]": metric}), variable["name"]


def test_every_metric_of_ours_is_on_the_dashboard_or_in_an_alert(seen: Scraped) -> None:
    told = json.dumps(DASHBOARD) + ALERTS.read_text(encoding="utf-8")
    named = {family.name for family in text_string_to_metric_families(seen.text)}

    assert {name for name in named if name.startswith("ecsbatch_") and name not in told} == set()


def test_the_dashboard_names_no_metric_that_there_is_not(seen: Scraped) -> None:
    known = {sample.name for family in text_string_to_metric_families(seen.text) for sample in family.samples}
    known |= {family.name for family in text_string_to_metric_families(seen.text)}
    asked_for = set(re.findall(r"\becsbatch_\w+", json.dumps(DASHBOARD) + ALERTS.read_text(encoding="utf-8")))

    assert asked_for - known == set()


# -- the exposition ----------------------------------------------------------------------------------------------------


def test_promtool_finds_nothing_to_say_about_what_is_exported(seen: Scraped) -> None:
    assert promtool("check", "metrics", text=seen.text) == ""
    assert promtool("check", "metrics", text=seen.file) == ""


def test_the_end_of_a_run_is_in_the_file_and_the_run_is_not(seen: Scraped) -> None:
    assert 'ecsbatch_run_info{run_id="' in seen.text
    assert "ecsbatch_run_info{" not in seen.file
    ended = {
        s.labels["status"]: s.value
        for f in text_string_to_metric_families(seen.file)
        for s in f.samples
        if s.name == "ecsbatch_runs_ended_total"
    }
    assert sum(ended.values()) == 1


def test_a_file_for_node_exporter_tells_nothing_that_that_tells_of_itself(seen: Scraped) -> None:
    assert "\nprocess_cpu_seconds_total " in seen.text
    assert {family.name.partition("_")[0] for family in text_string_to_metric_families(seen.file)} == {"ecsbatch"}


# -- the alerts --------------------------------------------------------------------------------------------------------


def test_the_rules_are_valid() -> None:
    assert f"SUCCESS: {len(RULES)} rules found" in promtool("check", "rules", str(ALERTS))


def test_each_alert_fires_when_it_should_and_is_silent_beside_that() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(TESTED))


def test_every_alert_is_tested_both_ways_and_says_what_to_do() -> None:
    checks = [
        check
        for test in yaml.safe_load(TESTED.read_text(encoding="utf-8"))["tests"]
        for check in test["alert_rule_test"]
    ]
    names = {rule["alert"] for rule in RULES}

    assert {check["alertname"] for check in checks if check["exp_alerts"]} == names
    assert {check["alertname"] for check in checks if not check["exp_alerts"]} == names
    for rule in RULES:
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in {"page", "warning", "info"}
