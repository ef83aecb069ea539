"""The endpoint on 127.0.0.1: its routes, /metrics and the page."""

from pipeline.endpoint.routes import routes
from pipeline.endpoint.server import Endpoint

__all__ = [
    "Endpoint",
    "routes",
]
