"""How old data gets, here and in InfluxDB: sweep, keeper, plan, trusted clock."""

from pipeline.retention.keeper import Keeper, KnownRule
from pipeline.retention.plan import Plan
from pipeline.retention.sweep import Retention, Swept
from pipeline.retention.trusted_clock import TrustedClock

__all__ = [
    "Keeper",
    "KnownRule",
    "Plan",
    "Retention",
    "Swept",
    "TrustedClock",
]
