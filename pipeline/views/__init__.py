"""What the commands print for people: tables and charts, in 80 columns and without colour too."""

from pipeline.views.charts import history, history_csv, history_json
from pipeline.views.state import status, watch
from pipeline.views.tables import listing, metrics, settings

__all__ = [
    "history",
    "history_csv",
    "history_json",
    "listing",
    "metrics",
    "settings",
    "status",
    "watch",
]
