"""Debian's Prometheus and its promtool, each in a process of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from postgres.pgbouncer import missing

PATIENCE: Final = 30.0


def path_of(program: str) -> str:
    """Return where a program is; skip the test where it is missing, but not in CI."""
    found = shutil.which(program)
    if found is None:
        missing("prometheus")
    return found


def promtool(*arguments: str, text: str = "") -> str:
    """Run promtool and return what it says; whatever it complains about fails the test."""
    command = [path_of("promtool"), *arguments]
    done = subprocess.run(command, input=text, check=False, capture_output=True, text=True)  # noqa: S603 - named above
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def free_port() -> int:
    """Return a port that is free."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


class Prometheus:
    """A running Prometheus.

    Attributes:
        url: where it answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **values: str) -> Any:
        """Ask its API; None while it does not answer."""
        query = urllib.parse.urlencode(values)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}") as answer:  # noqa: S310 - our own
                return json.load(answer)["data"]
        except OSError:
            return None

    def series(self, query: str, since: float) -> list[Mapping[str, Any]]:
        """Return the series that a query gives at any time since then."""
        span = {"start": str(since), "end": str(time.time()), "step": "0.25"}
        answer = self.ask("query_range", query=query, **span)
        assert answer is not None, f"Prometheus cannot answer {query}"
        found: list[Mapping[str, Any]] = answer["result"]
        return found


@contextmanager
def scraping(target: str, job: str, folder: Path) -> Generator[Prometheus]:
    """Run a Prometheus that scrapes one target four times a second."""
    config = folder / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\n"
        f"scrape_configs: [{{job_name: {job}, static_configs: [{{targets: ['{target}']}}]}}]\n",
        encoding="utf-8",
    )
    address = f"127.0.0.1:{free_port()}"
    command = [path_of("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address={address}", "--log.level=error"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - named above
        try:
            made = Prometheus(f"http://{address}")
            until(lambda: made.ask("query", query="1") is not None)
            yield made
        finally:
            process.terminate()


def until(holds: Any) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not come to it"
        time.sleep(0.05)
