"""What is to be reached, as data: each goal by its name, with its figure.

A goal is no promise: what misses one is said to miss it, in print and on the page of results, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Goal(NamedTuple):
    """A figure to reach.

    Attributes:
        what: is measured.
        figure: the most that it may be, or the least where `at_least`.
        form: how a value is written.
        at_least: more is better.
    """

    what: str
    figure: float
    form: str
    at_least: bool = False

    def wanted(self) -> str:
        """Return the goal as it is written."""
        return f"{'≥' if self.at_least else '≤'} {self.form.format(self.figure)}"

    def reached(self, seen: float) -> bool:
        """Tell whether a value reaches the goal; it is held to it as it is, not as it is written."""
        return seen >= self.figure if self.at_least else seen <= self.figure

    def row(self, seen: float) -> list[str]:
        """Return the goal's row in a table."""
        return [self.what, self.wanted(), self.form.format(seen), "reached" if self.reached(seen) else "missed"]


GOALS: Final[Mapping[str, Goal]] = {
    "cpu_library": Goal("CPU a server, library, of the SDK's at equal delay, batches of 100", 0.20, "{:.2f}"),
    "cpu_command": Goal("CPU a server, whole command, of the SDK's at equal delay, batches of 100", 0.28, "{:.2f}"),
    "start_version": Goal("CPU of `--version`, of bare Python's", 4, "{:.1f}x"),
    "start_help": Goal("CPU of `--help`, of bare Python's", 8, "{:.1f}x"),
    "start_status": Goal("CPU of `status`, of bare Python's", 7, "{:.1f}x"),
    "start_runs": Goal("CPU of `runs`, of bare Python's", 7, "{:.1f}x"),
    "start_plan": Goal("CPU of a plan of ten, of bare Python's", 14, "{:.1f}x"),
    "start_restart": Goal("CPU of a restart of ten, of bare Python's", 16, "{:.1f}x"),
    "lag_p99": Goal("lateness of the host's loop, 99th percentile, 20,000 servers", 20, "{:.1f} ms"),
    "lag_step": Goal("longest step of the host's loop, up to a million servers", 50, "{:.0f} ms"),
    "delay_mean": Goal("mean delay until an end is seen, of the version before, all cases together", 1.0, "{:.3f}"),
    "delay_p99": Goal("99th percentile of that delay, of its mean, the worst case", 4, "{:.1f}x"),
    "delay_last": Goal("delay of the last of a batch of 1,000 that holds up a wave, median", 5, "{:.1f} s"),
    "delay_looks": Goal("looks at jobs, of the version before, all cases together", 1.02, "{:.3f}"),
    "quota_used": Goal("quota used at a round trip of 100 ms, whole rollout", 0.997, "{:.2%}", at_least=True),
    "pace_share": Goal("from first to last submit, of the bound, the worst row", 0.98, "{:.1%}", at_least=True),
    "million_memory": Goal("memory of a million servers in one rollout", 250, "{:.0f} MB"),
    "million_cpu": Goal("CPU a server at a million, of that at 10,000", 1.1, "{:.2f}x"),
    "store_bytes": Goal("bytes a server in a store on SQLite", 300, "{:.0f}"),
    "display_cpu": Goal("CPU of the display of 100,000 servers, of a core, 10 and 5,000 changes/s", 0.03, "{:.2%}"),
}


def goal_rows(seen: Mapping[str, float]) -> list[list[str]]:
    """Return a row for each goal of which something was seen, in the goals' order; a name that is none is an error."""
    if unknown := seen.keys() - GOALS.keys():
        raise KeyError(f"no goals: {', '.join(sorted(unknown))}")
    return [goal.row(seen[name]) for name, goal in GOALS.items() if name in seen]
