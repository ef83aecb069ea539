"""How the agent fares: its troubles, its status, the summary, its own metrics."""

from pipeline.health.agent_metrics import AgentMetrics
from pipeline.health.health import Health, Status, Tick, read_status
from pipeline.health.summary import Glance, Row, glance
from pipeline.health.usage import usage

__all__ = [
    "AgentMetrics",
    "Glance",
    "Health",
    "Row",
    "Status",
    "Tick",
    "glance",
    "read_status",
    "usage",
]
