"""``--metrics`` and ``--metrics-file`` as they are typed: what is refused before anything is sent, and what is told."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from programs import free_port, until
from prometheus_client.parser import text_string_to_metric_families
from typed_commands import Simulator, Terminal

from ecsbatch.cli.app import main
from ecsbatch.cli.exporting import exporting, replace_file
from ecsbatch.config.settings import Observability

QUICK = ("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s")
ENGINE = (*QUICK, "--request-timeout", "2s", "--unknown-grace", "1s")


def asked(url: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Return the status and the body; 0 while nobody answers."""
    request = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError:
        return 0, ""


def values(text: str) -> Mapping[str, float]:
    """Return all values without labels, and the sums of those with some."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def submits(cloud: Simulator) -> int:
    return int(cloud.audit()["restarts"])


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["restart", "ids.txt", "--metrics", "127.0.0.1:9464"], "--metrics"),
        (["restart", "ids.txt", "--metrics-file", "e.prom"], "--metrics-file"),
        (["apply", "plan.json", "--metrics", "127.0.0.1:9464"], "--metrics"),
        (["resume", "--metrics", "127.0.0.1:9464"], "--metrics"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_looked_at(
    words: list[str], flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is neither a list, nor a plan, nor a key, nor a cloud: it does not come to any of them."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    assert main(words) == 2
    assert capsys.readouterr().err == f"ecsbatch: {flag} needs prometheus-client: pip install 'ecsbatch[metrics]'.\n"


def test_an_address_that_is_taken_and_a_file_that_cannot_be_written_end_it_before_anything_is_sent(
    terminal: Terminal, cloud: Simulator
) -> None:
    (terminal.folder / "ids.txt").write_text(cloud.ids[0], encoding="utf-8")
    before = submits(cloud)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = terminal.type("restart", "ids.txt", *QUICK, "--yes", "-q", "--metrics", address)
    nowhere = terminal.type("restart", "ids.txt", *QUICK, "--yes", "-q", "--metrics-file", "no/such/folder.prom")

    assert (refused.returncode, nowhere.returncode) == (2, 2)
    assert f"--metrics {address} cannot be listened at (" in refused.stderr
    assert "--metrics-file no/such/folder.prom cannot be written (No such file or directory)" in nowhere.stderr
    assert submits(cloud) == before


def test_a_standby_tells_of_itself_and_of_the_run_that_it_takes_over(terminal: Terminal, cloud: Simulator) -> None:
    """Everybody may ask, by any name, and only this; what the process before it did is not counted again."""
    (terminal.folder / "ids.txt").write_text("\n".join(cloud.ids[10:50]), encoding="utf-8")
    first = terminal.begin(
        "restart", "ids.txt", *ENGINE, "--waves", "100%", "--max-unavailable", "8", "--yes", "-q", "--run-id", "mine"
    )
    until(lambda: '"restarted":' in terminal.type("status", "mine", "-o", "json").stdout)
    first.kill()
    first.communicate()
    url = f"http://127.0.0.1:{(listened := free_port())}"
    worker = terminal.begin("work", *ENGINE, ECSBATCH_METRICS=str(listened))
    until(lambda: 'ecsbatch_run_info{run_id="mine"} 1.0' in asked(f"{url}/metrics")[1])
    by_name = asked(f"{url}/metrics", Host="rebound.example.com")
    others = [asked(f"{url}/metrics", "POST")[0], asked(f"{url}/metrics", "HEAD")[0], asked(url)[0]]
    until(lambda: 'ecsbatch_runs_ended_total{status="succeeded"} 1.0' in asked(f"{url}/metrics")[1])
    text = asked(f"{url}/metrics")[1]
    worker.send_signal(15)
    _, err = worker.communicate()

    assert worker.wait() == 0, err
    assert by_name[0] == 200
    assert others == [405, 405, 404]
    assert "ecsbatch_run_info{" not in text
    assert 0 < values(text)["ecsbatch_servers_total"] <= 40
    assert values(text)["process_cpu_seconds_total"] > 0


def test_an_abort_does_not_fail_for_an_address_that_another_command_listens_at(
    terminal: Terminal, cloud: Simulator
) -> None:
    (terminal.folder / "ids.txt").write_text("\n".join(cloud.ids[60:64]), encoding="utf-8")
    hold = ("--waves", "1,100%", "--hold-after", "1")
    first = terminal.begin("restart", "ids.txt", *ENGINE, *hold, "--yes", "-q", "--run-id", "held")
    until(lambda: "held_for_promote" in terminal.type("status", "held", "-o", "json").stdout)
    first.kill()
    first.communicate()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = terminal.type("abort", "held", "--yes", ECSBATCH_METRICS=str(taken.getsockname()[1]))

    assert done.returncode == 0, done.stderr
    assert '"status":"aborted"' in terminal.type("status", "held", "-o", "json").stdout


def test_a_file_is_replaced_whole_and_everybody_may_read_it(tmp_path: Path) -> None:
    path, before = tmp_path / "ecsbatch.prom", os.umask(0o077)
    try:
        replace_file(path, b"one\n")
        reading = path.open("rb")
        replace_file(path, b"two\n")
    finally:
        os.umask(before)

    with reading:
        assert (reading.read(), path.read_bytes()) == (b"one\n", b"two\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["ecsbatch.prom"]


def test_what_could_not_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "ecsbatch.prom").mkdir()

    with pytest.raises(OSError, match="Is a directory"):
        replace_file(tmp_path / "ecsbatch.prom", b"one\n")
    assert [each.name for each in tmp_path.iterdir()] == ["ecsbatch.prom"]


class Unmeasured:
    """An engine that cannot say how it stands."""

    def __getattr__(self, name: str) -> Any:
        """Fail whatever is asked."""
        raise RuntimeError(name)


async def test_metrics_that_cannot_be_measured_are_missed_and_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecsbatch.cli.exporting.FILE_EVERY", 0.01)
    path, said, engines = tmp_path / "e.prom", asyncio.Queue[str](), list[Any]()
    async with exporting(Observability(metrics_file=str(path)), engines, said.put_nowait):
        engines.append(Unmeasured())
        told = [await said.get(), await said.get()]
        engines.clear()

    assert set(told) == {f"--metrics-file {path} cannot be written any more (RuntimeError): what it says grows old."}
    assert path.exists()
