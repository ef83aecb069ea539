"""From the spool to InfluxDB: batches, retries, pace, outages."""
