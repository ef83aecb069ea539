"""The checks: what InfluxDB looks at by itself, and from which value on it is a matter.

InfluxDB rewrites a check's query: it puts the time from one run to the next in place of every
`start` and `every`, and takes the field from the one comparison with `_field`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# A message is made for each level. A quotation mark within `${}` is an error of the server.
_SILENCE = (
    "string(v: duration(v: (int(v: r._time) - r._source_timestamp) / 1000000000 * 1000000000))"
)
_PERCENT, _WAITING = (
    f"string(v: float(v: int(v: r.{field} * 10.0)) / 10.0)" for field in ("used_percent", "avg60")
)


@dataclass(frozen=True, slots=True)
class Check:
    """A check; its query has BUCKET in place of the bucket's literal.

    Attributes:
        name: Its name.
        description: What it is for.
        query: The series to look at.
        message: What a status says; Flux, with a row as `r`.
        every: The time from one run to the next.
        above: The level of a status, by the value above which it holds.
        silent_for: In place of `above`: how long a series must be silent to be critical.
    """

    name: str
    description: str
    query: str
    message: str
    every: str
    above: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    silent_for: str = ""


CHECKS = (
    Check(
        "Host is silent",
        "No reading for 5 minutes; a host that has been silent for a day is forgotten.",
        """from(bucket: BUCKET)
  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
  |> filter(fn: (r) => r._measurement == "system")
  |> filter(fn: (r) => r._field == "uptime")""",
        f"${{r.host}} was last heard of ${{{_SILENCE}}} ago",
        every="1m",
        silent_for="5m",
    ),
    Check(
        "File system is nearly full",
        "Of those that can be written to, root's reserve left out.",
        """from(bucket: BUCKET)
  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
  |> filter(fn: (r) => r._measurement == "disk")
  |> filter(fn: (r) => r._field == "used_percent")
  |> filter(fn: (r) => r.mode != "ro")
  |> last()""",
        f"${{r.host}}: ${{r.path}} is ${{{_PERCENT}}} % full",
        every="5m",
        above={"WARN": 85.0, "CRIT": 95.0},
    ),
    Check(
        "Memory is nearly used up",
        "The share that programs could not get, as a mean over 5 minutes.",
        """from(bucket: BUCKET)
  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
  |> filter(fn: (r) => r._measurement == "mem")
  |> filter(fn: (r) => r._field == "used_percent")
  |> mean()
  |> duplicate(column: "_stop", as: "_time")""",
        f"${{r.host}}: ${{{_PERCENT}}} % of the memory is in use",
        every="5m",
        above={"WARN": 90.0, "CRIT": 97.0},
    ),
    # systemd-oomd ends programs at 60 %, oomd.conf(5): half of it is critical.
    Check(
        "Programs wait for memory",
        "The share of time in which all that had work to do waited for memory, as a mean over 5"
        " minutes.",
        """from(bucket: BUCKET)
  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
  |> filter(fn: (r) => r._measurement == "pressure")
  |> filter(fn: (r) => r._field == "avg60")
  |> filter(fn: (r) => r.resource == "memory" and r.type == "full")
  |> mean()
  |> duplicate(column: "_stop", as: "_time")""",
        f"${{r.host}}: all programs wait for memory ${{{_WAITING}}} % of the time",
        every="5m",
        above={"WARN": 10.0, "CRIT": 30.0},
    ),
    Check(
        "Units have failed",
        "Of systemd's, on hosts where the collector systemd_units is on.",
        """from(bucket: BUCKET)
  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
  |> filter(fn: (r) => r._measurement == "systemd_units")
  |> filter(fn: (r) => r._field == "failed")
  |> last()""",
        "${r.host}: of systemd's units, ${string(v: r.failed)} failed: systemctl --failed",
        every="5m",
        above={"WARN": 0.5},
    ),
    Check(
        "Agent loses data",
        "Points that were lost, whatever the cause, within 15 minutes. What was lost between the"
        " last point of one run and the first of the next is on the dashboard alone.",
        """from(bucket: BUCKET)
  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
  |> filter(fn: (r) => r._measurement == "metrics_agent")
  |> filter(fn: (r) => r._field =~ /^lost_/)
  |> difference(nonNegative: true, initialZero: true)
  |> group(columns: ["_measurement", "host", "_start", "_stop"])
  |> sum()
  |> duplicate(column: "_stop", as: "_time")
  |> toFloat()
  |> set(key: "_field", value: "lost_points")
  |> filter(fn: (r) => r._field == "lost_points")""",
        "${r.host}: the agent has lost ${string(v: int(v: r.lost_points))} points",
        every="15m",
        above={"CRIT": 0.5},
    ),
    Check(
        "Agent loses data for a mirror",
        "Points that never reach that server, whatever the cause, within 15 minutes.",
        """from(bucket: BUCKET)
  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
  |> filter(fn: (r) => r._measurement == "metrics_delivery")
  |> filter(fn: (r) => r._field =~ /^lost_/)
  |> filter(fn: (r) => r.server != "main")
  |> difference(nonNegative: true, initialZero: true)
  |> group(columns: ["_measurement", "host", "server", "_start", "_stop"])
  |> sum()
  |> duplicate(column: "_stop", as: "_time")
  |> toFloat()
  |> set(key: "_field", value: "lost_points")
  |> filter(fn: (r) => r._field == "lost_points")""",
        "${r.host}: the agent has lost ${string(v: int(v: r.lost_points))} points for mirror"
        " ${r.server}",
        every="15m",
        above={"CRIT": 0.5},
    ),
)
