"""The page at `/`: the last hours of this host from its own store, drawn on the server."""

from pipeline.endpoint.page.page import page_reply

__all__ = ["page_reply"]
