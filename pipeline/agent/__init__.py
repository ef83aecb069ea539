"""The process: its threads, start and stop, live settings, systemd, embedding."""

from pipeline.agent.agent import Agent
from pipeline.agent.embedding import (
    CpuMetrics,
    SpaceMetrics,
    SystemMetrics,
    cleanup_old_metrics,
    collect_system_metrics,
    is_metrics_collection_running,
    register,
    save_system_metrics,
    start_metrics_collection,
    stop_metrics_collection,
)
from pipeline.agent.session import AgentError, Session
from pipeline.agent.systemd import Notifier

__all__ = [
    "Agent",
    "AgentError",
    "CpuMetrics",
    "Notifier",
    "Session",
    "SpaceMetrics",
    "SystemMetrics",
    "cleanup_old_metrics",
    "collect_system_metrics",
    "is_metrics_collection_running",
    "register",
    "save_system_metrics",
    "start_metrics_collection",
    "stop_metrics_collection",
]
