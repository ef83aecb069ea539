"""The queries of all cells, choices and checks, run by the real server on the agent's own data."""

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.collectors import catalogue
from pipeline.influx.dashboards import template
from pipeline.influx.dashboards.boards import DASHBOARDS, VARIABLES
from pipeline.influx.dashboards.cells import Cell
from pipeline.influx.dashboards.checks import CHECKS, Check
from pipeline.spool import Cause
from tests.agents import environment, running
from tests.influxd import api
from tests.influxd.server import InfluxServer

HOST, SILENT = "h1", "h2"
BUCKET = "metrics"
CELLS = [(board, cell) for board in DASHBOARDS for cell in board.cells]
CHOSEN = {
    "metrics_bucket": f'"{BUCKET}"',
    "metrics_host": f'"{HOST}"',
    "timeRangeStart": "-1h",
    "timeRangeStop": "now()",
    "windowPeriod": "10s",
}
# What no agent writes on every machine, or not within a few seconds.
RARE = ("temp", "metrics_agent", "diskio")


def with_choices(flux: str) -> str:
    """Put what is chosen above a dashboard into a query, as InfluxDB's pages do."""
    return re.sub(r"\bv\.(\w+)", lambda match: CHOSEN[match[1]], flux)


@contextmanager
def organisation(server: InfluxServer) -> Iterator[InfluxServer]:
    """An organisation of one's own, gone at the end with all that is in it."""
    name = f"test-{uuid.uuid4().hex}"
    made = server.call("POST", "/api/v2/orgs", {"name": name}).expect(201).json()
    try:
        yield InfluxServer(server.url, name, server.token, server.way)
    finally:
        server.call("DELETE", f"/api/v2/orgs/{made['id']}").expect(204)


def rare_lines() -> Iterator[str]:
    """Readings of every field of the rare measurements: 3, 2 and 1 minutes ago."""
    now = time.time_ns()
    values = {"float": "{}.5", "integer": "{}i"}
    for entry in catalogue.load():
        if entry.measurement in RARE:
            tags = "".join(f",{tag}=one" for tag in entry.tags)
            for ago in range(1, 4):
                value = values[entry.type].format(100 - ago)
                stamp = now - ago * 60_000_000_000
                yield f"{entry.measurement},host={HOST}{tags} {entry.field}={value} {stamp}"
    hour = now - 1800 * 10**9
    yield f"metrics_gap,host={HOST},cause=agent_down readings=3i,seconds=180.0 {hour}"
    yield f"system_metrics,host={HOST} cpu_temperature=61.5 {now}"
    yield f"system,host={SILENT} uptime=60i {now - 600 * 10**9}"
    yield f"disk,host={SILENT},path=/,device=sda1,fstype=ext4,mode=rw used_percent=96.5 {now}"
    yield f"disk,host={SILENT},path=/cd,device=sr0,fstype=iso9660,mode=ro used_percent=100.0 {now}"
    yield f"mem,host={SILENT} used_percent=91.0 {now}"


@pytest.fixture(scope="module")
def filled(
    influx_server: InfluxServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InfluxServer]:
    """A server whose bucket has readings of the real agent, and lines of what is rare."""
    folder: Path = tmp_path_factory.mktemp("agent")
    with organisation(influx_server) as server:
        bucket = api.create_bucket(server, BUCKET)
        env = environment(
            folder / "data",
            bucket,
            host=HOST,
            collection_interval_ms=200,
            collectors__process__enabled=True,
        )
        with running(env, folder) as agent:
            agent.until(lambda status: status["delivered_points"] > 50, "points are delivered")
            assert agent.stop() == 0
        assert api.write(server, BUCKET, "\n".join(rare_lines()).encode())[0] == 204
        yield server


@pytest.mark.parametrize(
    "cell",
    [cell for _, cell in CELLS],
    ids=[f"{board.name}: {cell.title}" for board, cell in CELLS],
)
def test_every_cell_is_filled(filled: InfluxServer, cell: Cell) -> None:
    rows = api.query(filled, with_choices(cell.query))
    assert rows
    if cell.kind == "graph":
        assert all({"_time", "_value"} <= row.keys() for row in rows)
        # Values of a graph have one unit, and every kind of number can be drawn.
        assert {type(row["_value"]) for row in rows} <= {int, float}
    if cell.kind == "number":
        assert [row["host"] for row in rows] == [HOST]
    if cell.kind == "table":
        assert len({tuple(row) for row in rows}) == 1


def test_a_dashboard_of_one_host_shows_that_host_alone(filled: InfluxServer) -> None:
    for cell in DASHBOARDS[1].cells:
        rows = api.query(filled, with_choices(cell.query))
        assert {row.get("host", HOST) for row in rows} == {HOST}, cell.title


@pytest.mark.parametrize("name", VARIABLES)
def test_every_choice_has_something_to_choose(filled: InfluxServer, name: str) -> None:
    values = {row["_value"] for row in api.query(filled, with_choices(VARIABLES[name]))}
    assert values == {"metrics_bucket": {BUCKET}, "metrics_host": {HOST, SILENT}}[name]


def test_every_field_that_a_cell_names_is_in_the_catalogue() -> None:
    known = {(one.measurement, one.field) for one in catalogue.load()}
    for _, cell in CELLS:
        (measurement,) = re.findall(r'r\._measurement == "(\w+)"', cell.query)
        for field in re.findall(r'r\._field == "(\w+)"', cell.query):
            assert (measurement, field) in known, cell.title


def test_the_cells_fill_rows_and_none_lies_on_another() -> None:
    for resource in template.dashboards(BUCKET):
        taken: set[tuple[int, int]] = set()
        for chart in resource["spec"].get("charts", []):
            across = range(chart["xPos"], chart["xPos"] + chart["width"])
            down = range(chart["yPos"], chart["yPos"] + chart["height"])
            own = {(x, y) for x in across for y in down}
            assert not own & taken, chart["name"]
            assert across.stop <= 12
            taken |= own
        width = 12
        rows = {y for _, y in taken}
        assert len(taken) == width * len(rows), "a row is not filled"


# ---- Checks --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def statuses(filled: InfluxServer) -> dict[str, list[dict[str, Any]]]:
    """What each check says, run as the server runs it."""
    body = {"orgID": api.org_id(filled), "template": {"contents": template.checks(BUCKET)}}
    filled.call("POST", "/api/v2/templates/apply", body).expect(201)
    found = filled.call("GET", f"/api/v2/checks?orgID={api.org_id(filled)}").expect(200).json()
    said = {}
    for check in found["checks"]:
        answer = filled.call("GET", f"/api/v2/checks/{check['id']}/query").expect(200).json()
        said[check["name"].removesuffix(f" ({BUCKET})")] = api.query(filled, answer["flux"])
    return said


@pytest.mark.parametrize(
    ("check", "levels", "message"),
    [
        ("Host is silent", {HOST: "ok", SILENT: "crit"}, "h2 has been silent for 5 minutes"),
        ("File system is nearly full", {SILENT: "crit"}, "h2: / is 96.5 % full"),
        ("Memory is nearly used up", {SILENT: "warn"}, "h2: 91 % of the memory is in use"),
        ("Agent loses data", {HOST: "crit"}, f"h1: the agent has lost {2 * len(Cause)} points"),
    ],
)
def test_every_check_says_what_is_the_matter(
    statuses: dict[str, list[dict[str, Any]]], check: str, levels: dict[str, str], message: str
) -> None:
    rows = statuses[check]
    told = {row["host"]: row["_level"] for row in rows if row["host"] in levels}
    assert told == levels
    assert message in {row["_message"] for row in rows}


def test_every_check_is_run(statuses: dict[str, list[dict[str, Any]]]) -> None:
    assert statuses.keys() == {check.name for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_has_something_to_look_at(filled: InfluxServer, check: Check) -> None:
    rows = api.query(filled, with_choices(check.query.replace("BUCKET", f'"{BUCKET}"')))
    assert rows
    assert {type(row["_value"]) for row in rows} <= {int, float}
