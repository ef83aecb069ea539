"""Telegraf as a process: where it is, and how it is told what to do."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring import LOG, Program
from pipeline.rehearsal.lifeline import tied
from tests.influxd.server import InfluxServer

VERSION = "1.37.2"
MISSING = "benchmarks/peers/telegraf.sh builds it"
_ASK_WITHIN_S = 20.0

# Its defaults but for what the agent writes too: usage_active, and time_* where they are wanted.
_INPUTS = """
[[inputs.cpu]]
  collect_cpu_time = {times}
  report_active = true
[[inputs.mem]]
[[inputs.swap]]
[[inputs.disk]]
  ignore_fs = ["tmpfs", "devtmpfs", "devfs", "iso9660", "overlay", "aufs", "squashfs"]
[[inputs.diskio]]
[[inputs.net]]
[[inputs.system]]
[[inputs.processes]]
[[inputs.temp]]
"""


def find() -> Path | None:
    """Return the one that telegraf.sh built; another has other plugins, and so another weight."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    built = Path(cache) / "metrics-pipeline" / f"telegraf-{VERSION}" / "telegraf"
    return built if os.access(built, os.X_OK) else None


def version(binary: Path) -> str:
    """Return what it says that it is, such as `Telegraf 1.37.2`."""
    said = subprocess.run(  # noqa: S603  # the program that is measured
        [binary, "--version"], capture_output=True, text=True, timeout=_ASK_WITHIN_S, check=True
    )
    return said.stdout.strip()


@contextmanager
def delivering(
    binary: Path, folder: Path, interval_s: int, server: InfluxServer, bucket: str
) -> Iterator[Program]:
    """Run it with a flush as often as a reading; it is gone at the end."""
    output = f"""
[[outputs.influxdb_v2]]
  urls = [{json.dumps(server.url)}]
  token = {json.dumps(server.token)}
  organization = {json.dumps(server.org)}
  bucket = {json.dumps(bucket)}
"""
    with _running(binary, folder, interval_s, output, times=False) as program:
        yield program


@contextmanager
def writing(binary: Path, folder: Path, file: Path) -> Iterator[Program]:
    """Run it with a reading each second, which it writes to a file; it is gone at the end."""
    output = f"""
[[outputs.file]]
  files = [{json.dumps(str(file))}]
  data_format = "influx"
"""
    with _running(binary, folder, 1, output, times=True) as program:
        yield program


@contextmanager
def _running(
    binary: Path, folder: Path, interval_s: int, output: str, times: bool
) -> Iterator[Program]:
    agent = f"""
[agent]
  interval = "{interval_s}s"
  flush_interval = "{interval_s}s"
  flush_jitter = "0s"
  metric_batch_size = 1000
  quiet = true
"""
    folder.mkdir()
    config = folder / "telegraf.conf"
    config.write_text(agent + output + _INPUTS.format(times=json.dumps(times)), encoding="utf-8")
    program = Program(tied([binary, "--config", config]), log=folder / LOG)
    try:
        yield program
    finally:
        program.kill()
