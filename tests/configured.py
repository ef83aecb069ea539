"""Settings for the disposable InfluxDB."""

from typing import Any

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
