"""What the figures were measured on, and what was measured."""

import platform
import sqlite3
import zlib
from importlib import metadata
from pathlib import Path

import psutil

import pipeline
from benchmarks.peers import collectd, glances, telegraf
from benchmarks.tables import Listing
from tests.influxd import binary

_LIBRARIES = ("psutil", "influxdb-client", "urllib3", "tenacity", "dynaconf", "click")


def described() -> Listing:
    """Return the machine and the versions."""
    rows = (
        ("system", f"{platform.system()} {platform.release()}, {_distribution()}"),
        ("processor", f"{_processor()}, {psutil.cpu_count()} cores"),
        ("memory", f"{psutil.virtual_memory().total / 2**30:.1f} GiB"),
        ("processes", str(len(psutil.pids()))),
        ("Python", platform.python_version()),
        ("SQLite", sqlite3.sqlite_version),
        ("zlib", zlib.ZLIB_RUNTIME_VERSION),
        ("metrics-pipeline", pipeline.__version__),
        *((name, metadata.version(name)) for name in _LIBRARIES),
        ("InfluxDB", binary.VERSION),
        *((peer.NAME, _version(peer.version(), peer.MISSING)) for peer in _PEERS),
    )
    return Listing("machine and versions", ("", ""), rows)


_PEERS = (telegraf, collectd, glances)


def _version(found: str | None, missing: str) -> str:
    return found or f"missing: {missing}"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.version()


def _processor() -> str:
    try:
        rows = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    named = [row.partition(":")[2].strip() for row in rows if row.startswith("model name")]
    return named[0] if named else platform.machine()
