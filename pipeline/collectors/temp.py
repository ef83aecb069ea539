"""Temperatures: what the host's sensors say."""

from collections.abc import Iterator

from pipeline.collectors.collector import Host, NoData, Options
from pipeline.collectors.temperature import sensors
from pipeline.point import Point


class Temp:
    """Writes `temp`, as Telegraf's input of that name on Linux, whose metric_format is v2."""

    name = "temp"
    series_tag: str | None = "sensor"
    default_exclude: tuple[str, ...] = ()
    default_enabled = True

    def __init__(self, host: Host, options: Options) -> None:
        self._host = host

    def collect(self) -> Iterator[Point]:
        """Yield one point for each sensor, in °C.

        Sensors of one name, such as those of two disks of one make, are one series in Telegraf's
        scheme; the hottest speaks for them.
        """
        hottest: dict[str, float] = {}
        for reading in self._host.recent(sensors):
            parts = (reading.chip, reading.label.lower().replace(" ", "_"))
            name = "_".join(part for part in parts if part)
            hottest[name] = max(reading.celsius, hottest.get(name, reading.celsius))
        if not hottest:
            raise NoData
        for name, celsius in hottest.items():
            yield Point("temp", {"temp": celsius}, {"sensor": name})
