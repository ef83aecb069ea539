"""Gets a machine's metrics into InfluxDB 2 without losing one.

A program that embeds the agent imports these functions and types from here; they are loaded when
first asked for, so that the commands do not pay for them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.agent import (
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

__version__ = "1.0.0"

__all__ = [
    "CpuMetrics",
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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.agent import embedding  # noqa: PLC0415  # see above

    return getattr(embedding, name)
