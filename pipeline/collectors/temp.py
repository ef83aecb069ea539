"""Temperatures: what the host's sensors say."""

from collections.abc import Iterator

from pipeline.collectors._host.sensors import sensors
from pipeline.collectors.base import Collector, NoData
from pipeline.point import Point


class Temp(Collector):
    """Writes `temp`, as Telegraf's input of that name on Linux, whose metric_format is v2."""

    name = "temp"
    series_tag = "sensor"

    def collect(self) -> Iterator[Point]:
        """Yield one point for each sensor, in °C.

        Sensors of one name, such as those of two disks of one make, are one series in Telegraf's
        scheme; the hottest speaks for them.
        """
        hottest: dict[str, float] = {}
        for reading in self.host.cached(sensors):
            parts = (reading.chip, reading.label.lower().replace(" ", "_"))
            name = "_".join(part for part in parts if part)
            hottest[name] = max(reading.celsius, hottest.get(name, reading.celsius))
        if not hottest:
            raise NoData
        for name, celsius in hottest.items():
            yield Point("temp", {"temp": celsius}, {"sensor": name})
