"""urllib3 as the settings want it: TLS, the way through a proxy, and bounds on each request."""

import http.client
import io
import socket
from functools import partial
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from pipeline.influx.bounds import Bounds, Received
from pipeline.settings import Settings


def pool(settings: Settings, bounds: Bounds, timeout_s: float) -> urllib3.PoolManager:
    """Return what makes requests, and makes each but once.

    Args:
        settings: With `influxdb_url` set.
        bounds: Those of each request; so it is for one thread.
        timeout_s: The time that a request may take until its answer begins.
    """
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(total=timeout_s),
        "retries": False,
        # Read for each connection anew: a certificate may be exchanged.
        "ca_certs": str(settings.influxdb_ca_cert) if settings.influxdb_ca_cert else None,
        "cert_reqs": "CERT_REQUIRED" if settings.influxdb_verify_tls else "CERT_NONE",
    }
    proxy = settings.influxdb_proxy.rstrip("/")
    manager = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    schemes: dict[str, Any] = {
        "http": partial(_Http, bounds=bounds),
        "https": partial(_Https, bounds=bounds),
    }
    manager.pool_classes_by_scheme = schemes
    return manager


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp = io.BufferedReader(Received(sock, bounds))


class _Plain(HTTPConnection):
    def __init__(self, *args: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(*args, **options)
        # Makes one, as the class would.
        self.response_class = partial(_Response, bounds=bounds)  # type: ignore[assignment]


class _Tls(_Plain, HTTPSConnection):
    """The same over TLS."""


class _Http(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain

    def urlopen(self, *args: Any, **options: Any) -> Any:
        # A pool makes its connections of this, too.
        self.conn_kw["bounds"].begin()
        # Nobody asks for a compressed answer, and a small one can become very large.
        options["decode_content"] = False
        return super().urlopen(*args, **options)


class _Https(_Http, urllib3.HTTPSConnectionPool):
    ConnectionCls = _Tls
