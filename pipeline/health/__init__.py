"""How the agent fares: its troubles, its status, the summary, its own metrics."""

from pipeline.health.agent_metrics import AgentMetrics, usage
from pipeline.health.health import SUBJECTS, Health, ReadingStats, ServerHealth, label, subject
from pipeline.health.status import ServerStatus, Status, read_status
from pipeline.health.summary import Summary, SummaryRow, summarize
from pipeline.health.trouble import Trouble

__all__ = [
    "SUBJECTS",
    "AgentMetrics",
    "Health",
    "ReadingStats",
    "ServerHealth",
    "ServerStatus",
    "Status",
    "Summary",
    "SummaryRow",
    "Trouble",
    "label",
    "read_status",
    "subject",
    "summarize",
    "usage",
]
