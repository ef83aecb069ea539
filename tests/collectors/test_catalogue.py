import re

from pipeline.collectors.catalogue import load

# The unit of each field as its source has it; the first that has a field of a measurement.
# Sources: Telegraf 1.37.2, the README of each input; proc(5) and the kernel's admin-guide/iostats
# for diskio, its accounting/psi for pressure, its admin-guide/sysctl/fs, admin-guide/cgroup-v2 and
# hwmon/sysfs-interface; random(4); gopsutil's host and mem for the rest.
UNITS = (
    ("celsius", ".* temp|.*_temperature"),
    ("microseconds", "pressure total|cgroup cpu.stat..*_usec"),
    ("percent", r".*_percent|.* .*usage.*|.* io_util|pressure avg.*"),
    ("bytes", "system_metrics .*|cgroup memory.(swap.)?(current|max)|process memory_rss"),
    ("count", "mem huge_pages_.*|disk inodes_.*"),
    ("bytes", "(mem|swap|disk) .*|diskio .*_bytes|net bytes_.*|cgroup io.stat..bytes"),
    ("bytes", "nstat IpExt(In|Out)Octets|metrics_.* (.*_bytes|memory_rss)"),
    ("milliseconds", "diskio .*_time|metrics_.*_ms"),
    ("nanoseconds", "metrics_gap start_ns"),
    ("seconds", "cpu time_.*|system uptime|kernel boot_time|linux_sysctl_fs dentry-age-limit"),
    ("seconds", "metrics_gap seconds|metrics_.*_s"),
    ("Mbit/s", "net speed"),
    ("bits", "kernel entropy_avail"),
    ("text", "system uptime_format|metrics_agent version"),
    ("code", "systemd_units .*_code"),
    ("rpm", "sensors fan_input"),
    ("volts", "sensors in_input"),
    ("amperes", "sensors curr_input"),
    ("watts", "sensors power_input"),
    ("boolean", "sensors battery_discharging"),
    ("count", "(diskio|net|system|processes|process|kernel|nstat|conntrack|linux_sysctl_fs) .*"),
    ("count", "(netstat|(soft_)?interrupts|systemd_units|cgroup|metrics_.*) .*"),
)


def test_every_entry_is_complete_and_the_only_one_of_its_field() -> None:
    for entry in load():
        assert entry.type in {"float", "integer", "string", "boolean"}
        assert (entry.kind == "text") == (entry.type == "string")
        assert entry.kind in {"gauge", "counter", "text"}
        assert entry.meaning
    fields = [(entry.measurement, entry.field) for entry in load()]
    assert len({*fields}) == len(fields)


def test_what_counts_since_something_began_is_a_counter() -> None:
    counting = {entry for entry in load() if "since boot" in entry.meaning.lower()}
    assert len(counting) > 20
    assert {entry.kind for entry in counting if entry.type != "string"} == {"counter"}


def test_every_field_has_the_unit_of_its_source() -> None:
    names = {(entry.measurement, entry.field): entry.unit for entry in load()}
    expected = {
        (measurement, field): next(
            unit for unit, its in UNITS if re.fullmatch(its, f"{measurement} {field}")
        )
        for measurement, field in names
    }
    assert names == expected
