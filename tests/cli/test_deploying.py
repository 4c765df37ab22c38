"""What ``config/`` has for a worker's supervisor, judged without it: a unit, an image, a manifest."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecsbatch.cli.commands.work import work
from ecsbatch.cli.flags import OWN_VARIABLES
from ecsbatch.cli.parser import build_app
from ecsbatch.config.settings import CREDENTIAL_VARIABLES, SETTINGS

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "config"
UNIT = CONFIG / "ecsbatch-work.service"
CONTAINERFILE = (CONFIG / "Containerfile").read_text(encoding="utf-8")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
LONGEST_END = 30 + 5
"""Seconds that a hand-over may take: the longest request, and what `ecsbatch.cli.worker` adds."""


def parsed(words: Sequence[str]) -> Mapping[str, Any]:
    """Return what the command line makes of a call of `work`; one that it does not understand is raised."""
    command, bound, _ = build_app("work").parse_args(words, print_error=False, exit_on_error=False)
    assert command is work
    return bound.arguments


def unit() -> configparser.SectionProxy:
    """Return what the unit says of its service; of a key that is there twice the last."""
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign] - keys have capitals
    read.read_string(UNIT.read_text(encoding="utf-8"))
    return read["Service"]


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Containerfile with their words."""
    joined = re.sub(r"\\\n\s*", "", CONTAINERFILE)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def words_of(name: str) -> list[str]:
    """Return what the last instruction of a name says."""
    return [text for instruction, text in instructions() if instruction == name]


def manifests() -> dict[str, Any]:
    """Return the objects of the manifest by their kinds."""
    return {each["kind"]: each for each in yaml.safe_load_all((CONFIG / "kubernetes.yaml").read_text(encoding="utf-8"))}


def pod() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the pod of the deployment and its only container."""
    spec = manifests()["Deployment"]["spec"]["template"]["spec"]
    [container] = spec["containers"]
    return spec, container


# -- systemd ----------------------------------------------------------------------------------------------------------


def test_the_unit_calls_a_worker_as_the_command_line_knows_it() -> None:
    program, *words = shlex.split(unit()["ExecStart"])

    assert program == "/opt/ecsbatch/bin/ecsbatch"
    assert parsed(words)["healthz"] == "127.0.0.1:8080"


def test_the_unit_waits_for_the_hand_over_and_begins_anew_but_for_a_wrong_setting() -> None:
    service = unit()

    assert int(service["TimeoutStopSec"]) > LONGEST_END
    assert (service["Restart"], service["RestartPreventExitStatus"], service["KillMode"]) == ("always", "2", "mixed")


def test_the_unit_has_no_rights_but_to_its_state() -> None:
    service = unit()
    on = ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables")

    assert {name: service[name] for name in on} == dict.fromkeys(on, "yes")
    assert (service["ProtectSystem"], service["CapabilityBoundingSet"], service["UMask"]) == ("strict", "", "0077")
    assert not re.search(r"(AK|SK|PASSWORD)=(?!\.\.\.)", UNIT.read_text(encoding="utf-8"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze judges units, and is not here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """Only the program is another one: what is to be installed is not there."""
    judged = tmp_path / UNIT.name
    there = UNIT.read_text(encoding="utf-8").replace(
        "ExecStart=/opt/ecsbatch/bin/ecsbatch", f"ExecStart={sys.executable}"
    )
    judged.write_text(there, encoding="utf-8")
    command = [shutil.which("systemd-analyze") or "", "verify", "--man=no", str(judged)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - reads a file
    about_us = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]

    assert (done.returncode, about_us) == (0, [])


# -- the image ---------------------------------------------------------------------------------------------------------


def test_the_image_runs_a_worker_as_nobody_and_is_told_to_end_by_sigterm() -> None:
    [entry], [command] = words_of("ENTRYPOINT"), words_of("CMD")
    program, *words = yaml.safe_load(entry) + yaml.safe_load(command)

    assert program == "ecsbatch"
    assert parsed(words)["healthz"] == "0.0.0.0:8080"
    assert words_of("USER") == ["10001:10001"]
    assert words_of("STOPSIGNAL") == ["SIGTERM"]


def test_the_image_is_made_of_pinned_packages_and_of_files_that_are_there() -> None:
    runs, copies = words_of("RUN"), words_of("COPY")
    sources = [word for text in copies if not text.startswith("--from") for word in text.split()[:-1]]

    assert sources == ["config/requirements.txt", "pyproject.toml", "README.md", "LICENSE", "ecsbatch"]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    installs = [run for run in runs if "pip install" in run]
    assert len(installs) == 2
    assert "--require-hashes -r requirements.txt" in installs[0]
    assert "--no-deps ." in installs[1]
    assert not words_of("ADD")
    last = [name for name, _ in instructions()]
    assert last.index("USER") > max(at for at, name in enumerate(last) if name == "RUN")


def test_the_image_has_a_python_that_the_package_runs_on() -> None:
    bases = {text.split()[0] for text in words_of("FROM")}

    [base] = bases
    found = re.fullmatch(r"docker\.io/library/python:3\.(\d+)-slim", base)
    assert found is not None
    assert int(found[1]) >= 11


def test_what_the_image_writes_is_in_one_folder() -> None:
    """So that the root file system may be read-only; the default store and notes of bugs are there."""
    variables = dict(word.split("=", 1) for word in words_of("ENV")[0].split())

    assert (variables["HOME"], variables["XDG_STATE_HOME"]) == ("/var/lib/ecsbatch", "/var/lib")
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert words_of("WORKDIR")[-1] == "/var/lib/ecsbatch"


# -- Kubernetes --------------------------------------------------------------------------------------------------------


def test_three_workers_are_told_what_the_command_line_knows() -> None:
    _, container = pod()

    assert manifests()["Deployment"]["spec"]["replicas"] == 3
    assert container["image"] == f"ecsbatch:{VERSION}"
    told = parsed(container["args"])
    assert (told["max_runs"], told["healthz"]) == (4, "0.0.0.0:8080")


def test_every_variable_is_one_that_is_read_and_secrets_come_from_a_secret() -> None:
    _, container = pod()
    variables = {each["name"]: each for each in container["env"]}
    known = {setting.variable for setting in SETTINGS.values()} | CREDENTIAL_VARIABLES
    known |= {f"ECSBATCH_{name.upper()}" for name in OWN_VARIABLES}

    assert set(variables) <= known
    secret = {name for name, each in variables.items() if each.get("valueFrom", {}).get("secretKeyRef")}
    assert secret == {"ECSBATCH_STORE", "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"}


def test_a_pod_has_no_rights_and_writes_nowhere_but_in_its_state() -> None:
    spec, container = pod()
    rights, own = spec["securityContext"], container["securityContext"]

    assert (rights["runAsNonRoot"], f"{rights['runAsUser']}:{rights['runAsGroup']}") == (True, words_of("USER")[0])
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert [each["mountPath"] for each in container["volumeMounts"]] == [words_of("WORKDIR")[-1]]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in spec["volumes"]}


def test_a_pod_is_asked_where_it_answers_and_gets_the_time_to_hand_over() -> None:
    spec, container = pod()
    [port] = container["ports"]
    asked = {name: container[name]["httpGet"] for name in ("readinessProbe", "livenessProbe", "startupProbe")}

    assert spec["terminationGracePeriodSeconds"] > LONGEST_END
    assert {each["port"] for each in asked.values()} == {port["name"]}
    assert f":{port['containerPort']}" in container["args"][container["args"].index("--healthz") + 1]
    # A store that is away is no reason to start a worker anew.
    assert {name: each["path"] for name, each in asked.items()} == {
        "readinessProbe": "/healthz",
        "livenessProbe": "/livez",
        "startupProbe": "/livez",
    }


def test_a_drained_node_takes_one_worker_at_a_time() -> None:
    objects = manifests()
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]

    assert set(objects) == {"Deployment", "PodDisruptionBudget"}
    assert objects["PodDisruptionBudget"]["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    assert objects["Deployment"]["spec"]["selector"] == {"matchLabels": labels}
