"""The unit of each field as its source has it; the catalogue is held to this table.

Sources: Telegraf 1.37.2, the README of each input; proc(5) and the kernel's admin-guide/iostats for
diskio, its accounting/psi for pressure, its admin-guide/sysctl/fs, admin-guide/cgroup-v2 and
hwmon/sysfs-interface; random(4); gopsutil's host and mem for the rest.
"""

import re

_UNITS = (
    ("system_metrics", "cpu_temperature", "celsius"),
    ("system_metrics", r".*_(percent|usage)", "percent"),
    ("system_metrics", ".*", "bytes"),
    ("cpu", "usage_.*", "percent"),
    ("cpu", "time_.*", "seconds"),
    ("mem", ".*_percent", "percent"),
    ("mem", "huge_pages_.*", "count"),
    ("swap", "used_percent", "percent"),
    ("mem|swap", ".*", "bytes"),
    ("disk", ".*_percent", "percent"),
    ("disk", "inodes_.*", "count"),
    ("disk", ".*", "bytes"),
    ("diskio", ".*_bytes", "bytes"),
    ("diskio", ".*_time", "milliseconds"),
    ("diskio", "io_util", "percent"),
    ("diskio", ".*", "count"),
    ("net", "bytes_.*", "bytes"),
    ("net", "speed", "Mbit/s"),
    ("net", ".*", "count"),
    ("system", "uptime", "seconds"),
    ("system", "uptime_format", "text"),
    ("system", ".*", "count"),
    ("processes", ".*", "count"),
    ("process", "cpu_usage", "percent"),
    ("process", "memory_rss", "bytes"),
    ("process", ".*", "count"),
    ("temp", "temp", "celsius"),
    ("kernel", "boot_time", "seconds"),
    ("kernel", "entropy_avail", "bits"),
    ("pressure", "avg.*", "percent"),
    ("pressure", "total", "microseconds"),
    ("nstat", "IpExt(In|Out)Octets", "bytes"),
    ("linux_sysctl_fs", "dentry-age-limit", "seconds"),
    ("kernel|nstat|conntrack|linux_sysctl_fs", ".*", "count"),
    ("netstat|interrupts|soft_interrupts", ".*", "count"),
    ("systemd_units", ".*_code", "code"),
    ("systemd_units", ".*", "count"),
    ("cgroup", r"memory\.events\..*|pids\..*|cpu\.stat\.nr_.*|io\.stat\..ios", "count"),
    ("cgroup", r"cpu\.stat\..*", "microseconds"),
    ("cgroup", ".*", "bytes"),
    ("sensors", "fan_input", "rpm"),
    ("sensors", "in_input", "volts"),
    ("sensors", "curr_input", "amperes"),
    ("sensors", "power_input", "watts"),
    ("sensors", "battery_percent", "percent"),
    ("sensors", "battery_discharging", "boolean"),
    ("metrics_gap", "readings", "count"),
    ("metrics_gap", "seconds", "seconds"),
    ("metrics_gap", "start_ns", "nanoseconds"),
    ("metrics_agent", "version", "text"),
    ("metrics_agent|metrics_delivery", ".*_ms", "milliseconds"),
    ("metrics_agent|metrics_delivery", ".*_s", "seconds"),
    ("metrics_agent|metrics_delivery", ".*_bytes|memory_rss", "bytes"),
    ("metrics_agent|metrics_delivery", ".*", "count"),
)


def unit(measurement: str, field: str) -> str:
    """Return the unit of a field."""
    for its, pattern, unit in _UNITS:
        if re.fullmatch(its, measurement) and re.fullmatch(pattern, field):
            return unit
    where = "tests/collectors/units.py"
    raise LookupError(f"{where} has no row for {measurement}.{field}: add the unit of its source")
