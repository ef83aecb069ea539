"""The facts that a store remembers for its agent and for those who read it, by name."""

from enum import StrEnum


class Fact(StrEnum):
    """What a store remembers; the names are in the store."""

    LAST_ERROR = "last_error"
    """What failed last, in a sentence; absent while all is well."""
    TROUBLES = "troubles"
    """All that does not work, as a JSON object of sentences by subject."""
    BUCKET_AGE_S = "bucket_age_s"
    """The age of the bucket's own rule, in seconds; 0 is for ever."""
    BUCKET_DRIFT = "bucket_drift"
    """How the rule differs from what the settings want, in a sentence."""
    DOWNSAMPLING_TASK = "downsampling_task"
    """The name of the host's task in InfluxDB."""
    INTERVAL_MS = "collection_interval_ms"
    """The interval that the agent goes by, in milliseconds."""
    RETENTION_HOURS = "retention_hours"
    """The age that the agent goes by, in hours."""
    URL = "influxdb_url"
    """The server that the agent delivers to."""
    BELIEVED_NS = "believed_ns"
    """The newest time that could be trusted, in nanoseconds since 1970-01-01 UTC."""
    SALVAGE = "salvage"
    """What the last salvage saved and lost, in a sentence."""
