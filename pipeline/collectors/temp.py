"""Temperatures: what the host's sensors say."""

from collections.abc import Iterator

from pipeline.collectors._host.host import Host
from pipeline.collectors._host.temperatures import temperatures
from pipeline.collectors._host.timeouts import NoAnswer
from pipeline.collectors.base import Collector, NoData, Omission, omission
from pipeline.point import Point
from pipeline.settings import CollectorOptions


class Temp(Collector):
    """Writes `temp`, as Telegraf's input of that name on Linux, whose metric_format is v2."""

    name = "temp"
    series_tag = "sensor"

    def __init__(self, host: Host, options: CollectorOptions) -> None:
        super().__init__(host, options)
        self._timeout_s = options.timeout_ms / 1000

    def collect(self) -> Iterator[Point | Omission]:
        """Yield one point for each sensor, in °C.

        Sensors of one name, such as those of two disks of one make, are one series in Telegraf's
        scheme; the hottest speaks for them.
        """
        hottest: dict[str, float] = {}
        silent = []
        for reading in temperatures(self.host, self._timeout_s):
            if isinstance(reading.celsius, NoAnswer):
                silent.append(omission(f"{reading.chip} {reading.label}", reading.celsius))
                continue
            parts = (reading.chip, reading.label.lower().replace(" ", "_"))
            name = "_".join(part for part in parts if part)
            hottest[name] = max(reading.celsius, hottest.get(name, reading.celsius))
        yield from silent
        if not hottest:
            raise NoData
        for name, celsius in hottest.items():
            yield Point("temp", {"temp": celsius}, {"sensor": name})
