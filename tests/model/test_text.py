"""Texts that others wrote."""

import errno

import pytest

from ecsbatch.model.text import unwritable, visible, without_password


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ecs.example.com:8443", "https://ecs.example.com:8443"),
        ("https://[::1]:8443/path", "https://[::1]:8443/path"),
        ("https://ops:CANARY@host", "https://***@host"),
        ("https://ops:CA@CANARY@host/x", "https://***@host/x"),
        ("https://ops:CA/CANARY@host", "https://***@host"),
        ("https://ops:CA?CANARY#@host", "https://***@host"),
        ("https://ops:CANARY", "https://ops:***"),
        ("https://host:CANARY/x", "https://host:***"),
        ("https://host/x?token=CANARY", "https://host/x?***"),
        ("https://host#CANARY", "https://host?***"),
        ("https://ops:CANARY\n@host", "https://***@host"),
        ("https://ops\n:CANARY\n", "https://ops\n:***"),
        ("o:CANARY://x", "***://x"),
        ("ops:CANARY@host", "***@host"),
        ("postgresql:ops:CANARY", "postgresql:***"),
        ("postgresql://ops:CA/CANARY@db/runs", "postgresql://***@db/runs"),
        ("postgresql://db/runs?password=CANARY", "postgresql://db/runs?***"),
        ("sqlite:////home/me@work/a:b.db", "sqlite:////home/me@work/a:b.db"),
        ("sqlite:///x?password=CANARY", "sqlite:///x?***"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_what_may_be_a_password(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_a_line_keeps_its_letters_and_loses_what_acts() -> None:
    assert visible("Mühle 水車") == "Mühle 水車"
    assert visible("a\x1b[2J\x9b\u202e\udcffb") == "a\ufffd[2J\ufffd\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "(Permission denied): name a file in a folder of yours."),
        (OSError(errno.ENOSPC, "No space left"), "(No space left): make room there, or name a file elsewhere."),
        (OSError(errno.EDQUOT, "Quota exceeded"), "(Quota exceeded): make room there, or name a file elsewhere."),
        (ValueError("embedded null byte"), "(that is no file's name): name a file in a folder of yours."),
    ],
)
def test_a_file_that_cannot_be_written_is_told_with_what_helps(error: OSError | ValueError, said: str) -> None:
    assert unwritable("--out left.csv", error) == f"--out left.csv cannot be written {said}"
