"""Whose word a file is: its user's alone, where nobody but this user and root may write it.

`exposure_of` decides that from what is seen of the files, `file_exposure` looks at them.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote

from ecsbatch.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Exposure:
    """Why others may have written what stands in a file.

    Attributes:
        why: a clause such as "/srv/restarts.db may be written by its group".
        mend: what makes it private, to be done by whoever has read what stands in it; "" where nothing does.
    """

    why: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.why} ({self.mend} makes it private, with what stands in it by then)" if self.mend else self.why


@dataclass(frozen=True, slots=True)
class FileUser:
    """Who runs this process.

    Attributes:
        uid: the effective user.
        own_group: the group that has nobody else in it, None where there is none.
    """

    uid: int
    own_group: int | None = None


@dataclass(frozen=True, slots=True)
class SeenFile:
    """What decides who may write a file or folder.

    Attributes:
        path: for people.
        mode, uid, gid: as the system tells them.
        access_list: True where it has an access list (ACL): what the mode calls its group may then be anybody.
    """

    path: str
    mode: int
    uid: int
    gid: int
    access_list: bool = False


def exposure_of(files: Iterable[SeenFile], user: FileUser) -> Exposure | None:
    """Return why others than ``user`` and root may write one of these; None: nobody else may."""
    whose: dict[str, list[str]] = {}
    mends: dict[str, list[str]] = {}
    for each in files:
        who, mend = _writers(each, user)
        if who:
            whose.setdefault(who, []).append(each.path)
            mends.setdefault(mend, []).append(quote(each.path))
    if not whose:
        return None
    whys = [f"{_listed(paths)} may be written by {who}" for who, paths in whose.items()]
    return Exposure(_listed(whys), _listed([mend.format(files=" ".join(paths)) for mend, paths in mends.items()]))


def _writers(file: SeenFile, user: FileUser) -> tuple[str, str]:
    """Return who else may write a file, "" for nobody, and what mends that."""
    if file.uid not in {0, user.uid}:
        return f"user {file.uid}, who owns it", f"`chown {user.uid} {{files}}` as root"
    own = file.gid == user.own_group and not file.access_list
    if file.mode & stat.S_IWOTH:
        who = "everybody"
    elif file.mode & stat.S_IWGRP and not own:
        who = "its group"
    else:
        return "", ""
    # A folder for everybody, such as /tmp, is to stay one.
    for_all = stat.S_ISDIR(file.mode) and file.mode & stat.S_ISVTX
    return who, "a folder of your own in its place" if for_all else "`chmod go-w {files}`"


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def file_exposure(*paths: Path) -> Exposure | None:
    """Return why others may write one of these files, folders or what they are links to; None: only this user may.

    A file that is not there counts for nothing: its folder says who may make it.
    """
    seen: dict[tuple[int, int], SeenFile] = {}
    for path in paths:
        with suppress(FileNotFoundError):
            status = path.stat()
            seen.setdefault((status.st_dev, status.st_ino), seen_file(status, path))
    return exposure_of(seen.values(), current_user())


def folders_above(path: Path) -> list[Path]:
    """Return the folders on the way to a file or folder in which another one might be put in its place.

    In one that is for everybody, such as /tmp, only its owner and theirs can do that.
    """
    above: dict[Path, None] = dict.fromkeys([*path.absolute().parents, *path.resolve().parents])
    return [folder for folder in above if not _keeps_places(folder)]


def _keeps_places(folder: Path) -> bool:
    with suppress(OSError):
        status = folder.stat()
        return bool(status.st_mode & stat.S_ISVTX) and status.st_uid in {0, os.geteuid()}
    return False


def seen_file(status: os.stat_result, path: Path, descriptor: int | None = None) -> SeenFile:
    """Return what decides who may write a file whose status is known; ``descriptor``: of the file, where it is open."""
    file = path if descriptor is None else descriptor
    return SeenFile(str(path), status.st_mode, status.st_uid, status.st_gid, _has_access_list(file))


def _has_access_list(file: Path | int) -> bool:
    with suppress(OSError, AttributeError):  # only Linux tells
        return "system.posix_acl_access" in os.listxattr(file)
    return False


def current_user() -> FileUser:
    """Return who runs this process; the primary group counts as the user's own where it bears the user's name."""
    uid = os.geteuid()
    with suppress(KeyError):
        entry = pwd.getpwuid(uid)
        group = grp.getgrgid(entry.pw_gid)
        if group.gr_name == entry.pw_name and not set(group.gr_mem) - {entry.pw_name}:
            return FileUser(uid, entry.pw_gid)
    return FileUser(uid)
