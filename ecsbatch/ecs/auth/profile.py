"""The official SDK's credentials file: INI, its section ``[basic]`` (huaweicloudsdkcore, ``auth/provider.py``)."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.errors import ConfigError

SECTION: Final = "basic"
_READABLE_BY_OTHERS: Final = 0o044


def read_profile(path: Path) -> KeyAuth | None:
    """Return the key of the file's section, with the project id and IAM's endpoint that stand beside it.

    None where the section is missing or has no key: other sections are for accounts, not for projects.

    Raises:
        ConfigError: the file cannot be read, is no INI, or has half a key. Its text is never repeated.
    """
    values = _section(path)
    access, secret = values.get("ak", "").strip(), values.get("sk", "").strip()
    if not access and not secret:
        return None
    if not access or not secret:
        missing, given = ("ak", "sk") if not access else ("sk", "ak")
        raise ConfigError(f"{path} has {given} but no {missing} in [{SECTION}]: write both halves of the key there.")
    return KeyAuth(
        access,
        secret,
        values.get("security_token", "").strip(),
        project_id=values.get("project_id", "").strip(),
        iam_endpoint=values.get("iam_endpoint", "").strip(),
    )


def exposed(path: Path) -> str:
    """Return one line of warning where others on this machine can read the file, else ""."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    return f"{path} can be read by others: chmod 600 {path}" if mode & _READABLE_BY_OTHERS else ""


def _section(path: Path) -> Mapping[str, str]:
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except OSError as e:
        raise ConfigError(f"The credentials file {path} cannot be read ({e.strerror}): mend it or move it.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"The credentials file {path} is no text in UTF-8.") from None
    except configparser.Error as e:
        # Its text repeats the line, which may hold the key.
        line = getattr(e, "lineno", None) or next((number for number, _ in getattr(e, "errors", ())), None)
        where = f" (line {line})" if line else ""
        raise ConfigError(
            f"The credentials file {path} is no INI file{where}: it wants [{SECTION}], ak = ... and sk = ..."
        ) from None
    return parser[SECTION] if parser.has_section(SECTION) else {}
