"""The charts of the page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.spool import Series, SeriesFilter


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        title: Its heading.
        unit: The unit, as the catalogue names it; "" for a mere number.
        lines: Name and series of each line; a line without a name is named by its series' tag.
        high: Its upper edge, unless a value is greater.
        optional: Whether it is left out where there is nothing to show.
    """

    title: str
    unit: str
    lines: tuple[tuple[str, SeriesFilter], ...]
    high: float = 1.0
    optional: bool = False

    def all(self, series: Iterable[Series]) -> list[Series]:
        """Return its series out of all series, in its own order."""
        found = [one for one in series if one.summary and self._place(one) >= 0]
        return sorted(found, key=lambda one: (self._place(one), self.name(one)))

    def name(self, series: Series) -> str:
        """Return the name of a line."""
        return self.lines[self._place(series)][0] or tag(series) or series.field

    @property
    def rate(self) -> bool:
        """Whether its lines are a growth per second."""
        return self.lines[0][1].rate

    def question(self) -> str:
        """Return the command that shows all its lines."""
        _, one = self.lines[0]
        return f"metrics-pipeline show {one.measurement} {one.field}{' --rate' * one.rate}"

    def _place(self, series: Series) -> int:
        places = (place for place, (_, wanted) in enumerate(self.lines) if is_of(wanted, series))
        return next(places, -1)


def tag(series: Series) -> str:
    """Return what tells a series apart from others of its field, such as the path of a disk."""
    return "".join(series.tags.get(name, "") for name in ("path", "interface", "name", "sensor"))


def is_of(wanted: SeriesFilter, series: Series) -> bool:
    """Return whether a series was read for a filter."""
    return wanted.field == series.field and wanted.matches(series.measurement, series.tags)


def greatest(series: Sequence[Series], most: int) -> list[Series]:
    """Return the series with the greatest values, at most so many, in the same order."""
    by_value = sorted(series, key=lambda one: one.summary[2] if one.summary else 0.0)
    chosen = {id(one) for one in by_value[-most:]}
    return [one for one in series if id(one) in chosen]


def cpu(field: str) -> SeriesFilter:
    """Return the filter for a field of the processor as a whole."""
    return SeriesFilter("cpu", field, {"cpu": "cpu-total"})


def _pressure(resource: str, kind: str = "some") -> SeriesFilter:
    return SeriesFilter("pressure", "avg60", {"resource": resource, "type": kind})


def _rates(title: str, measurement: str, field: str) -> Chart:
    return Chart(title, "bytes", (("", SeriesFilter(measurement, field, rate=True)),), high=1000)


CHARTS = (
    Chart(
        "Processor",
        "percent",
        (
            ("active", cpu("usage_active")),
            ("programs", cpu("usage_user")),
            ("kernel", cpu("usage_system")),
            ("waiting for disks", cpu("usage_iowait")),
            ("interrupts", cpu("usage_softirq")),
            ("steal (hypervisor)", cpu("usage_steal")),
        ),
        high=100,
    ),
    Chart(
        "Memory",
        "percent",
        (
            ("memory", SeriesFilter("mem", "used_percent")),
            ("swap space", SeriesFilter("swap", "used_percent")),
        ),
        high=100,
    ),
    Chart(
        "Load",
        "",
        (
            ("1 minute", SeriesFilter("system", "load1")),
            ("5 minutes", SeriesFilter("system", "load5")),
            ("15 minutes", SeriesFilter("system", "load15")),
        ),
    ),
    Chart(
        "Pressure",
        "percent",
        (
            ("some wait for the processor", _pressure("cpu")),
            ("some wait for memory", _pressure("memory")),
            ("all wait for memory", _pressure("memory", "full")),
            ("some wait for disks", _pressure("io")),
        ),
        high=10,
        optional=True,
    ),
    Chart("File systems", "percent", (("", SeriesFilter("disk", "used_percent")),), high=100),
    _rates("Disk reads", "diskio", "read_bytes"),
    _rates("Disk writes", "diskio", "write_bytes"),
    _rates("Network, received", "net", "bytes_recv"),
    _rates("Network, sent", "net", "bytes_sent"),
    Chart("Temperature", "celsius", (("", SeriesFilter("temp", "temp")),), optional=True),
    Chart(
        "Processes",
        "",
        (
            ("all", SeriesFilter("processes", "total")),
            ("running", SeriesFilter("processes", "running")),
            ("blocked", SeriesFilter("processes", "blocked")),
            ("zombies", SeriesFilter("processes", "zombies")),
        ),
    ),
)
