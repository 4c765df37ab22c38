"""What is typed and is not there gets a sentence that helps, and never an offer of what nobody meant."""

from __future__ import annotations

import pytest

from ecsbatch.cli.app import main
from ecsbatch.cli.misspelt import nearest


def told(capsys: pytest.CaptureFixture[str], typed: str) -> str:
    assert main(typed.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("ecsbatch: ").strip()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("restart --max-unavailble 5", "Did you mean --max-unavailable?"),
        ("restart fleet.txt --maxunavailable 5", "Did you mean --max-unavailable?"),
        ("restart --dry", "Did you mean --dry-run?"),
        ("restart --max-unavail 5", "Did you mean --max-unavailable?"),
        ("plan fleet.txt --tga a=b", "plan has no option --tga: see"),
        ("status --out now.json", "status has no option --out: see"),
        ("help statsu", 'Did you mean "status"?'),
        ("restrat fleet.txt", 'Did you mean "restart"?'),
        ("reboot fleet.txt", "here it is restart."),
        ("stop", "here it is pause (send nothing new for now) or abort (for good)."),
        ("--store sqlite:///x.db status", "no option --store before a command"),
        ("restart -y1", "restart has no option -1"),
    ],
)
def test_a_slip_is_told_of_with_what_may_be_meant(typed: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in told(capsys, typed)


@pytest.mark.parametrize(
    "typed",
    [
        *("restart --ye", "restart fleet.txt --yess", "restart --al", "apply plan.json --accept-drif"),
        *("resume --forgiv", "resume --wave 1", "restart --min-unavailable 5", "restart fleet.txt --no-check"),
        *("apply plan.json --tags a=b", "restart fleet.txt --retry failed", "store"),
    ],
)
def test_no_consent_and_no_other_meaning_is_offered(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean" not in told(capsys, typed)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (
            "apply plan.json --max-unavailable 5",
            "plan again with --max-unavailable, or change it while the run goes on",
        ),
        ("apply plan.json --waves 1", "--waves stands in the plan, which apply carries out as it is: plan again"),
        ("apply plan.json --no-precheck", "--no-precheck stands in the plan"),
        ("apply plan.json --tag app=web", "who is restarted stands in the plan"),
        (
            "resume --waves=1",
            "--waves stands in the run's plan and stays as it is; resume can change --max-unavailable,",
        ),
        ("adjust tonight --batch-size 5", "--batch-size stands in the run's plan and stays as it is"),
    ],
)
def test_what_a_plan_has_settled_says_so(typed: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in told(capsys, typed)


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("--max-failures-per", ["--max-failures", "--max-failures-per-wave", "--max-failures-per-domain"], ""),
        ("--max-fail", ["--max-failures", "--max-failures-per-wave"], "--max-failures"),
        ("--quite", ["--quiet", "--quota"], "--quiet"),
        ("--on-failure", ["--no-failure"], ""),
        ("--", ["--quiet"], ""),
        ("", ["status"], ""),
    ],
)
def test_only_one_word_that_is_meant_is_offered(word: str, known: list[str], meant: str) -> None:
    assert nearest(word, known) == meant
