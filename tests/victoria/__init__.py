"""The agent against a real VictoriaMetrics: `make victoria`."""
