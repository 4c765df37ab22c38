"""Whose word a file is: decided from its owner, its group and its mode."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ecsbatch.model.ownership import FileUser, SeenFile, current_user, exposure_of, file_exposure, folders_above

ME = FileUser(uid=1000, own_group=1000)
FILE, FOLDER = stat.S_IFREG, stat.S_IFDIR


@pytest.mark.parametrize(
    ("seen", "user"),
    [
        (SeenFile("f", FILE | 0o600, 1000, 1000), ME),
        (SeenFile("f", FILE | 0o644, 1000, 50), ME),
        (SeenFile("f", FILE | 0o664, 1000, 1000), ME),
        (SeenFile("f", FILE | 0o644, 0, 0), ME),
        (SeenFile("d", FOLDER | 0o775, 0, 1000), ME),
        (SeenFile("f", FILE | 0o600, 0, 0), FileUser(0)),
    ],
)
def test_a_file_that_only_its_user_and_root_may_write_is_private(seen: SeenFile, user: FileUser) -> None:
    assert exposure_of([seen], user) is None


@pytest.mark.parametrize(
    ("seen", "user", "why", "mend"),
    [
        (SeenFile("f", FILE | 0o602, 1000, 1000), ME, "f may be written by everybody", "`chmod go-w f`"),
        (SeenFile("f", FILE | 0o660, 1000, 50), ME, "f may be written by its group", "`chmod go-w f`"),
        (SeenFile("f", FILE | 0o660, 1000, 0), ME, "f may be written by its group", "`chmod go-w f`"),
        (SeenFile("f", FILE | 0o660, 1000, 1000), FileUser(1000), "f may be written by its group", "`chmod go-w f`"),
        (SeenFile("f", FILE | 0o660, 1000, 1000, access_list=True), ME, "f may be written by its group", "`chmod"),
        (
            SeenFile("a b", FILE | 0o600, 1001, 1000),
            ME,
            "a b may be written by user 1001, who owns it",
            "`chown 1000 'a b'` as root",
        ),
        (
            SeenFile("f", FILE | 0o600, 1000, 1000),
            FileUser(0, 0),
            "f may be written by user 1000, who owns it",
            "`chown 0 f` as root",
        ),
        (SeenFile("/tmp", FOLDER | 0o1777, 0, 0), ME, "/tmp may be written by everybody", "a folder of your own"),  # noqa: S108 - a path to tell of
    ],
)
def test_a_file_that_others_may_write_says_who_and_what_mends_it(
    seen: SeenFile, user: FileUser, why: str, mend: str
) -> None:
    found = exposure_of([SeenFile("fine", FILE | 0o600, user.uid, 1), seen], user)

    assert found is not None
    assert (found.why, found.mend.startswith(mend)) == (why, True)
    assert str(found) == f"{why} ({found.mend} makes it private, with what stands in it by then)"


def test_all_that_is_to_be_mended_is_named_at_once() -> None:
    shared = [SeenFile(name, FILE | 0o606, 1000, 1000) for name in ("a", "b", "c d")]
    found = exposure_of([*shared, SeenFile("d", FOLDER | 0o770, 1000, 50), SeenFile("e", FILE, 7, 7)], ME)

    assert found is not None
    assert found.why == (
        "a, b and c d may be written by everybody, d may be written by its group "
        "and e may be written by user 7, who owns it"
    )
    assert found.mend == "`chmod go-w a b 'c d' d` and `chown 1000 e` as root"


def test_a_link_is_what_it_leads_to_and_what_is_missing_counts_for_nothing(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("", encoding="utf-8")
    link.symlink_to(real)
    real.chmod(0o602)

    assert file_exposure(tmp_path / "missing") is None
    assert "written by everybody" in str(file_exposure(link))
    real.chmod(0o600)
    assert file_exposure(link, real) is None


def test_this_process_has_a_user() -> None:
    assert current_user().uid == os.geteuid()


def test_a_folder_above_counts_where_another_one_might_be_put_in_the_place_of_what_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "shared" / "mine"
    folder.mkdir(parents=True)

    folder.parent.chmod(0o777)
    assert f"{folder.parent} may be written by everybody" in str(file_exposure(*folders_above(folder)))
    folder.parent.chmod(0o1777)
    assert file_exposure(*folders_above(folder)) is None
