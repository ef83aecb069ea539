"""All that knows InfluxDB; only here is influxdb_client imported, and only when a URL is set."""
