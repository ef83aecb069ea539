"""Telegraf as a process: where it is, and how it is told what to do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import installed
from benchmarks.programs import LOG, Program, ending
from pipeline.collectors import ALL
from tests.influxd.process import free_port
from tests.influxd.server import InfluxServer

NAME = "Telegraf"
MISSING = "benchmarks/peers/telegraf.sh builds it"

# Its defaults but for what the agent writes too: usage_active; where all is wanted, time_* and
# counters of each processor; else of many fields the agent's choice.
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
[[inputs.kernel]]
  collect = ["psi"]
[[inputs.nstat]]
  dump_zeros = {zeros}
  fieldinclude = {nstat}
[[inputs.conntrack]]
  collect = {conntrack}
[[inputs.linux_sysctl_fs]]
  fieldinclude = {linux_sysctl_fs}
"""

# What the agent writes only if it is asked to; the last one fails where systemd does not run.
_OPTIONAL = """
[[inputs.netstat]]
[[inputs.interrupts]]
"""
_SYSTEMD = ("/run/systemd/system", "[[inputs.systemd_units]]\n")


def _optional() -> str:
    folder, its = _SYSTEMD
    return _OPTIONAL + (its if Path(folder).is_dir() else "")


def _inputs(*, everything: bool) -> str:
    choice = {one.name: list(() if everything else one.default_include) for one in ALL}
    return _INPUTS.format(
        times=json.dumps(everything),
        zeros=json.dumps(everything),
        nstat=json.dumps(choice["nstat"]),
        conntrack=json.dumps(["all", "percpu"] if everything else []),
        linux_sysctl_fs=json.dumps(choice["linux_sysctl_fs"]),
    )


def find(name: str = "telegraf") -> Path | None:
    """Return the one that telegraf.sh built; another has other plugins, and so another weight.

    Args:
        name: `telegraf` reads the host, `telegraf-buffer` takes lines from a socket.
    """
    return installed.cached("telegraf", name)


def version() -> str | None:
    """Return which one it is, such as `1.37.2`; None where it is missing."""
    return installed.version(find(), "--version", "Telegraf ")


def output(server: InfluxServer, url: str, bucket: str) -> str:
    """Return the configuration of its output.

    Args:
        server: The server.
        url: Where that is reached.
        bucket: Where it writes to.
    """
    return f"""
[[outputs.influxdb_v2]]
  urls = [{json.dumps(url)}]
  token = {json.dumps(server.token)}
  organization = {json.dumps(server.org)}
  bucket = {json.dumps(bucket)}
"""


@contextmanager
def delivering(
    binary: Path, folder: Path, interval_s: int, flush_s: int, output: str
) -> Iterator[Program]:
    """Run it; it is gone at the end."""
    text = _agent(interval_s, flush_s) + output + _inputs(everything=False)
    with running(binary, folder, text) as program:
        yield program


@contextmanager
def writing(binary: Path, folder: Path, file: Path) -> Iterator[Program]:
    """Run it with a reading each second, which it writes to a file; it is gone at the end."""
    output = f"""
[[outputs.file]]
  files = [{json.dumps(str(file))}]
  data_format = "influx"
"""
    inputs = _inputs(everything=True) + _optional()
    with running(binary, folder, _agent(1, 1) + output + inputs) as program:
        yield program


def _agent(interval_s: int, flush_s: int) -> str:
    return f"""
[agent]
  interval = "{interval_s}s"
  flush_interval = "{flush_s}s"
  flush_jitter = "0s"
  metric_batch_size = 1000
  quiet = true
"""


@contextmanager
def running(binary: Path, folder: Path, text: str) -> Iterator[Program]:
    """Run it with a configuration; it is gone at the end."""
    config = folder / "telegraf.conf"
    config.write_text(text, encoding="utf-8")
    with ending(Program([binary, "--config", config], log=folder / LOG)) as program:
        yield program


@contextmanager
def buffering(
    binary: Path, folder: Path, flush_s: int, output: str, disk: Path | None = None
) -> Iterator[tuple[Program, int]]:
    """Run it with a buffer for a large backlog; it is gone at the end.

    Args:
        binary: `telegraf-buffer`.
        folder: For its files.
        flush_s: From one flush to the next, in seconds.
        output: The configuration of its output.
        disk: Where its buffer is; None: in memory.

    Yields:
        It, and the port of 127.0.0.1 at which it takes lines.
    """
    port = free_port()
    text = f"""
[agent]
  interval = "10s"
  flush_interval = "{flush_s}s"
  flush_jitter = "0s"
  metric_batch_size = 5000
  metric_buffer_limit = 1000000
  buffer_strategy = {json.dumps("disk" if disk else "memory")}
  buffer_directory = {json.dumps(str(disk or folder))}
  quiet = true
{output}
[[inputs.socket_listener]]
  service_address = "tcp://127.0.0.1:{port}"
  data_format = "influx"
"""
    with running(binary, folder, text) as program:
        yield program, port
