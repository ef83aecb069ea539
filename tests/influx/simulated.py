"""Readings of simulated hosts, and what InfluxDB's pages ask for.

The readings have every field of the catalogue; each host is busy in its own way.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import product

from pipeline.collectors import catalogue
from pipeline.collectors.catalogue import Entry

MINUTE_NS = 60 * 10**9
# Each tag's values; another tag has one.
_TAGS = {
    "cpu": ("cpu-total", "cpu0", "cpu1", "cpu2", "cpu3"),
    "path": ("/", "/srv"),
    "interface": ("eth0", "wg0"),
    "collector": ("cpu", "disk"),
    "process_name": tuple(f"program-{n}" for n in range(12)),
}
_SPARSE = "metrics_gap"
# Off by default, and of each core of a host.
_RARE = ("conntrack", ("cpu",))
PAGE = "http://server/orgs/0/dashboards/1?vars%5Bmetrics_bucket%5D="


def name(host: int) -> str:
    """What a simulated host is called."""
    return f"web-{host:02}.example.net"


def _series() -> Iterator[tuple[str, list[Entry]]]:
    """Each series of a host: its measurement with its own tags, and its fields."""
    together = defaultdict(list)
    for entry in catalogue.load():
        if entry.measurement != _SPARSE and (entry.measurement, entry.tags) != _RARE:
            together[entry.measurement, entry.tags].append(entry)
    for (measurement, tags), entries in together.items():
        for values in product(*(_TAGS.get(tag, ("one",)) for tag in tags)):
            pairs = (f",{tag}={value}" for tag, value in zip(tags, values, strict=True))
            yield f"{measurement}%s{''.join(pairs)}", entries


def _value(entry: Entry, host: int, minute: int) -> str:
    if entry.type == "string":
        return f'"1.{host % 3}.0"'
    grown = (host + 1) * 1000 * (minute if entry.kind == "counter" else 1)
    number = (13 * host + 7 * minute) % 100 if entry.unit == "percent" else grown
    return f"{number}i" if entry.type == "integer" else f"{number}.25"


def lines(hosts: int, minutes: int, now_ns: int, silent: tuple[int, ...] = ()) -> Iterator[str]:
    """Yield line protocol: a reading of each host in each of the last minutes.

    Args:
        hosts: How many there are.
        minutes: For how long.
        now_ns: The time of the last reading.
        silent: Those that have sent nothing in the last 10 minutes.
    """
    series = [*_series()]
    for host in range(hosts):
        tag = f",host={name(host)}"
        gap = f"readings={host}i,seconds=180.0 {now_ns - 20 * MINUTE_NS}"
        yield f"{_SPARSE}{tag},cause=agent_down {gap}"
        for minute in range(minutes):
            ago = minutes - 1 - minute
            if host in silent and ago < 10:
                continue
            stamp = now_ns - ago * MINUTE_NS
            for key, entries in series:
                fields = ",".join(f"{e.field}={_value(e, host, minute)}" for e in entries)
                yield f"{key % tag} {fields} {stamp}"


def chosen(flux: str, bucket: str, host: str, start: str = "-1h") -> str:
    """Return a cell's query with what is chosen above its dashboard in it."""
    values = {
        "metrics_bucket": f'"{bucket}"',
        "metrics_host": f'"{host}"',
        "timeRangeStart": start,
        "timeRangeStop": "now()",
        "windowPeriod": "10s",
    }
    flux = re.sub(r"\bv\.(\w+)", lambda match: values[match[1]], flux)
    return re.sub(r"\bPAGE\b", f'"{PAGE}"', flux)
