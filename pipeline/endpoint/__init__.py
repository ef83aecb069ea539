"""The endpoint on 127.0.0.1: its routes, /metrics and the page."""
