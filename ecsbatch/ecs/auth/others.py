"""Credentials of other tools, noticed where ours are missing: what to export instead, and never a value.

The names are those of the tools' own manuals: the Terraform providers, Cloud Custodian, Ansible's ``hwc_*`` modules,
the OpenStack clients, and the file of KooCLI, which encrypts what it keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_KEY: Final = ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK")
_USER: Final = ("ECSBATCH_IAM_USER", "ECSBATCH_IAM_PASSWORD", "ECSBATCH_IAM_DOMAIN")

_TOOLS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Terraform", ("HW_ACCESS_KEY", "HW_SECRET_KEY")),
    ("Cloud Custodian", ("HUAWEI_ACCESS_KEY_ID", "HUAWEI_SECRET_ACCESS_KEY")),
    ("the OTC tools", ("OS_ACCESS_KEY", "OS_SECRET_KEY")),
    ("SberCloud's Terraform", ("SBC_ACCESS_KEY", "SBC_SECRET_KEY")),
    ("OpenStack", ("OS_USERNAME", "OS_PASSWORD", "OS_USER_DOMAIN_NAME")),
    ("Ansible", ("ANSIBLE_HWC_USER", "ANSIBLE_HWC_PASSWORD", "ANSIBLE_HWC_DOMAIN")),
)


def noticed(env: Mapping[str, str], home: Path | None) -> Iterator[str]:
    """Say in a sentence each what is there and how it is told to us."""
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
