"""Where credentials come from: the first source that has some, in the order of the official SDK.

==============  ==============================================================================================
environment     ``HUAWEICLOUD_SDK_AK``, ``HUAWEICLOUD_SDK_SK``, ``HUAWEICLOUD_SDK_SECURITY_TOKEN``
file            ``~/.huaweicloud/credentials`` or ``HUAWEICLOUD_SDK_CREDENTIALS_FILE``: ``[basic]``, ``ak``, ``sk``
token           ``ECSBATCH_AUTH_TOKEN``: an IAM token
password        ``ECSBATCH_IAM_USER``, ``ECSBATCH_IAM_PASSWORD``, ``ECSBATCH_IAM_DOMAIN``: tokens, renewed in time
metadata        the agency of the ECS server that this runs on: temporary keys, renewed in time
==============  ==============================================================================================

``ECSBATCH_CREDENTIALS`` names one source, and the others are not tried. The metadata service is asked only where it is
named so, or where there is nothing else and the machine's firmware says that it is a server of such a cloud; nothing
is asked before the client's first request, so that no source delays another. A token beside a password is used until
it expires, and the password then gets the next one.

None of it needs a restart to change: a key in the environment or in the file is read again when it changes there, and
when the cloud refuses it. Which source it is stays as it was found.

`credentials` is what a program calls; `find` also says where they were found.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from ecsbatch.ecs.auth.iam import User, password_auth
from ecsbatch.ecs.auth.metadata import metadata_auth, on_ecs_server
from ecsbatch.ecs.auth.schemes import Auth, KeyAuth, TokenAuth
from ecsbatch.ecs.auth.source import SourceAuth
from ecsbatch.errors import ConfigError
from ecsbatch.lazy_dataclass import dataclass

CHOICE: Final = "ECSBATCH_CREDENTIALS"
_USER: Final = ("ECSBATCH_IAM_USER", "ECSBATCH_IAM_PASSWORD", "ECSBATCH_IAM_DOMAIN")

SECTION: Final = "basic"

_READABLE_BY_OTHERS: Final = 0o044

_KEY: Final = ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK")
_KEY_VARIABLES: Final = (*_KEY, "HUAWEICLOUD_SDK_SECURITY_TOKEN")

_TOOLS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Terraform", ("HW_ACCESS_KEY", "HW_SECRET_KEY")),
    ("Cloud Custodian", ("HUAWEI_ACCESS_KEY_ID", "HUAWEI_SECRET_ACCESS_KEY")),
    ("the OTC tools", ("OS_ACCESS_KEY", "OS_SECRET_KEY")),
    ("SberCloud's Terraform", ("SBC_ACCESS_KEY", "SBC_SECRET_KEY")),
    ("OpenStack", ("OS_USERNAME", "OS_PASSWORD", "OS_USER_DOMAIN_NAME")),
    ("Ansible", ("ANSIBLE_HWC_USER", "ANSIBLE_HWC_PASSWORD", "ANSIBLE_HWC_DOMAIN")),
)


@dataclass(frozen=True, slots=True)
class Found:
    """Credentials and where they were found.

    Attributes:
        auth: what an `EcsClient` takes.
        origin: where they were found, for people.
        warning: a warning about them in one line, "" for none.
    """

    auth: Auth
    origin: str
    warning: str = ""


def credentials(env: Mapping[str, str] = os.environ) -> Auth:
    """Return the credentials of the first source that has some; warn of a file that others can read.

        async with EcsClient(region="eu-west-101", auth=credentials()) as ecs: ...

    The sources, in their order: ``HUAWEICLOUD_SDK_AK`` and ``_SK`` (``_SECURITY_TOKEN`` of a temporary key);
    ``~/.huaweicloud/credentials``; ``ECSBATCH_AUTH_TOKEN``; ``ECSBATCH_IAM_USER``, ``_PASSWORD`` and ``_DOMAIN``; the
    agency of the ECS server that this runs on. ``ECSBATCH_CREDENTIALS`` names one of them: environment, file, token,
    password or metadata.

    They may change while the client is in use: a key in variables or in a file is read again when it changes there, and
    when the cloud refuses it; tokens and temporary keys are renewed in time.

    Args:
        env: the environment variables.

    Raises:
        ConfigError: there are none, or only a part of them.
    """
    found = find(env)
    if found.warning:
        warnings.warn(found.warning, stacklevel=2)
    return found.auth


def find(env: Mapping[str, str] = os.environ, *, on_server: Callable[[], bool] = on_ecs_server) -> Found:
    """Return the credentials of the first source that has some, and where they were found.

    Args:
        env: the environment variables.
        on_server: returns True where this machine is an ECS server.

    Raises:
        ConfigError: there are none, or only a part of them.
    """
    choice = _get(env, CHOICE).lower()
    if choice:
        return _chosen(choice, env)
    for source in (_environment, _file, _token, _password):
        if found := source(env):
            return found
    if on_server():
        return _metadata(env)
    raise ConfigError(
        "No credentials found: export HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK"
        " (and HUAWEICLOUD_SDK_SECURITY_TOKEN for a temporary key), or write them into ~/.huaweicloud/credentials,"
        " or export ECSBATCH_AUTH_TOKEN, or ECSBATCH_IAM_USER, _PASSWORD and _DOMAIN, or on an ECS server with an"
        f" agency {CHOICE}=metadata." + "".join(f" {each}" for each in hints_from_other_tools(env, _home(env)))
    )


def _chosen(choice: str, env: Mapping[str, str]) -> Found:
    if choice not in _SOURCES:
        raise ConfigError(f"{CHOICE} is {choice[:40]!r}: give {', '.join(_SOURCES)}, or unset it to try all.")
    source, missing = _SOURCES[choice]
    if found := source(env):
        return found
    raise ConfigError(f"{CHOICE}={choice}, but there are none: {missing}.")


def _get(env: Mapping[str, str], name: str) -> str:
    return env.get(name, "").strip()


def _home(env: Mapping[str, str]) -> Path | None:
    """Return the user's home directory; for other variables than the process's own only the one that they name."""
    home = _get(env, "HOME") or (str(Path("~").expanduser()) if env is os.environ else "")
    return Path(home) if home else None


def _environment(env: Mapping[str, str]) -> Found | None:
    """Return the key of the official SDK's environment variables."""
    if (key := _key(env)) is None:
        return None
    auth = SourceAuth(key, partial(_key, env), lambda: tuple(_get(env, name) for name in _KEY_VARIABLES))
    return Found(auth, "HUAWEICLOUD_SDK_AK and _SK")


def _key(env: Mapping[str, str]) -> KeyAuth | None:
    access, secret = _get(env, "HUAWEICLOUD_SDK_AK"), _get(env, "HUAWEICLOUD_SDK_SK")
    if not access and not secret:
        return None
    if not access or not secret:
        missing, given = ("AK", "SK") if not access else ("SK", "AK")
        raise ConfigError(
            f"HUAWEICLOUD_SDK_{given} is set but HUAWEICLOUD_SDK_{missing} is not: export both halves of the key."
        )
    return KeyAuth(access, secret, _get(env, "HUAWEICLOUD_SDK_SECURITY_TOKEN"))


def _file(env: Mapping[str, str]) -> Found | None:
    """Return the key of the official SDK's file; a missing file is an error only where it was named."""
    named = _get(env, "HUAWEICLOUD_SDK_CREDENTIALS_FILE")
    home = _home(env)
    path = Path(named) if named else home / ".huaweicloud" / "credentials" if home else None
    if path is None or (not named and not path.exists()):
        return None
    if (key := read_profile(path)) is None:
        return None
    auth = SourceAuth(key, partial(read_profile, path), partial(_file_stamp, path))
    return Found(auth, str(path), permission_warning(path))


def _file_stamp(path: Path) -> object:
    """Return what changes when a file is written or another one gets its name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _token(env: Mapping[str, str]) -> Found | None:
    """Return the given token; where there is a password too, that gets the next ones."""
    token = _get(env, "ECSBATCH_AUTH_TOKEN")
    if not token:
        return None
    first, user = TokenAuth(token), _user(env)
    return Found(password_auth(user, first) if user else first, "ECSBATCH_AUTH_TOKEN")


def _password(env: Mapping[str, str]) -> Found | None:
    user = _user(env)
    return Found(password_auth(user), "ECSBATCH_IAM_USER and _PASSWORD") if user else None


def _user(env: Mapping[str, str]) -> User | None:
    """Return the IAM user of the environment variables, None where there is none.

    Raises:
        ConfigError: user, password or domain is missing.
    """
    # A password may begin or end with blanks; one of nothing but blanks is none.
    name, password, domain = _get(env, _USER[0]), env.get(_USER[1], ""), _get(env, _USER[2])
    given = dict(zip(_USER, (name, password.strip(), domain), strict=True))
    if not any(given.values()):
        return None
    if missing := [variable for variable, value in given.items() if not value]:
        here = next(variable for variable, value in given.items() if value)
        raise ConfigError(f"{here} is set but {' and '.join(missing)} is not: export user, password and domain.")
    return User(name, password, domain)


def _metadata(env: Mapping[str, str]) -> Found:
    return Found(metadata_auth(_get(env, "ECSBATCH_METADATA_ENDPOINT")), "the server's agency (metadata service)")


_SOURCES: Final[Mapping[str, tuple[Callable[[Mapping[str, str]], Found | None], str]]] = {
    "environment": (_environment, "export HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK"),
    "file": (_file, "write ak and sk below [basic] into ~/.huaweicloud/credentials"),
    "token": (_token, "export ECSBATCH_AUTH_TOKEN"),
    "password": (_password, "export ECSBATCH_IAM_USER, ECSBATCH_IAM_PASSWORD and ECSBATCH_IAM_DOMAIN"),
    "metadata": (_metadata, "it is there on ECS servers with an agency"),
}


def read_profile(path: Path) -> KeyAuth | None:
    """Return the key of the file's ``[basic]`` section, with its project id and IAM's endpoint.

    None where the section is missing or has no key: other sections are for accounts, not for projects.

    Raises:
        ConfigError: the file cannot be read, is no INI, or has half a key. The message never repeats its text.
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


def permission_warning(path: Path) -> str:
    """Return a warning in one line where other users of this machine can read the file, else ""."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    return f"{path} can be read by others: chmod 600 {path}" if mode & _READABLE_BY_OTHERS else ""


def _section(path: Path) -> Mapping[str, str]:
    import configparser  # noqa: PLC0415 - only where there is such a file

    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except OSError as e:
        raise ConfigError(f"The credentials file {path} cannot be read ({e.strerror}): mend it or move it.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"The credentials file {path} is no text in UTF-8.") from None
    except configparser.Error as e:
        # The error's text repeats the line, which may contain the key.
        line = getattr(e, "lineno", None) or next((number for number, _ in getattr(e, "errors", ())), None)
        where = f" (line {line})" if line else ""
        raise ConfigError(
            f"The credentials file {path} is no INI file{where}: it wants [{SECTION}], ak = ... and sk = ..."
        ) from None
    return parser[SECTION] if parser.has_section(SECTION) else {}


def hints_from_other_tools(env: Mapping[str, str], home: Path | None) -> Iterator[str]:
    """Yield a sentence for each other tool whose credentials are there, on how to give them to us."""
    for tool, theirs in _TOOLS:
        if env.get(theirs[0], "").strip():
            ours = _KEY if len(theirs) == len(_KEY) else _USER
            pairs = " ".join(f'{mine}="${their}"' for mine, their in zip(ours, theirs, strict=True))
            yield f"{theirs[0]} of {tool} is set: export {pairs}."
    if home is not None and _is_there(home / ".hcloud" / "config.json"):
        yield (
            "KooCLI's ~/.hcloud/config.json is there, but its keys are encrypted:"
            f" export the key itself as {_KEY[0]} and {_KEY[1]}."
        )


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
