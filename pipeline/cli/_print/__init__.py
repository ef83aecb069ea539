"""What the commands print for people: tables and charts, in 80 columns and without colour too."""

from pipeline.cli._print.charts import history, history_csv, history_json
from pipeline.cli._print.status import status, watch
from pipeline.cli._print.tables import findings, listing, metrics, plan, rejected, settings

__all__ = [
    "findings",
    "history",
    "history_csv",
    "history_json",
    "listing",
    "metrics",
    "plan",
    "rejected",
    "settings",
    "status",
    "watch",
]
