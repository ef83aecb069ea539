"""urllib3 as the settings want it: TLS, the way through a proxy, and bounds on each request."""

import http.client
import io
import socket
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
    _keep_to(bounds, manager)
    return manager


def _keep_to(bounds: Bounds, manager: urllib3.PoolManager) -> None:
    class Bounded:
        def urlopen(self, *args: Any, **options: Any) -> Any:
            bounds.begin()
            # Nobody asks for a compressed answer, and a small one can become very large.
            options["decode_content"] = False
            return super().urlopen(*args, **options)  # type: ignore[misc]  # of the pool beside it

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            self.fp.close()
            self.fp = io.BufferedReader(Received(sock, bounds))

    class Plain(HTTPConnection):
        response_class = Response

    class Tls(HTTPSConnection):
        response_class = Response

    class Http(Bounded, urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class Https(Bounded, urllib3.HTTPSConnectionPool):
        ConnectionCls = Tls

    manager.pool_classes_by_scheme = {"http": Http, "https": Https}
