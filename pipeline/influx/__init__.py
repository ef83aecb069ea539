"""All that knows InfluxDB; only here is urllib3 imported, and only where a URL is set."""
