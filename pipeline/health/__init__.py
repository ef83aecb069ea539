"""How the agent fares: its troubles, its status, the summary, its own metrics."""

from pipeline.health.agent_metrics import AgentMetrics, usage
from pipeline.health.health import Health, ReadingStats
from pipeline.health.status import Status, read_status
from pipeline.health.summary import Summary, SummaryRow, summarize
from pipeline.health.trouble import Trouble

__all__ = [
    "AgentMetrics",
    "Health",
    "ReadingStats",
    "Status",
    "Summary",
    "SummaryRow",
    "Trouble",
    "read_status",
    "summarize",
    "usage",
]
