"""The Debian package on a host without a network: installed, upgraded, rolled back, removed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline
from tests.agents import eventually
from tests.deploy import machine
from tests.deploy.conftest import NEXT, put
from tests.deploy.machine import FOLDERS, UNIT, Machine
from tests.influxd.process import InfluxProcess

INSTALL = "apt-get install -y --allow-downgrades -o Dpkg::Options::=--force-confold"


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[Machine]:
    """A machine without any network."""
    with machine.booted(tmp_path, "--private-network") as one:
        assert one.run("cat /proc/net/route").splitlines()[1:] == []
        yield one


def version(one: Machine) -> str:
    return one.run("metrics-pipeline --version").split()[-1]


def test_the_life_of_a_package_without_a_network(
    offline: Machine, packages: dict[str, Path]
) -> None:
    now, after = (f"{INSTALL} {put(offline, packages[name])}" for name in ("now", "next"))
    offline.run(now)
    assert offline.show("ActiveState") == "active"
    assert offline.run(f"systemctl is-enabled {UNIT}") == "enabled"
    assert version(offline) == pipeline.__version__
    offline.settle("collection_interval_ms = 200\n")
    ticks = offline.until_ticks()
    # The user of the service knows where its data is.
    assert "FAILED" not in offline.run(
        "sudo -u metrics-pipeline metrics-pipeline --config-dir /etc/metrics-pipeline doctor"
    )

    # An upgrade keeps the settings, though both sides changed them, the data, and the service.
    offline.run(after)
    assert version(offline) == NEXT
    assert offline.show("ActiveState") == "active"
    assert offline.status()["collection_interval_ms"] == 200
    ticks = upward(offline, ticks)

    # A rollback, too.
    offline.run(now)
    assert version(offline) == pipeline.__version__
    ticks = upward(offline, ticks)
    assert offline.status()["lost"] == {}

    # An administrator who has stopped and disabled the service is obeyed.
    offline.run(f"systemctl disable --now {UNIT}")
    offline.run(after)
    assert offline.show("ActiveState") == "inactive"
    offline.run(f"systemctl enable --now {UNIT}")
    upward(offline, ticks)

    # A removal leaves what is the user's, a purge nothing.
    offline.run("apt-get remove -y metrics-pipeline")
    assert offline.try_(f"systemctl is-active {UNIT}").stdout.strip() == "inactive"
    left = offline.run(f"ls -d {FOLDERS} 2>/dev/null || true").split()
    assert left == FOLDERS.split()[1:]
    offline.run("apt-get purge -y metrics-pipeline")
    assert offline.run(f"ls -d {FOLDERS} /etc/credstore/metrics* 2>/dev/null || true") == ""
    assert offline.try_("id metrics-pipeline").returncode == 1
    assert offline.run("systemctl --failed --plain --no-legend") == ""


def upward(one: Machine, ticks: int) -> int:
    """Wait for readings beyond those that there were: the store was kept, and goes on."""
    assert one.status()["ticks"] >= ticks
    return one.until_ticks()


def test_what_waits_is_delivered_by_the_version_after(
    installed: Machine, packages: dict[str, Path], influx_process: InfluxProcess
) -> None:
    server = influx_process.server
    installed.write("/etc/credstore/metrics-pipeline.influxdb_token", server.token, 0o600)
    influx_process.stop()
    installed.write(
        "/etc/metrics-pipeline/settings.toml",
        f"""
        collection_interval_ms = 200
        flush_interval_ms = 100
        influxdb_url = "{server.url}"
        influxdb_org = "{server.org}"
        influxdb_bucket = "rollout"
        """,
    )
    installed.run(f"systemctl restart {UNIT}")
    installed.until_ticks()
    waiting = installed.status()["backlog_points"]
    assert waiting > 0
    installed.run(f"{INSTALL} {put(installed, packages['next'])}")
    assert version(installed) == NEXT
    influx_process.start()
    eventually(lambda: installed.status()["delivered_points"] > waiting, "it is delivered")
    assert installed.status()["lost"] == {}
