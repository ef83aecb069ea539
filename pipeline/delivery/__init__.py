"""From the spool to InfluxDB: batches, retries, pace, outages."""

from pipeline.delivery.delivery import Delivery
from pipeline.delivery.pacing import LONGEST_WAIT_S, SPACING_S, Pace

__all__ = [
    "LONGEST_WAIT_S",
    "SPACING_S",
    "Delivery",
    "Pace",
]
