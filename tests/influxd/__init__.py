"""A disposable InfluxDB 2.7 for the tests: an external one, a container, or a bare process."""
