"""collectd as a process, and the server that it writes to."""

import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import installed
from benchmarks.programs import LOG, Program, ending

NAME = "collectd"
# The daemon with its plugins, and what write_http is linked with, which it only recommends.
_PACKAGES = "collectd-core libcurl3-gnutls libyajl2"
MISSING = f"on Debian, apt-get install --no-install-recommends {_PACKAGES}"

# Subjects and figures as of the others: shares of the processor's time, percentages, inodes.
# write_http speaks no line protocol, so JSON goes to a server of ours, in one request a flush.
_CONFIG = """
BaseDir "{folder}"
PIDFile "{folder}/pid"
Hostname "bench"
FQDNLookup false
Interval {interval}
LoadPlugin logfile
<Plugin logfile>
  LogLevel warning
  File stderr
</Plugin>
LoadPlugin cpu
<Plugin cpu>
  ReportByState true
  ReportByCpu true
  ValuesPercentage true
  ReportGuestState true
</Plugin>
LoadPlugin memory
<Plugin memory>
  ValuesAbsolute true
  ValuesPercentage true
</Plugin>
LoadPlugin swap
<Plugin swap>
  ReportBytes true
  ValuesAbsolute true
  ValuesPercentage true
</Plugin>
LoadPlugin df
<Plugin df>
  FSType tmpfs
  FSType devtmpfs
  FSType devfs
  FSType iso9660
  FSType overlay
  FSType aufs
  FSType squashfs
  IgnoreSelected true
  ReportInodes true
  ValuesPercentage true
</Plugin>
LoadPlugin disk
LoadPlugin interface
<Plugin interface>
  Interface "lo"
  IgnoreSelected true
</Plugin>
LoadPlugin load
LoadPlugin processes
LoadPlugin uptime
<LoadPlugin write_http>
  FlushInterval {flush}
</LoadPlugin>
<Plugin write_http>
  <Node "bench">
    URL "{url}"
    Format JSON
    BufferSize 1048576
  </Node>
</Plugin>
"""


def find() -> Path | None:
    """Return the one on PATH, or where a system puts what is root's."""
    places = (os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")
    found = shutil.which("collectd", path=os.pathsep.join(places))
    return Path(found) if found else None


def version() -> str | None:
    """Return which one it is, such as `5.12.0`; None where it is missing."""
    return installed.version(find(), "-h", "collectd ", check=False)


class Sink:
    """A server that takes what collectd posts, and notes which values there are.

    Attributes:
        url: Where it listens.
        values: The names of all values that came.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.values: set[tuple[str, ...]] = set()

    def take(self, body: bytes) -> None:
        """Note what one request holds."""
        kinds = ("plugin", "plugin_instance", "type", "type_instance")
        for each in json.loads(body):
            names = tuple(each[kind] for kind in kinds)
            self.values.update((*names, source) for source in each["dsnames"])


@contextmanager
def listening() -> Iterator[Sink]:
    """Listen on 127.0.0.1, in a thread."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # the name is the library's
            sink.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sink = Sink(f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def delivering(
    binary: Path, folder: Path, interval_s: int, flush_s: int, sink: Sink
) -> Iterator[Program]:
    """Run it; it is gone at the end."""
    config = folder / "collectd.conf"
    text = _CONFIG.format(folder=folder, interval=interval_s, flush=flush_s, url=sink.url)
    config.write_text(text, encoding="utf-8")
    with ending(Program([binary, "-f", "-C", config], log=folder / LOG)) as program:
        yield program
