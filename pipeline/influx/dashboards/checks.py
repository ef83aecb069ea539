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


def _query(measurement: str, *steps: str) -> str:
    return "\n  |> ".join(
        [
            "from(bucket: BUCKET)",
            "range(start: v.timeRangeStart, stop: v.timeRangeStop)",
            f'filter(fn: (r) => r._measurement == "{measurement}")',
            *steps,
        ]
    )


def _field(name: str) -> str:
    return f'filter(fn: (r) => r._field == "{name}")'


_AT_ITS_END = 'duplicate(column: "_stop", as: "_time")'
_MEAN = ("mean()", _AT_ITS_END)
_LOST = "filter(fn: (r) => r._field =~ /^lost_/)"
_GROWTH = "difference(nonNegative: true, initialZero: true)"
_SUM = (
    *("sum()", _AT_ITS_END, "toFloat()"),
    *('set(key: "_field", value: "lost_points")', _field("lost_points")),
)

CHECKS = (
    Check(
        "Host is silent",
        "No reading for 5 minutes; a host that has been silent for a day is forgotten.",
        _query("system", _field("uptime")),
        f"${{r.host}} was last heard of ${{{_SILENCE}}} ago",
        every="1m",
        silent_for="5m",
    ),
    Check(
        "File system is nearly full",
        "Of those that can be written to, root's reserve left out.",
        _query("disk", _field("used_percent"), 'filter(fn: (r) => r.mode != "ro")', "last()"),
        f"${{r.host}}: ${{r.path}} is ${{{_PERCENT}}} % full",
        every="5m",
        above={"WARN": 85.0, "CRIT": 95.0},
    ),
    Check(
        "Memory is nearly used up",
        "The share that programs could not get, as a mean over 5 minutes.",
        _query("mem", _field("used_percent"), *_MEAN),
        f"${{r.host}}: ${{{_PERCENT}}} % of the memory is in use",
        every="5m",
        above={"WARN": 90.0, "CRIT": 97.0},
    ),
    # systemd-oomd ends programs at 60 %, oomd.conf(5): half of it is critical.
    Check(
        "Programs wait for memory",
        "The share of time in which all that had work to do waited for memory, as a mean over 5"
        " minutes.",
        _query(
            "pressure",
            _field("avg60"),
            'filter(fn: (r) => r.resource == "memory" and r.type == "full")',
            *_MEAN,
        ),
        f"${{r.host}}: all programs wait for memory ${{{_WAITING}}} % of the time",
        every="5m",
        above={"WARN": 10.0, "CRIT": 30.0},
    ),
    Check(
        "Units have failed",
        "Of systemd's, on hosts where the collector systemd_units is on.",
        _query("systemd_units", _field("failed"), "last()"),
        "${r.host}: failed systemd units: ${string(v: r.failed)} (systemctl --failed)",
        every="5m",
        above={"WARN": 0.5},
    ),
    Check(
        "Agent loses data",
        "Points that were lost, whatever the cause, within 15 minutes. What was lost between the"
        " last point of one run and the first of the next is on the dashboard alone.",
        _query(
            "metrics_agent",
            _LOST,
            _GROWTH,
            'group(columns: ["_measurement", "host", "_start", "_stop"])',
            *_SUM,
        ),
        "${r.host}: the agent has lost ${string(v: int(v: r.lost_points))} points",
        every="15m",
        above={"CRIT": 0.5},
    ),
    Check(
        "Agent loses data for a mirror",
        "Points that never reach that server, whatever the cause, within 15 minutes.",
        _query(
            "metrics_delivery",
            _LOST,
            'filter(fn: (r) => r.server != "main")',
            _GROWTH,
            'group(columns: ["_measurement", "host", "server", "_start", "_stop"])',
            *_SUM,
        ),
        "${r.host}: the agent has lost ${string(v: int(v: r.lost_points))} points for mirror"
        " ${r.server}",
        every="15m",
        above={"CRIT": 0.5},
    ),
)
