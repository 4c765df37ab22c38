"""The commands, in the order and under the titles of ``ecsbatch --help``. None of their modules is imported for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

SUMMARY: Final = (
    "Restart fleets of Huawei Cloud ECS servers: never over the quota, never lost, never twice by accident."
)
EPILOGUE: Final = "Options can be given as variables ECSBATCH_<OPTION> and in the file of --config, too."


class CommandEntry(NamedTuple):
    """What is known of a command before its module is imported.

    Attributes:
        name: as it is typed; its function is called the same.
        module: in `ecsbatch.cli.commands`.
        usage: what is typed after the name.
        text: the one line of ``ecsbatch --help``.
    """

    name: str
    module: str
    usage: str
    text: str


TITLES: Final[Mapping[str, tuple[CommandEntry, ...]]] = {
    "Restarting": (
        CommandEntry("check", "check", "[OPTIONS]", "See that key, project, clock, store and quota are ready."),
        CommandEntry("restart", "restart", "[FILE|-] [OPTIONS]", "Restart the servers of a list or a selection."),
        CommandEntry("plan", "plan", "[FILE|-] [OPTIONS]", "Show what restart would do, and keep it in a file."),
        CommandEntry("apply", "plan", "FILE [OPTIONS]", "Carry out a plan that was kept, exactly as it is."),
        CommandEntry(
            "resume", "resume", "[RUN] [OPTIONS]", "Go on with a run that was stopped, interrupted or paused."
        ),
        CommandEntry("work", "work", "[OPTIONS]", "Stand by, and go on with runs whose process is gone."),
    ),
    "Looking at runs": (
        CommandEntry("servers", "servers", "[FILE|-] [OPTIONS]", "Look at a fleet before touching it."),
        CommandEntry("status", "status", "[RUN] [OPTIONS]", "Say where a run stands."),
        CommandEntry("report", "report", "[RUN] [OPTIONS]", "Write every server of a run with its outcome."),
        CommandEntry("watch", "watch", "[RUN] [OPTIONS]", "Watch a run that another process holds."),
        CommandEntry("wait", "wait", "[RUN] [OPTIONS]", "Wait until a run is finished or stands, or a wave is over."),
        CommandEntry(
            "explain",
            "explain",
            "[SERVER] [RUN] [OPTIONS]",
            "Say why a server is not restarted yet, or what holds the run now.",
        ),
        CommandEntry("audit", "audit", "[RUN] [OPTIONS]", "Prove from a run's record that its promises were kept."),
        CommandEntry("runs", "runs", "[OPTIONS]", "List the last runs."),
        CommandEntry("dashboard", "dashboard", "[OPTIONS]", "Show all runs of a store on a page for browsers."),
    ),
    "Steering a run from another terminal": (
        CommandEntry("pause", "steer", "[RUN] [OPTIONS]", "Send nothing new until the run is resumed."),
        CommandEntry("promote", "steer", "[RUN] [OPTIONS]", "Let a run pass the hold that it stands at."),
        CommandEntry("adjust", "steer", "[RUN] [OPTIONS]", "Change the limits of a run while it goes on."),
        CommandEntry("abort", "abort", "[RUN] [OPTIONS]", "End a run for good."),
    ),
    "All runs of a store at once": (
        CommandEntry("quota", "quota", "[OPTIONS]", "Say who holds and who spent how much of the quota."),
        CommandEntry("freeze", "freeze", "--reason TEXT [OPTIONS]", "Stop all new requests of every run."),
        CommandEntry("thaw", "freeze", "[OPTIONS]", "Let all runs of a frozen store go on."),
    ),
    "Trying it out": (
        CommandEntry("rehearse", "rehearse", "[FILE|-] [OPTIONS]", "Try a rollout in virtual time."),
        CommandEntry("simulate", "simulate", "[OPTIONS]", "Serve a simulated cloud on this machine."),
        CommandEntry("demo", "demo", "[OPTIONS]", "Watch a rollout on a simulated cloud, in half a minute."),
    ),
    "Setting up": (
        CommandEntry("config", "config", "check FILE | show [OPTIONS]", "Check a settings file; show what holds."),
        CommandEntry(
            "store", "store", "check | upgrade | prune [OPTIONS]", "Look after the place where runs are kept."
        ),
        CommandEntry("schema", "schema", "[NAME]", "Print the JSON Schema of what is printed or written."),
        CommandEntry("completion", "completion", "bash|zsh|fish", "Print what makes a shell complete commands."),
        CommandEntry("help", "help", "[COMMAND]", "Say what there is, or what a command does and takes."),
        CommandEntry("version", "help", "", "Print the version."),
    ),
}

COMMANDS: Final = tuple(command for commands in TITLES.values() for command in commands)


def installed_version() -> str:
    """Return the version of the package that is installed."""
    from importlib.metadata import version  # noqa: PLC0415 - as slow to import as half of all the rest

    return version("ecsbatch")
