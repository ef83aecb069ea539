import re
from dataclasses import dataclass, field, replace

from pipeline.endpoint.prometheus import text
from pipeline.health import Health, ReadingStats, ServerStatus
from tests.clocks import ManualClock
from tests.configured import status_of

HELP_RE = re.compile(r"# HELP ([a-z_:][a-z0-9_:]*) (.+)")
TYPE_RE = re.compile(r"# TYPE ([a-z_:][a-z0-9_:]*) (counter|gauge)")
LABEL = r'([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE_RE = re.compile(
    rf"([a-z_:][a-z0-9_:]*)(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)"
)
Labels = tuple[str, ...]
UNESCAPED = {'\\"': '"', "\\\\": "\\", "\\n": "\n"}


@dataclass
class Family:
    kind: str
    samples: dict[Labels, float] = field(default_factory=dict)


def parse(exposition: str) -> dict[str, Family]:
    """Read the text exposition format strictly: HELP, TYPE, and then that family's samples."""
    assert exposition.endswith("\n")
    families: dict[str, Family] = {}
    lines = exposition[:-1].split("\n")
    name = ""
    while lines:
        line = lines.pop(0)
        if helped := HELP_RE.fullmatch(line):
            name = helped[1]
            assert name not in families
            typed = TYPE_RE.fullmatch(lines.pop(0))
            assert typed is not None
            assert typed[1] == name
            assert name.endswith("_total") == (typed[2] == "counter")
            families[name] = Family(typed[2])
            continue
        sample = SAMPLE_RE.fullmatch(line)
        assert sample is not None, line
        assert sample[1] == name
        labels: Labels = ()
        for key, escaped in re.findall(LABEL, sample[2] or ""):
            labels += key, re.sub(r"\\.", lambda m: UNESCAPED[m[0]], escaped)
        assert labels not in families[name].samples
        families[name].samples[labels] = float(sample[7])
    return families


def value(families: dict[str, Family], name: str) -> float:
    return families[f"metrics_agent_{name}"].samples[()]


def test_the_account_is_told_with_or_without_collection() -> None:
    account = {
        "ticks": 3,
        "points": 30,
        "delivered_points": 20,
        "backlog_points": 7,
        "backlog_bytes": 123456789012,
        "rejected_points": 1,
    }
    odd = 'a "quoted" back\\slash\nand \\n a break, ü'
    state = status_of(running=True, lost={"tick_missed": 2, odd: 1}, **account)
    families = parse(text(state, None))
    counters = ("ticks", "points", "delivered_points")
    for name, number in account.items():
        assert value(families, f"{name}_total" if name in counters else name) == number
    assert value(families, "running") == 1
    assert families["metrics_agent_lost_points_total"].samples == {
        ("cause", "tick_missed"): 2,
        ("cause", odd): 1,
    }
    assert value(families, "cpu_seconds_total") > 0
    assert value(families, "resident_memory_max_bytes") > 2**20
    assert "metrics_agent_trouble" not in families


def test_the_running_agents_own_view_is_added() -> None:
    health = Health(ManualClock(), 60, lambda _: None)
    families = parse(text(status_of(), health))
    assert value(families, "running") == 0
    assert families["metrics_agent_lost_points_total"].samples == {}
    assert families["metrics_agent_trouble"].samples == {}
    assert not {"metrics_agent_tick_seconds", "metrics_agent_write_seconds"} & set(families)
    health.reading_committed(ReadingStats(0.0025, 12, {"cpu": 0.001, "mem": 1e-05}))
    health.server("main").wrote(0.5)
    health.trouble("delivery").begins("no answer")
    families = parse(text(status_of(), health))
    assert value(families, "tick_seconds") == 0.0025
    assert value(families, "tick_points") == 12
    assert value(families, "write_seconds") == 0.5
    seconds = {("collector", "cpu"): 0.001, ("collector", "mem"): 1e-05}
    assert families["metrics_agent_collector_seconds"].samples == seconds
    assert families["metrics_agent_trouble"].samples == {("source", "delivery"): 1}


def test_with_mirrors_each_server_has_series_of_its_own() -> None:
    main = ServerStatus("http://a", 30, 7, 700, None, 20, {"expired": 3}, 0, None, None)
    b = replace(main, backlog_points=9, lost={"expired": 1, "rejected": 2}, rejected_points=2)
    health = Health(ManualClock(), 60, lambda _: None)
    health.server("main").wrote(0.5)
    health.server("b").write_failed()
    before, after = (
        parse(text(status_of(main=main, mirrors=mirrors), health)) for mirrors in ({}, {"b": b})
    )
    same = [name for name in before if "resident" not in name and "cpu" not in name]
    assert [after[name] for name in same] == [before[name] for name in same]
    added = {
        name.removeprefix("metrics_agent_server_"): after[name].samples
        for name in after.keys() - before.keys()
    }
    each = [("server", "main"), ("server", "b")]
    assert added == {
        "points_total": dict.fromkeys(each, 30),
        "delivered_points_total": dict.fromkeys(each, 20),
        "backlog_points": dict(zip(each, (7, 9), strict=True)),
        "backlog_bytes": dict.fromkeys(each, 700),
        "rejected_points": dict(zip(each, (0, 2), strict=True)),
        "lost_points_total": {
            ("server", "main", "cause", "expired"): 3,
            ("server", "b", "cause", "expired"): 1,
            ("server", "b", "cause", "rejected"): 2,
        },
        "retries_total": dict(zip(each, (0, 1), strict=True)),
        "write_seconds": {("server", "main"): 0.5},
    }
