"""The tiles of the page: the newest value of what matters most, and whether it is high."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.endpoint.page.charts import cpu, is_of, tag
from pipeline.spool import Series, SeriesFilter

Level = Literal["", "high", "very high"]

# An interface or a file system that has gone this long is not the busiest or fullest any more.
_GONE_NS = 180 * 10**9


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile.

    Attributes:
        title: Its heading.
        unit: The unit, as the catalogue names it; "" for a mere number.
        value: The series that it is of; of several, that with the greatest newest value counts.
        bounds: From which value on it is high, and very high.
        edge: The upper edge of its line, unless a value is greater.
        cores: Whether the bounds and the edge are for each core.
        name: The words before the tag of the series.
        beside: The name of another series of the same tags, and that series.
    """

    title: str
    unit: str
    value: SeriesFilter
    bounds: tuple[float, float] | None = None
    edge: float = 1.0
    cores: bool = False
    name: str = ""
    beside: tuple[str, SeriesFilter] | None = None

    @property
    def rate(self) -> bool:
        """Whether it shows a growth per second."""
        return self.value.rate

    def filters(self) -> Iterator[SeriesFilter]:
        """Yield what it needs."""
        yield self.value
        if self.beside:
            yield self.beside[1]
        if self.cores:
            yield _CORES


@dataclass(frozen=True, slots=True)
class Figure:
    """What a tile shows.

    Attributes:
        value: The newest value.
        level: Whether that is high.
        series: The series to draw.
        edge: The upper edge of the line.
        cores: The number of cores that it is for, if it is for them.
        beside: The newest value of the other series.
    """

    value: float
    level: Level
    series: Series
    edge: float
    cores: int | None
    beside: float | None

    @property
    def tag(self) -> str:
        """What tells the series apart from others."""
        return tag(self.series)


def figure(tile: Tile, series: Sequence[Series]) -> Figure | None:
    """Return what a tile shows of the series of the last hour; None when there is nothing."""
    newest_ns = max((one.samples[-1][0] for one in series if one.samples), default=0)
    found = [
        one
        for one in series
        if is_of(tile.value, one)
        and one.summary
        and one.samples[-1][0] >= newest_ns - _GONE_NS
        and one.tags.get("mode") != "ro"  # what cannot be written to is full by its nature
    ]
    if not found:
        return None
    shown = max(found, key=_last)
    cores = next((int(_last(one)) for one in series if is_of(_CORES, one) and one.summary), 0)
    # A load says nothing while the number of cores is not known.
    bounds = None if tile.cores and cores < 1 else tile.bounds
    size = max(cores, 1) if tile.cores else 1
    return Figure(
        value=_last(shown),
        level=_level(_last(shown) / size, bounds),
        series=shown,
        edge=tile.edge * size,
        cores=cores if tile.cores and cores > 0 else None,
        beside=_beside(tile, tag(shown), series),
    )


def _beside(tile: Tile, its: str, series: Sequence[Series]) -> float | None:
    if tile.beside is None:
        return None
    wanted = tile.beside[1]
    others = (one for one in series if is_of(wanted, one) and tag(one) == its and one.summary)
    return next(map(_last, others), None)


def _level(value: float, bounds: tuple[float, float] | None) -> Level:
    if bounds is None or value < bounds[0]:
        return ""
    return "very high" if value >= bounds[1] else "high"


def _last(series: Series) -> float:
    """Return the newest number; after it there may have been a text."""
    return float(series.last if not isinstance(series.last, str) else series.samples[-1][1])


_CORES = SeriesFilter("system", "n_cpus")

# The bounds of shares are those of the dashboards and checks in InfluxDB.
TILES = (
    Tile(
        "Processor",
        "percent",
        cpu("usage_active"),
        bounds=(85, 95),
        edge=100,
        beside=("waiting for disks", cpu("usage_iowait")),
    ),
    Tile(
        "Memory",
        "percent",
        SeriesFilter("mem", "used_percent"),
        bounds=(90, 97),
        edge=100,
        beside=("swap space", SeriesFilter("swap", "used_percent")),
    ),
    Tile(
        "Fullest file system",
        "percent",
        SeriesFilter("disk", "used_percent"),
        bounds=(85, 95),
        edge=100,
    ),
    Tile("Load", "", SeriesFilter("system", "load1"), bounds=(1, 2), cores=True),
    Tile(
        "Network",
        "bytes",
        SeriesFilter("net", "bytes_recv", rate=True),
        edge=1000,
        name="received on",
        beside=("sent", SeriesFilter("net", "bytes_sent", rate=True)),
    ),
)
