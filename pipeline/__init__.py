"""Gets a machine's metrics into InfluxDB 2 without losing one."""

__version__ = "0.1.0"
