"""A store with a history like that of a host, made in an instant."""

import math
from pathlib import Path

from hypothesis import strategies as st

from pipeline.point import Point, encode
from pipeline.spool import Spool
from tests.clocks import START_NS

SECOND = 10**9
ODD_VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.text(max_size=50),
    st.sampled_from([1.7e308, -1.7e308, 5e-324, -5e-324, -40.0, 0]),
)
"""Values of a field as a file may have them."""


def points(second: int, names: dict[str, str]) -> list[Point]:
    """A reading: quiet, with a busy time now and then."""
    wave = math.sin(second / 1800) + math.sin(second / 237) / 3
    busy = max(0.0, math.sin(second / 5000)) ** 8
    active = 12 + 6 * wave + 55 * busy
    load = 0.4 + 0.2 * wave + 3 * busy
    # What is counted grows by the integral of a rate.
    received = 4e5 * second - 4e8 * math.cos(second / 1800) + 4e8
    whole = {"usage_active": active, "usage_user": 0.7 * active, "usage_system": 0.2 * active}
    whole |= {"usage_iowait": 4 * busy, "usage_softirq": 0.1, "usage_steal": 0.0}
    return [
        Point("cpu", whole, {"cpu": "cpu-total"}),
        Point("cpu", {"usage_active": active, "usage_iowait": 0.0}, {"cpu": "cpu0"}),
        Point("mem", {"used_percent": 41 + 3 * wave + 9 * busy, "used": 1}),
        Point("swap", {"used_percent": 2.5}),
        Point("disk", {"used_percent": 63 + second / 1e5}, {"path": names.get("path", "/")}),
        Point("disk", {"used_percent": 21.0}, {"path": "/srv"}),
        Point(
            "net",
            {"bytes_recv": int(received), "bytes_sent": int(received / 7)},
            {"interface": names.get("interface", "eth0")},
        ),
        Point("net", {"bytes_recv": 50 * second, "bytes_sent": 900 * second}, {"interface": "wg0"}),
        Point(
            "diskio",
            {"read_bytes": 100 * second, "write_bytes": int(received / 3)},
            {"name": "sda"},
        ),
        *(
            Point("pressure", {"avg60": share * busy}, {"resource": resource, "type": kind})
            for resource, kind, share in (
                *(("cpu", "some", 30), ("memory", "some", 4), ("memory", "full", 2)),
                *(("io", "some", 5), ("io", "full", 3)),
            )
        ),
        Point("system", {"load1": load, "load5": load * 0.9, "load15": 0.5, "n_cpus": 4}),
        Point("processes", {"total": 212, "running": 2, "blocked": 1, "zombies": 0}),
        Point("temp", {"temp": 44 + 4 * wave + 18 * busy}, {"sensor": names.get("sensor", "cpu")}),
    ]


def fill(
    directory: Path,
    hours: float = 1,
    step_s: int = 60,
    names: dict[str, str] | None = None,
    now_ns: int = START_NS,
    gap: tuple[float, float] = (0, 0),
) -> None:
    """Fill a store with readings up to now, but for a gap from so many to so many hours ago."""
    directory.mkdir(exist_ok=True)
    with Spool(directory, 2**30) as spool:
        for second in range(0, int(hours * 3600) + 1, step_s):
            ago_s = hours * 3600 - second
            if gap[1] * 3600 < ago_s < gap[0] * 3600:
                continue
            time_ns = now_ns - int(ago_s) * SECOND
            host = {"host": "h1"}
            spool.append(
                [encode(one, time_ns, host) for one in points(second, names or {})], time_ns
            )
