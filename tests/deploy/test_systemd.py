"""The unit under a real systemd: it starts, is watched, restarted, reloaded, and sees it all."""

import json
import os
import re

import pytest

from tests.agents import SELDOM_MS, eventually
from tests.deploy.machine import ANEW, UNIT, Machine
from tests.influxd import api
from tests.influxd.api import Bucket

DROP_IN = f"/etc/systemd/system/{UNIT}.d/test.conf"


@pytest.fixture
def running(installed: Machine) -> Machine:
    """The machine with its agent started anew, and restarted at once whatever ends it."""
    installed.settle()
    change(installed, "RestartSec=100ms")
    return installed


def change(machine: Machine, *lines: str) -> None:
    """Change the unit, and start it anew."""
    machine.write(DROP_IN, "\n".join(("[Service]", *lines, "")))
    machine.try_(ANEW)


def pid_of(machine: Machine) -> int:
    return int(machine.show("MainPID"))


def deliver_to(machine: Machine, bucket: Bucket) -> None:
    """Set all that delivering takes; the token is a credential."""
    server = bucket.server
    machine.write("/etc/credstore/metrics-pipeline.influxdb_token", server.token, 0o600)
    machine.write(
        "/etc/metrics-pipeline/settings.toml",
        f"""
        collection_interval_ms = 200
        flush_interval_ms = 100
        host = "h1"
        influxdb_url = "{server.url}"
        influxdb_org = "{server.org}"
        influxdb_bucket = "{bucket.name}"
        """,
    )


def series(points: list[dict[str, object]]) -> set[str]:
    return {json.dumps([p["measurement"], p["tags"]], sort_keys=True) for p in points}


def test_systemd_finds_nothing_wrong_with_the_unit_and_it_hardened(running: Machine) -> None:
    running.run(f"rm -r $(dirname {DROP_IN}); systemctl daemon-reload")
    assert running.run(f"systemd-analyze verify {UNIT}") == ""
    # `--threshold` is ten times the figure that docs/deploy.md has.
    running.run(f"systemd-analyze security --no-pager --threshold=17 {UNIT}")


def test_it_is_ready_when_its_first_reading_is_durable(running: Machine) -> None:
    running.settle(f"collection_interval_ms = {SELDOM_MS}\n")
    running.run(f"systemctl stop {UNIT}")
    before = running.status()["ticks"]
    running.run(f"systemctl start {UNIT}")
    assert running.status()["ticks"] == before + 1
    assert running.show("StatusText").endswith(" points a reading")


def test_it_runs_as_its_own_user_with_its_own_folder_and_no_rights(running: Machine) -> None:
    status = running.run(f"cat /proc/{pid_of(running)}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert set(fields["Uid"].split()) == {running.run("id -u metrics-pipeline")}
    assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {0}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    owner = running.run("stat -c '%U %a' /var/lib/metrics-pipeline /etc/metrics-pipeline")
    assert owner.splitlines() == ["metrics-pipeline 750", "root 755"]


def test_every_default_collector_delivers_and_sees_what_is_seen_without_hardening(
    running: Machine, bucket: Bucket
) -> None:
    server = bucket.server
    deliver_to(running, bucket)
    change(running)
    eventually(lambda: running.status()["delivered_points"] > 100, "points are delivered")
    most = running.run(f"grep VmHWM /proc/{pid_of(running)}/status").split()[1]
    assert int(most) < 64 * 1024, "it is to live under 64 MiB"
    seen = json.loads(running.run("METRICS_HOST=h1 metrics-pipeline once --json"))
    names = {point["measurement"] for point in seen}
    assert names >= {"cpu", "disk", "mem", "net", "processes", "swap", "system", "system_metrics"}
    assert {p["tags"]["path"] for p in seen if p["measurement"] == "disk"} >= {"/", "/home"}
    kept = json.loads(
        running.run("metrics-pipeline --config-dir /etc/metrics-pipeline show --json")
    )
    assert series([one for one in kept if one["measurement"] != "metrics_agent"]) >= series(seen)
    extra = {json.loads(one)[0] for one in series(kept) - series(seen) if '"h1"' in one}
    assert extra - {"metrics_gap"} == {"metrics_agent"}
    query = (
        f'from(bucket: "{bucket.name}") |> range(start: -1h) |> last()'
        ' |> keep(columns: ["_measurement"])'
    )
    delivered = {row["_measurement"] for row in api.query(server, query)}
    assert delivered - {"metrics_gap"} == names | {"metrics_agent"}
    process = json.loads(running.run("METRICS_HOST=h1 metrics-pipeline once --json"))
    (counts,) = [p["fields"] for p in process if p["measurement"] == "processes"]
    assert counts["total"] > 5


def test_what_is_off_by_default_sees_units_and_control_groups_once_it_is_on(
    running: Machine,
) -> None:
    running.try_("systemd-run --quiet --wait --unit=broken-one false")
    names = ("systemd_units", "cgroup", "netstat", "interrupts")
    tables = "".join(f"[collectors.{name}]\nenabled = true\n" for name in names)
    running.settle(f"collection_interval_ms = 200\n{tables}")
    running.until_ticks()
    shown = running.run("metrics-pipeline --config-dir /etc/metrics-pipeline show --json")
    newest = {
        (one["measurement"], one["tags"].get("name"), one["field"]): one["samples"][-1][1]
        for one in sorted(json.loads(shown), key=lambda one: int(one["samples"][-1][0]))
    }
    assert newest["systemd_units", "broken-one.service", "active_code"] == 3
    assert newest["systemd_units", "dbus.service", "active_code"] == 0
    failed = running.run("systemctl list-units --failed --plain --no-legend").splitlines()
    assert newest["systemd_units", None, "failed"] == len(failed) >= 1
    assert {key[0] for key in newest} >= {"netstat", "interrupts", "soft_interrupts"}
    told = running.status()["troubles"]
    troubles = {what: why for what, why in told.items() if what.startswith("collector ")}
    if running.run("stat -f -c %T /sys/fs/cgroup") == "cgroup2fs":
        assert newest["cgroup", UNIT, "cpu.stat.usage_usec"] > 0
        assert troubles == {}
    else:  # as this machine has them
        assert "no control groups of version 2 alone" in troubles["collector cgroup"]
        assert troubles.keys() == {"collector cgroup"}
    running.run("systemctl reset-failed broken-one.service")


@pytest.mark.parametrize(
    ("name", "why"), [("SIGSTOP", "Watchdog timeout"), ("SIGKILL", "status=9/KILL")]
)
def test_a_process_that_stops_or_is_killed_is_restarted_and_loses_nothing(
    running: Machine, name: str, why: str
) -> None:
    change(running, "WatchdogSec=2", "RestartSec=100ms")
    lost = running.status()["lost"]  # by collectors that an earlier test switched on
    ticks, before = running.until_ticks(), pid_of(running)
    running.run(f"systemctl kill --kill-whom=main --signal={name} {UNIT}")

    def another() -> bool:
        return running.show("ActiveState") == "active" and pid_of(running) not in {0, before}

    eventually(another, "the agent is started again")
    assert why in running.journal()
    assert running.until_ticks() > ticks
    assert {**running.status()["lost"], "tick_missed": 0} == {**lost, "tick_missed": 0}


def test_reload_takes_changed_settings_without_a_restart(running: Machine) -> None:
    before = pid_of(running)
    running.write("/etc/metrics-pipeline/settings.toml", "collection_interval_ms = 300\n")
    running.run(f"systemctl reload {UNIT}")
    eventually(lambda: running.status()["collection_interval_ms"] == 300, "the interval changes")
    running.until_ticks()
    assert pid_of(running) == before


def test_a_stop_is_clean(running: Machine) -> None:
    running.until_ticks()
    running.run(f"systemctl stop {UNIT}")
    assert (running.show("Result"), running.show("ExecMainStatus")) == ("success", "0")
    # The processor time comes after it, if that was long.
    assert (
        "Metrics collection stopped\n"
        f"{UNIT}: Deactivated successfully.\n"
        "Stopped metrics-pipeline.service - Metrics of this machine to InfluxDB.\n"
    ) in running.journal()


# ---- Bad input: one clear sentence, the right status, and no restarts that cannot help


def ends(machine: Machine, status: int) -> str:
    """Wait until the unit has given up; return the sentences of severity error, or of systemd."""
    eventually(lambda: machine.show("ActiveState") == "failed", "the unit gives up")
    assert machine.show("ExecMainStatus") == str(status)
    assert machine.show("NRestarts") == "0"
    return machine.run(f"journalctl --no-pager -o cat -p err -u {UNIT} -n 3")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            "retention_hours = -1\n",
            "metrics-pipeline: /etc/metrics-pipeline/settings.toml: retention_hours = -1 must be ",
        ),
        (
            'influxdb_url = "http://127.0.0.1:1"\ninfluxdb_org = "o"\ninfluxdb_bucket = "b"\n',
            "influxdb_url needs influxdb_token, which is not set: set it in "
            "/etc/metrics-pipeline/.secrets.toml, by METRICS_INFLUXDB_TOKEN "
            "or as the credential influxdb_token of the service",
        ),
    ],
)
def test_settings_that_are_wrong_are_told_and_not_tried_again(
    running: Machine, settings: str, says: str
) -> None:
    running.write("/etc/metrics-pipeline/settings.toml", settings)
    change(running, "RestartSec=100ms")
    assert says in ends(running, os.EX_CONFIG)


def test_a_folder_of_settings_that_is_gone_is_told(running: Machine) -> None:
    running.run("mv /etc/metrics-pipeline /etc/elsewhere")
    try:
        change(running, "RestartSec=100ms")
        says = "--config-dir: '/etc/metrics-pipeline' must be an existing folder"
        assert says in ends(running, os.EX_CONFIG)
    finally:
        running.run("mv /etc/elsewhere /etc/metrics-pipeline")


def test_an_unknown_user_is_told_and_not_tried_again(running: Machine) -> None:
    change(running, "User=nobody-such", "RestartSec=100ms")
    eventually(lambda: running.show("ActiveState") == "failed", "the unit gives up")
    assert (running.show("ExecMainStatus"), running.show("NRestarts")) == ("217", "0")
    assert "Failed to determine user credentials: No such process" in running.run(
        "journalctl --no-pager -n 30"
    )


def test_a_state_folder_that_cannot_be_written_is_told_until_it_is_mended(running: Machine) -> None:
    data = "/var/lib/metrics-pipeline"
    running.write("/etc/metrics-pipeline/settings.toml", 'data_dir = "/srv/data"\n')
    running.run("mkdir -p /srv/data")
    change(running, "RestartSec=100ms")
    eventually(lambda: int(running.show("NRestarts")) > 1, "it is tried again")
    assert "code=exited, status=1/FAILURE" in running.journal()
    assert (
        "metrics-pipeline: data directory /srv/data cannot be used: Read-only file system; "
        "make it writable for this user, or set data_dir"
    ) in running.journal()
    running.write("/etc/metrics-pipeline/settings.toml", "")
    eventually(lambda: running.show("ActiveState") == "active", "it runs")
    assert running.status()["data_dir"] == data


def test_a_clock_that_is_years_off_is_told(running: Machine, bucket: Bucket) -> None:
    deliver_to(running, bucket)
    library = running.run("ls /usr/lib/*/faketime/libfaketime.so.1")
    change(
        running,
        f"Environment=LD_PRELOAD={library} FAKETIME=-2000d FAKETIME_DONT_FAKE_MONOTONIC=1",
        "RestartSec=100ms",
    )
    # InfluxDB's date has whole seconds.
    says = r"This machine's clock is (1999|2000) days, \S+ behind InfluxDB's; set it"
    eventually(lambda: re.search(says, running.journal()), "it is told")
    assert running.show("ActiveState") == "active"


def test_without_ipv4_it_runs_and_says_what_is_off(running: Machine) -> None:
    change(
        running, "RestrictAddressFamilies=", "RestrictAddressFamilies=AF_INET6 AF_UNIX AF_NETLINK"
    )
    running.until_ticks()
    assert (
        "The endpoint is off, port 8687 cannot be used (Address family not supported by protocol); "
        "set another http_port, or 0"
    ) in running.journal()


def test_what_it_may_cost_is_what_the_unit_says(running: Machine) -> None:
    assert running.show("MemoryMax") == str(128 * 2**20)
    assert running.show("CPUQuotaPerSecUSec") == "200ms"
    limits = running.run(f"cat /proc/{pid_of(running)}/limits")
    files, core = (
        next(line.split()[-3:-1] for line in limits.splitlines() if line.startswith(name))
        for name in ("Max open files", "Max core file size")
    )
    assert (files, core) == (["1024", "1024"], ["0", "0"])
