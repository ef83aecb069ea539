"""The output for people: tables and charts, readable in 80 columns and without colour."""

from pipeline.cli._print.charts import history, history_csv, history_json
from pipeline.cli._print.held import listing, overview
from pipeline.cli._print.status import status, watch
from pipeline.cli._print.tables import findings, metrics, plan, rejected, settings

__all__ = [
    "findings",
    "history",
    "history_csv",
    "history_json",
    "listing",
    "metrics",
    "overview",
    "plan",
    "rejected",
    "settings",
    "status",
    "watch",
]
