"""Settings for the disposable InfluxDB, and a status without any server."""

import dataclasses
from pathlib import Path
from typing import Any

from pipeline.health import Status, read_status
from pipeline.settings import Settings
from tests.influxd.api import Bucket


def settings_for(bucket: Bucket, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "influxdb_url": bucket.server.url,
        "influxdb_org": bucket.server.org,
        "influxdb_bucket": bucket.name,
        "influxdb_token": bucket.server.token,
        "host": "h1",
        "http_port": 0,
    }
    return Settings(**{**values, **changes})


def status_of(**changes: object) -> Status:
    """What `status` finds of an agent without a store, but for the changes, named as in JSON."""
    nothing = read_status(Settings(data_dir=Path("/nowhere")))
    of_main: Any = {"url": changes.pop("influxdb_url", "")}
    for name in [name for name in changes if hasattr(nothing.main, name)]:
        of_main[name] = changes.pop(name)
    own: Any = {"main": dataclasses.replace(nothing.main, **of_main), **changes}
    return dataclasses.replace(nothing, **own)
