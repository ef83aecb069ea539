"""The agent's own figures as Prometheus text, for `/metrics`."""

from collections.abc import Iterator, Mapping

from pipeline.health import Health, ServerStatus, Status, usage
from pipeline.settings import MAIN

_OF_EACH = (
    ("points_total", "counter", "Points committed for a server"),
    ("delivered_points_total", "counter", "Points a server took"),
    ("backlog_points", "gauge", "Points waiting for a server"),
    ("backlog_bytes", "gauge", "Their size on disk"),
    ("rejected_points", "gauge", "Refused lines kept"),
)


def text(status: Status, health: Health | None) -> str:
    """Write the figures in the text exposition format, version 0.0.4.

    Args:
        status: The account from the store.
        health: The state of the collection; None while it is stopped.
    """
    own = [*_account(status), *_process(), *(_view(health) if health else ())]
    return "".join([*own, *_servers(status.servers, health)])


def _account(status: Status) -> Iterator[str]:
    main = status.main
    yield _family("running", "gauge", "Whether readings are being taken", int(status.running))
    yield _family("ticks_total", "counter", "Readings committed", status.ticks)
    yield _family("points_total", "counter", "Points committed", main.points)
    yield _family(
        "delivered_points_total", "counter", "Points InfluxDB took", main.delivered_points
    )
    yield _family("backlog_points", "gauge", "Points waiting for delivery", main.backlog_points)
    yield _family("backlog_bytes", "gauge", "Their size on disk", main.backlog_bytes)
    yield _family("rejected_points", "gauge", "Refused lines kept", main.rejected_points)
    yield _series("lost_points_total", "counter", "Points never delivered", "cause", main.lost)


def _process() -> Iterator[str]:
    used = usage()
    yield _family("cpu_seconds_total", "counter", "Processor time used", used.cpu_s)
    yield _family("resident_memory_bytes", "gauge", "Memory in use", used.resident_bytes)
    yield _family("resident_memory_max_bytes", "gauge", "Peak memory", used.peak_bytes)


def _view(health: Health) -> Iterator[str]:
    main = health.server(MAIN)
    yield _family("retries_total", "counter", "Writes that failed", main.retries)
    troubles = dict.fromkeys(health.troubles(), 1)
    yield _series("trouble", "gauge", "What does not work at present", "source", troubles)
    if (tick := health.last_reading) is not None:
        yield _family("tick_seconds", "gauge", "Time the last reading took", tick.seconds)
        yield _family("tick_points", "gauge", "Points of the last reading", tick.points)
        yield _series(
            "collector_seconds", "gauge", "Time each took in it", "collector", tick.collectors
        )
    if main.last_write_s is not None:
        yield _family("write_seconds", "gauge", "Time the last write took", main.last_write_s)


def _servers(servers: Mapping[str, ServerStatus], health: Health | None) -> Iterator[str]:
    """Write the figures of each server, where there are mirrors; all others are those of `main`."""
    if not servers:
        return
    for name, kind, meaning in _OF_EACH:
        figure = name.removesuffix("_total")
        values = {server: getattr(state, figure) for server, state in servers.items()}
        yield _series(f"server_{name}", kind, meaning, "server", values)
    name, meaning = "server_lost_points_total", "Points a server never gets"
    yield _head(name, "counter", meaning)
    for server, state in servers.items():
        for cause, points in state.lost.items():
            yield _sample(name, {"server": server, "cause": cause}, points)
    if health is not None:
        each = {one.name: one for one in health.servers}
        retries = {server: one.retries for server, one in each.items()}
        took = {s: one.last_write_s for s, one in each.items() if one.last_write_s is not None}
        yield _series("server_retries_total", "counter", "Writes that failed", "server", retries)
        meaning = "Time the last write to a server took"
        yield _series("server_write_seconds", "gauge", meaning, "server", took)


def _family(name: str, kind: str, meaning: str, value: float) -> str:
    return f"{_head(name, kind, meaning)}metrics_agent_{name} {value}\n"


def _series(name: str, kind: str, meaning: str, label: str, values: Mapping[str, float]) -> str:
    samples = (_sample(name, {label: key}, value) for key, value in values.items())
    return _head(name, kind, meaning) + "".join(samples)


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    text = ",".join(f'{label}="{_escape(key)}"' for label, key in labels.items())
    return f"metrics_agent_{name}{{{text}}} {value}\n"


def _head(name: str, kind: str, meaning: str) -> str:
    return f"# HELP metrics_agent_{name} {meaning}.\n# TYPE metrics_agent_{name} {kind}\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
