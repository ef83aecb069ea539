"""The role on a real machine: it installs all, and the second run changes nothing."""

import json
import os
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import debian, machine
from tests.deploy.conftest import NEXT, ROOT
from tests.deploy.machine import UNIT, Machine

SETTINGS: dict[str, Any] = {
    "collection_interval_ms": 200,
    "influxdb_url": "http://127.0.0.1:1",
    "influxdb_org": 'l"ab',
    "influxdb_bucket": "metrics",
    "tags": {"site": "lab", "rack-no": "12"},
    "collectors": {"disk": {"enabled": True, "exclude": ["/boot*", "/x y"]}},
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine.booted(tmp_path_factory.mktemp("machine"), "--private-network") as one:
        yield one


def ansible(home: Path, *words: object) -> str:
    """Run a command of Ansible; return what it says."""
    assert shutil.which("ansible-playbook"), "ansible-playbook is not installed; see .ci/run"
    return debian.command(*words, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "HOME": str(home)})


def play(host: Machine, folder: Path, package: Path, **variables: Any) -> dict[str, int]:
    """Run the playbook; return how many tasks did what."""
    # In place of ssh: the last argument is the command, whatever the others are.
    way = folder / "way"
    enter = " ".join(host.enter)
    way.write_text(f'#!/bin/sh\nfor last; do :; done\nexec {enter} sh -c "$last"\n')
    way.chmod(0o755)
    inventory = folder / "inventory.yaml"
    how = {"ansible_ssh_executable": str(way), "ansible_ssh_transfer_method": "piped"}
    inventory.write_text(json.dumps({"all": {"hosts": {"machine": how}}}))
    given = json.dumps({"metrics_pipeline_package": str(package), **variables})
    playbook = ROOT / "deploy/ansible/site.yaml"
    said = ansible(folder, "ansible-playbook", "-i", inventory, "-e", given, playbook)
    (recap,) = re.findall(r"^machine +: (.*)$", said, re.MULTILINE)
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap)}


def test_the_second_run_changes_nothing(
    host: Machine, packages: dict[str, Path], tmp_path: Path
) -> None:
    given = {"metrics_pipeline_settings": SETTINGS, "metrics_pipeline_token": "a secret"}
    assert play(host, tmp_path, packages["now"], **given)["changed"] > 4
    assert host.show("ActiveState") == "active"
    host.until_ticks()
    pid = host.show("MainPID")
    rows = json.loads(
        host.run("metrics-pipeline --config-dir /etc/metrics-pipeline settings show --json")
    )
    shown = {row["name"]: row["value"] for row in rows}
    assert shown["influxdb_org"] == 'l"ab'
    assert shown["influxdb_token"]
    assert "rack-no" in shown["tags"]
    assert "/x y" in shown["collectors"]

    counted = play(host, tmp_path, packages["now"], **given)
    assert (counted["changed"], counted["failed"]) == (0, 0)
    assert host.show("MainPID") == pid


def test_every_character_of_a_text_is_kept(tmp_path: Path) -> None:
    odd = "".join(map(chr, (*range(32), *range(127, 160), 0x2028, 0xFEFF, 0xFFFD, 0x10FFFF)))
    text = f"{odd} \"'\\ # = [x] é 温度 🌡️ 👩‍🔬"
    settings = {
        "influxdb_org": text,
        "tags": {text: text, "rack-no": "12", "empty": ""},
        "collectors": {"disk": {"enabled": False, "exclude": [text, "/x y"], "max_series": 5}},
        "influxdb_timeout_s": 1.5,
    }
    template = ROOT / "deploy/ansible/roles/metrics_pipeline/templates/settings.toml.j2"
    given = json.dumps({"metrics_pipeline_settings": settings})
    written = tmp_path / "settings.toml"
    ansible(
        tmp_path,
        *("ansible", "localhost", "--connection=local", "--module-name=template"),
        *(f"--args=src={template} dest={written}", "--extra-vars", given),
    )
    assert tomllib.loads(written.read_text(encoding="utf-8")) == settings


def test_another_version_is_installed_up_and_down_and_the_store_is_kept(
    host: Machine, packages: dict[str, Path], tmp_path: Path
) -> None:
    given = {"metrics_pipeline_settings": {"collection_interval_ms": 200}}
    play(host, tmp_path, packages["now"], **given)
    ticks = host.until_ticks()
    for name, version in (("next", NEXT), ("now", NEXT.rpartition(".")[0])):
        play(host, tmp_path, packages[name], **given)
        assert host.run("metrics-pipeline --version").split()[-1] == version
        before, ticks = ticks, host.until_ticks()
        assert ticks > before
    assert host.run(f"systemctl is-enabled {UNIT}") == "enabled"
