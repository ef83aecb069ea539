"""The charts of the page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.spool import Series, SeriesFilter

# The tags that tell the lines of a chart apart where they have no names.
_TAGS = ("path", "interface", "sensor")


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        title: Its heading.
        unit: The unit, written after a number.
        lines: Name and series of each line; a line without a name is named by its series' tag.
        high: Its upper edge, where that is fixed.
        optional: Whether it is left out where there is nothing to show.
    """

    title: str
    unit: str
    lines: tuple[tuple[str, SeriesFilter], ...]
    high: float | None = None
    optional: bool = False

    def all(self, series: Iterable[Series]) -> list[Series]:
        """Return its series out of all series, in its own order."""
        found = [one for one in series if one.summary and self._place(one) >= 0]
        return sorted(found, key=lambda one: (self._place(one), self.name(one)))

    def name(self, series: Series) -> str:
        """Return the name of a line."""
        own = "".join(series.tags.get(tag, "") for tag in _TAGS)
        return self.lines[self._place(series)][0] or own or series.field

    def question(self) -> str:
        """Return the command that shows all its lines."""
        _, one = self.lines[0]
        return f"metrics-pipeline show {one.measurement} {one.field}{' --rate' * one.rate}"

    def _place(self, series: Series) -> int:
        for place, (_, wanted) in enumerate(self.lines):
            if wanted.field == series.field and wanted.matches(series.measurement, series.tags):
                return place
        return -1


def greatest(series: Sequence[Series], most: int) -> list[Series]:
    """Return the series with the greatest values, at most so many, in the same order."""
    by_value = sorted(series, key=lambda one: one.summary[2] if one.summary else 0.0)
    chosen = {id(one) for one in by_value[-most:]}
    return [one for one in series if id(one) in chosen]


def _cpu(field: str) -> SeriesFilter:
    return SeriesFilter("cpu", field, {"cpu": "cpu-total"})


CHARTS = (
    Chart(
        "Processor",
        "%",
        (("active", _cpu("usage_active")), ("waiting for disks", _cpu("usage_iowait"))),
        high=100,
    ),
    Chart(
        "Memory",
        "%",
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
    Chart("Disk use", "%", (("", SeriesFilter("disk", "used_percent")),), high=100),
    Chart("Network, received", "B/s", (("", SeriesFilter("net", "bytes_recv", rate=True)),)),
    Chart("Network, sent", "B/s", (("", SeriesFilter("net", "bytes_sent", rate=True)),)),
    Chart("Temperature", "°C", (("", SeriesFilter("temp", "temp")),), optional=True),
)
