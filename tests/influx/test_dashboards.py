"""Cells, choices and checks: run by the real server on what agents write, and installed there."""

import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline.clock import SystemClock
from pipeline.collectors import catalogue
from pipeline.influx import Connection, dashboards
from pipeline.influx.answer import Answer, InfluxError
from pipeline.influx.dashboards import stacks, template
from pipeline.influx.dashboards.agents import AGENTS
from pipeline.influx.dashboards.all_hosts import ALL_HOSTS
from pipeline.influx.dashboards.cells import Cell, Dashboard
from pipeline.influx.dashboards.checks import CHECKS, Check
from pipeline.influx.dashboards.one_host import ONE_HOST
from pipeline.influx.dashboards.template import DASHBOARDS, VARIABLES
from tests.agents import environment, running
from tests.configured import settings_for
from tests.influx import simulated
from tests.influxd import api
from tests.influxd.server import InfluxServer

HOST, SILENT, ODD = "h1", "h2", "a b&c+d%"
BUCKET, FLEET, EMPTY = "metrics", "thirty hosts", "nothing"
# The time of the fleet's last readings, and about that at which they are looked at.
FLEET_NS = time.time_ns()
CELLS = [(board, cell) for board in DASHBOARDS for cell in board.cells]
IDS = [f"{board.name}: {cell.title}" for board, cell in CELLS]
# What no agent writes on every machine, or not within a few seconds.
RARE = ("temp", "metrics_agent", "metrics_delivery", "diskio", "pressure", "conntrack")
CAUSES = [e for e in catalogue.load() if e.measurement == "metrics_agent" and "lost_" in e.field]

Row = dict[str, Any]


def answer(
    server: InfluxServer, flux: str, bucket: str, host: str, start: str = "-1h"
) -> list[Row]:
    """Run a query with what is chosen above a dashboard in it, as InfluxDB's pages do."""
    flux = simulated.chosen(flux, bucket, host, start)
    rows = api.query(server, flux, FLEET_NS + 10**9 if f'"{FLEET}"' in flux else None)
    return [{name: row[name] for name in row.keys() - {"result", "table"}} for row in rows]


def cell(board: Dashboard, title: str) -> Cell:
    (found,) = (one for one in board.cells if one.title == title)
    return found


@contextmanager
def organisation(server: InfluxServer) -> Iterator[InfluxServer]:
    """An organisation of one's own, gone at the end with all that is in it."""
    name = f"test-{uuid.uuid4().hex}"
    made = server.call("POST", "/api/v2/orgs", {"name": name}).expect(201).json()
    try:
        yield replace(server, org=name)
    finally:
        server.call("DELETE", f"/api/v2/orgs/{made['id']}").expect(204)


@pytest.fixture
def empty_org(influx_server: InfluxServer) -> Iterator[InfluxServer]:
    with organisation(influx_server) as server:
        yield server


def rare_lines() -> Iterator[str]:
    """Readings of every field of the rare measurements: 3, 2 and 1 minutes ago."""
    now = time.time_ns()
    values = {"float": "{}.5", "integer": "{}i", "string": '"{}"'}
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
    yield f"pressure,host={SILENT},resource=memory,type=full avg60=31.55 {now}"
    yield f"pressure,host={SILENT},resource=memory,type=some avg60=99.0 {now}"
    yield f"systemd_units,host={SILENT} failed=2i,total=150i {now}"
    yield f"systemd_units,host={HOST} failed=0i,total=150i {now}"
    waiting = "backlog_points=7i,backlog_age_s=1.5,rejected_points=0i,memory_rss=2000000i"
    yield f"metrics_agent,host={SILENT} {waiting} {now}"
    yield f"system_metrics,host={ODD.replace(' ', chr(92) + ' ')} memory_percent=99.0 {now}"


def connection_to(server: InfluxServer, bucket: str = BUCKET) -> closing[Connection]:
    settings = settings_for(api.Bucket(server, bucket, id=""))
    return closing(Connection(settings, SystemClock()))


def install(server: InfluxServer, bucket: str = BUCKET) -> dashboards.Installed:
    with connection_to(server, bucket) as connection:
        return dashboards.install(connection, api.org_id(server), bucket)


def found(server: InfluxServer, kind: str) -> dict[str, Row]:
    """What an organisation has of a kind, by name."""
    answer = server.call("GET", f"/api/v2/{kind}?orgID={api.org_id(server)}").expect(200).json()
    return {one["name"]: one for one in answer[kind]}


def cells(server: InfluxServer) -> dict[str, dict[str, Row]]:
    """The cells of each dashboard by their titles, as the server has them."""
    boards = {}
    for name, board in found(server, "dashboards").items():
        path = f"/api/v2/dashboards/{board['id']}?include=properties"
        answer = server.call("GET", path).expect(200).json()
        boards[name] = {one["name"]: one for one in answer["cells"]}
    return boards


@pytest.fixture(scope="module")
def filled(
    influx_server: InfluxServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InfluxServer]:
    """A server with all that is installed, and with buckets of different readings.

    They are those of the real agent with rare lines, those of 30 hosts, and none.
    """
    folder: Path = tmp_path_factory.mktemp("agent")
    with organisation(influx_server) as server:
        bucket, fleet, _ = (api.create_bucket(server, name) for name in (BUCKET, FLEET, EMPTY))
        often = {"collection_interval_ms": 200, "collectors__process__enabled": True}
        env = environment(folder / "data", bucket, host=HOST, **often)
        with running(env, folder) as agent:
            agent.until(lambda status: status["delivered_points"] > 50, "points are delivered")
            assert agent.stop() == 0
        api.put(bucket, *rare_lines())
        lines = [*simulated.lines(30, 60, FLEET_NS, silent=(20,))]
        for begin in range(0, len(lines), 20_000):  # at once it may take longer than is allowed
            api.put(fleet, *lines[begin : begin + 20_000])
        install(server)
        yield server


@pytest.fixture(scope="module")
def statuses(filled: InfluxServer) -> dict[str, list[Row]]:
    """What each check says, run as the server runs it, which also keeps it."""
    said = {}
    for name, check in found(filled, "checks").items():
        flux = filled.call("GET", f"/api/v2/checks/{check['id']}/query").expect(200).json()["flux"]
        said[name.removesuffix(f" ({BUCKET})")] = api.query(filled, flux)
    return said


# ---- Cells ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("statuses")
@pytest.mark.parametrize("place", [(BUCKET, HOST), (FLEET, simulated.name(1))], ids=["real", "30"])
@pytest.mark.parametrize("one", [cell for _, cell in CELLS], ids=IDS)
def test_every_cell_is_filled(filled: InfluxServer, one: Cell, place: tuple[str, str]) -> None:
    rows = answer(filled, one.query, *place)
    assert rows, "where an agent seldom or never writes its measurement, name that in RARE"
    columns = {name for row in rows for name in row}
    if one.kind == "graph":
        (series,) = columns - {"_time", "_value"}  # the legend has all columns
        assert len({row[series] for row in rows}) <= 10
        # Every kind of number can be drawn; of what is read by people, two digits are enough.
        values = [row["_value"] for row in rows]
        assert {type(value) for value in values} <= {int, float}
        assert one.unit in ("B", "B/s") or values == [round(value, 2) for value in values]
    elif one.kind == "number":
        assert [row["host"] for row in rows] == [place[1]]
    elif one.kind == "table":
        assert columns == one.columns.keys()
        lacking = {row["host"] for row in rows if None in row.values()}
        assert lacking <= {SILENT, ODD}


@pytest.mark.parametrize(("board", "one"), CELLS, ids=IDS)
def test_a_cell_shows_what_is_chosen_alone_and_else_a_note(
    filled: InfluxServer, board: Dashboard, one: Cell
) -> None:
    if one.title != "What is wrong now":  # that is of all buckets
        assert answer(filled, one.query, EMPTY, HOST) == []
    if board is ONE_HOST:
        assert answer(filled, one.query, FLEET, "nobody") == []
    assert one.note


def test_the_ten_busiest_are_those(filled: InfluxServer) -> None:
    used: dict[str, list[float]] = {}
    for line in simulated.lines(30, 60, 0, silent=(20,)):
        if found := re.match(r"system_metrics,host=(\S+) .*\bcpu_usage=([\d.]+)", line):
            used.setdefault(found[1], []).append(float(found[2]))
    means = {host: sum(values) / len(values) for host, values in used.items()}
    query = cell(ALL_HOSTS, "Processor, the ten busiest").query
    shown = {row["host"] for row in answer(filled, query, FLEET, "")}
    assert len(shown) == 10
    assert min(means[host] for host in shown) >= sorted(means.values())[-10]


def test_the_worst_host_is_first_and_its_page_a_link(filled: InfluxServer) -> None:
    rows = answer(filled, cell(ALL_HOSTS, "Hosts, the worst first").query, BUCKET, "")
    rows.sort(key=lambda row: row["rank"])
    columns = ("processor", "memory", "disk")
    worst = [max(row[name] for name in columns if row[name] is not None) for row in rows]
    assert worst == sorted(worst, reverse=True)
    by_host = {row["host"]: row for row in rows}
    assert by_host[SILENT]["disk"] == 96.5  # not that of its CD
    odd = by_host[ODD]
    assert (odd["processor"], odd["memory"], odd["disk"]) == (None, 99, None)
    link = urlsplit(odd["page"])
    assert odd["page"].startswith("http://server/orgs/0/dashboards/1?")
    assert parse_qs(link.query) == {"vars[metrics_bucket]": [BUCKET], "vars[metrics_host]": [ODD]}


def test_a_silent_host_stays_in_sight(filled: InfluxServer) -> None:
    query = cell(ALL_HOSTS, "Last heard of, the longest silent first").query
    rows = answer(filled, query, FLEET, "", start="-1m")
    rows.sort(key=lambda row: row["rank"])
    assert len(rows) == 30
    assert rows[0]["host"] == simulated.name(20)
    assert rows[0]["seconds"] >= 600 > rows[1]["seconds"]
    assert rows[0]["ago"].startswith("1")  # 10 minutes and some


def test_it_is_seen_when_a_host_was_silent(filled: InfluxServer) -> None:
    rows = answer(filled, cell(ALL_HOSTS, "Who was heard of, and when").query, FLEET, "", "-30m")
    assert (rows[0]["host"], rows[0]["heard"]) == ("(heard)", "heard")
    silent = [row for row in rows if row["heard"] == "silent"]
    assert {row["host"] for row in silent} == {simulated.name(20)}
    assert 4 <= len(silent) <= 5  # of windows of 2 minutes


def test_the_busiest_core_is_above_the_mean(filled: InfluxServer) -> None:
    bucket, now = api.create_bucket(filled, "cores"), time.time_ns()
    use = {"cpu-total": 30.0, "cpu0": 5.0, "cpu1": 55.0}
    api.put(bucket, *(f"cpu,host=h,cpu={core} usage_active={use[core]} {now}" for core in use))
    rows = answer(filled, cell(ONE_HOST, "Processor, the busiest core").query, "cores", "h")
    assert {row["cores"]: row["_value"] for row in rows} == {"mean of all": 30, "the busiest": 55}


def test_an_agent_that_lost_something_is_above_one_that_has_much_to_deliver(
    filled: InfluxServer,
) -> None:
    query = cell(AGENTS, "Agents, those with losses first").query
    rows = {row["host"]: row for row in answer(filled, query, BUCKET, "")}
    silent = rows[SILENT]
    assert (silent["waiting"], silent["lost"], silent["memory"]) == (7, 0, 2)
    assert rows[HOST]["lost"] == 2 * len(CAUSES)
    assert rows[HOST]["rank"] < silent["rank"] == -7


def test_what_was_lost_is_drawn_by_cause_and_no_other_cause(filled: InfluxServer) -> None:
    bucket, now = api.create_bucket(filled, "losses"), time.time_ns()
    lines = [
        f"metrics_agent,host={host} lost_expired={expired}i,lost_disk_full={full}i,lost_rejected=5i"
        f" {now - ago * simulated.MINUTE_NS}"
        for host, full in ((HOST, 0), (SILENT, 9))
        for ago, expired in ((3, 1), (2, 4), (1, 4))
    ]
    api.put(bucket, *lines, f"metrics_agent,host={SILENT} lost_disk_full=11i {now}")
    rows = answer(filled, cell(AGENTS, "Lost, points by cause").query, "losses", "")
    shown: dict[str, list[int]] = {}
    for row in sorted(rows, key=lambda row: row["_time"]):
        shown.setdefault(row["cause"], []).append(row["_value"])
    assert shown == {"expired": [6, 0], "disk_full": [0, 0, 2]}


def test_what_is_missing_is_drawn_among_nothing(filled: InfluxServer) -> None:
    query = cell(AGENTS, "Readings that are missing, by cause").query
    rows = answer(filled, query, FLEET, "")
    assert sum(row["_value"] for row in rows) == sum(range(30))
    assert {row["cause"] for row in rows} == {"agent_down"}
    assert len(rows) > 300


def test_what_is_wrong_is_told_with_the_worst_first(
    filled: InfluxServer, statuses: dict[str, list[Row]]
) -> None:
    assert statuses
    rows = answer(filled, cell(ALL_HOSTS, "What is wrong now").query, "", "")
    told = {row["message"]: (row["level"], row["rank"]) for row in rows}
    assert told["h2: / is 96.5 % full"] == ("crit", 0)
    assert told["h2: 91 % of the memory is in use"] == ("warn", 1)
    assert "ok" not in {row["level"] for row in rows}


def test_every_choice_has_something_to_choose(filled: InfluxServer) -> None:
    expected = {"metrics_bucket": {BUCKET, FLEET, EMPTY}, "metrics_host": {HOST, SILENT, ODD}}
    for name, query in VARIABLES.items():
        assert {row["_value"] for row in answer(filled, query, BUCKET, "")} >= expected[name]


def test_every_field_that_a_cell_names_is_in_the_catalogue() -> None:
    known = {(one.measurement, one.field) for one in catalogue.load()} | {("statuses", "_message")}
    for _, one in CELLS:
        measurements = re.findall(r'r\._measurement == "(\w+)"', one.query)
        for field in re.findall(r'r\._field == "(\w+)"', one.query):
            assert any((each, field) in known for each in measurements), one.title


Place = tuple[int, int, int, int]


def places(board: Dashboard) -> dict[str, Place]:
    """The column and the row at which each cell begins, its width and its height."""
    charts = template.dashboard(board).template["spec"]["charts"]
    return {one["name"]: (one["xPos"], one["yPos"], one["width"], one["height"]) for one in charts}


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
def test_the_cells_fill_rows_and_none_lies_on_another(board: Dashboard) -> None:
    taken: dict[tuple[int, int], str] = {}
    for title, (x, y, width, height) in places(board).items():
        for at in product(range(x, x + width), range(y, y + height)):
            assert at not in taken, f"{title} lies on {taken[at]}"
            taken[at] = title
    rows: dict[int, list[str]] = {}
    for (_, y), title in sorted(taken.items()):
        rows.setdefault(y, []).append(title)
    unfilled = [list(dict.fromkeys(row)) for row in rows.values() if len(row) != 12]
    assert unfilled == [], "the widths of the cells in a row have to be 12 columns together"
    # Of 86 pixels below 240 more, on two screens of 900.
    assert board is not ONE_HOST or len(rows) <= 18, "the dashboard of one host fits two screens"


# ---- What is left on the server ------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(filled: InfluxServer) -> dict[str, dict[str, Row]]:
    return cells(filled)


@pytest.mark.parametrize(("board", "one"), CELLS, ids=IDS)
def test_the_server_has_what_a_cell_says(
    shown: dict[str, dict[str, Row]], board: Dashboard, one: Cell
) -> None:
    there = shown[board.name][one.title]
    assert (there["x"], there["y"], there["w"], there["h"]) == places(board)[one.title]
    has = there["properties"]
    assert (has["note"], has["showNoteWhenEmpty"]) == (one.note, True)
    if one.kind == "graph":
        axis = has["axes"]["y"]
        assert (axis["bounds"], axis["suffix"]) == (list(one.bounds), one.unit)
        assert has["staticLegend"]["show"]
        assert len(has["colors"]) == 10
    elif one.kind == "table":
        columns = {each["internalName"]: each for each in has["fieldOptions"]}
        assert has["tableOptions"]["sortBy"] == columns[one.sort_by]
        assert {name: each["displayName"] for name, each in columns.items()} == one.columns
        assert {each["visible"] for each in columns.values() if each["displayName"]} == {True}
    elif one.kind == "mosaic":
        assert has["fillColumns"] == ["heard"]
    if one.kind in ("number", "table"):
        limits = {each["value"]: each["hex"] for each in has["colors"]}
        assert list(limits) == [0, *(value for value, _ in one.colors)]
        assert "#FFFFFF" not in limits.values()  # which is not seen on white


def test_a_share_of_a_whole_is_drawn_from_nothing_to_all_of_it() -> None:
    whole = {one.title: one.bounds for _, one in CELLS if one.kind == "graph" and one.unit == " %"}
    beyond = {"Processes, the busiest", "Share of a core"}  # of one core
    beyond |= {"Pressure: share of time that some wait, or all"}  # where little is much
    others = {title for title, bounds in whole.items() if bounds != ("0", "100")}
    assert others == beyond, "only what can be more than a whole, or little of it, has other bounds"


# ---- Checks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "levels", "message"),
    [
        ("Host is silent", {HOST: "ok", SILENT: "crit"}, r"h2 was last heard of 1\dm(\d+s)? ago"),
        ("Host is silent", {HOST: "ok"}, r"h1 was last heard of (\d+m)?\d+s ago"),
        ("File system is nearly full", {SILENT: "crit"}, r"h2: / is 96\.5 % full"),
        ("Memory is nearly used up", {SILENT: "warn"}, "h2: 91 % of the memory is in use"),
        (
            *("Programs wait for memory", {SILENT: "crit"}),
            r"h2: all programs wait for memory 31\.5 % of the time",
        ),
        (
            "Units have failed",
            {HOST: "ok", SILENT: "warn"},
            r"h2: failed systemd units: 2 \(systemctl --failed\)",
        ),
        ("Agent loses data", {HOST: "crit"}, f"h1: the agent has lost {2 * len(CAUSES)} points"),
        (
            "Agent loses data for a mirror",
            {HOST: "crit"},
            "h1: the agent has lost 10 points for mirror one",
        ),
    ],
)
def test_every_check_says_what_is_the_matter(
    statuses: dict[str, list[Row]], check: str, levels: dict[str, str], message: str
) -> None:
    rows = statuses[check]
    told = {row["host"]: row["_level"] for row in rows if row["host"] in levels}
    assert told == levels
    assert any(re.fullmatch(message, row["_message"]) for row in rows)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_can_be_edited_in_the_pages_of_the_server(
    filled: InfluxServer, check: Check
) -> None:
    has = found(filled, "checks")[f"{check.name} ({BUCKET})"]
    assert has["query"]["editMode"] == "builder"
    assert has["query"]["text"] == check.query.replace("BUCKET", f'"{BUCKET}"')
    builder = has["query"]["builderConfig"]
    chosen = {tag["key"]: tag["values"] for tag in builder["tags"]}
    (field,) = re.findall(r'r\._field == "(\w+)"', check.query)
    assert chosen["_field"] == [field]
    assert (builder["buckets"], bool(builder["functions"])) == ([BUCKET], not check.silent_for)
    # A comparison with 0 is marked as wrong there.
    assert all(limit["value"] for limit in has.get("thresholds", []))


# ---- Again, after a change, after an interruption ------------------------------------------------


CHECKED = {"query", "every", "type", "status", "timeSince", "thresholds", "statusMessageTemplate"}


def state(server: InfluxServer) -> dict[str, Any]:
    """All that is there, but for ids and times."""
    return {
        "checks": {
            name: {key: check[key] for key in check.keys() & CHECKED}
            for name, check in found(server, "checks").items()
        },
        "variables": {name: one["arguments"] for name, one in found(server, "variables").items()},
        "dashboards": {
            name: {title: one["properties"] for title, one in board.items()}
            for name, board in cells(server).items()
        },
    }


def test_what_a_user_changed_stays_and_only_what_was_deleted_comes_back(
    empty_org: InfluxServer,
) -> None:
    install(empty_org)
    before = state(empty_org)
    checks, boards = found(empty_org, "checks"), found(empty_org, "dashboards")
    memory = checks[f"Memory is nearly used up ({BUCKET})"]
    disk = checks[f"File system is nearly full ({BUCKET})"]
    memory["thresholds"][0]["value"] = 42
    empty_org.call("PUT", f"/api/v2/checks/{memory['id']}", memory).expect(200)
    agents = f"/api/v2/dashboards/{boards[AGENTS.name]['id']}"
    empty_org.call("PATCH", agents, {"name": "Mine"}).expect(200)
    assert install(empty_org) == dashboards.Installed(
        dashboards=False, checks=False, first=install(empty_org).first
    )

    empty_org.call("DELETE", f"/api/v2/checks/{disk['id']}").expect(204)
    empty_org.call("DELETE", f"/api/v2/dashboards/{boards[ONE_HOST.name]['id']}").expect(204)
    done = install(empty_org)
    assert (done.dashboards, done.checks) == (True, True)
    after = found(empty_org, "checks")
    assert after.keys() == checks.keys()
    assert after[memory["name"]]["thresholds"][0]["value"] == 42
    assert found(empty_org, "dashboards").keys() == {ALL_HOSTS.name, ONE_HOST.name, "Mine"}
    # The new dashboard of one host has a new address, to which the links lead.
    host = found(empty_org, "dashboards")[ONE_HOST.name]["id"]
    now, then = state(empty_org), before["dashboards"][ALL_HOSTS.name]
    text = str(now["dashboards"][ALL_HOSTS.name])
    assert re.findall(r"/dashboards/(\w+)\?vars", text) == [host]
    assert text == str(then).replace(boards[ONE_HOST.name]["id"], host)
    assert f'"{empty_org.url}/orgs/{api.org_id(empty_org)}/dashboards/{host}?vars' in text


def test_a_set_up_from_another_place_or_for_another_bucket_replaces_nothing(
    empty_org: InfluxServer,
) -> None:
    first = install(empty_org)
    elsewhere = replace(empty_org, url=empty_org.url.replace("127.0.0.1", "localhost"))
    before = state(empty_org)
    done = install(elsewhere, bucket="other")
    assert (done.dashboards, done.checks) == (False, True)
    assert done.first == first.first.replace("127.0.0.1", "localhost")
    after = state(empty_org)
    assert {**after, "checks": None} == {**before, "checks": None}
    assert len(after["checks"]) == 2 * len(CHECKS)


@pytest.mark.parametrize("kind", ["check", "dashboard"])
def test_another_version_replaces_what_is_there(empty_org: InfluxServer, kind: str) -> None:
    one = resource(kind)
    with connection_to(empty_org) as connection:
        there = stacks.Stacks(connection, api.org_id(empty_org))
        before, then = there.apply_once(one), state(empty_org)
        text = json.dumps([one.template, one.rest]).replace("5m", "7m").replace("-7d", "-9d")
        template, rest = json.loads(text)
        other = stacks.Resource(one.name, template, rest, version={"number": 2})
        assert there.apply_once(other) == stacks.Applied(before.path, changed=True)
        assert state(empty_org) != then
        assert not there.apply_once(other).changed
        assert there.apply_once(one).changed
        assert state(empty_org) == then


def test_the_stacks_of_former_versions_are_replaced(empty_org: InfluxServer) -> None:
    org_id = api.org_id(empty_org)
    former = {"metrics-pipeline": ALL_HOSTS.name, f"metrics-pipeline checks of {BUCKET}": "Mine"}
    for name, title in former.items():
        stack = empty_org.call("POST", "/api/v2/stacks", {"orgID": org_id, "name": name})
        board = template.dashboard(Dashboard(title, "", ())).template
        body = {"orgID": org_id, "stackID": stack.json()["id"], "template": {"contents": [board]}}
        empty_org.call("POST", "/api/v2/templates/apply", body).expect(201)
    install(empty_org)
    path = f"/api/v2/dashboards?orgID={org_id}"
    boards = empty_org.call("GET", path).expect(200).json()["dashboards"]
    assert sorted(one["name"] for one in boards) == sorted(board.name for board in DASHBOARDS)
    assert not former.keys() & found(empty_org, "stacks").keys()


class Interrupted(Connection):
    """A connection that fails after so many requests."""

    left = 0

    def ask(self, request: Any, *secrets: str) -> Any:
        if self.left == 0:
            raise InfluxError(Answer(None, message="interrupted"))
        self.left -= 1
        return super().ask(request, *secrets)


def resource(kind: str) -> stacks.Resource:
    if kind == "check":
        return next(template.checks(BUCKET))
    return template.dashboard(
        Dashboard("Metrics: some", "Some.", ALL_HOSTS.cells[1:4]), "http://h/dashboards/1"
    )


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("kind", ["check", "dashboard"])
def test_what_was_interrupted_anywhere_is_done_whole_by_the_next_run(
    empty_org: InfluxServer, kind: str, deleted: bool
) -> None:
    org_id, one = api.org_id(empty_org), resource(kind)
    with connection_to(empty_org) as connection:
        applied = stacks.Stacks(connection, org_id).apply_once(one)
        whole = state(empty_org)
        for number in range(30):
            if deleted:
                empty_org.call("DELETE", applied.path).expect(204)
            else:
                stacks.Stacks(connection, org_id).remove(f"metrics-pipeline: {one.name}")
            ended = False
            with closing(Interrupted(connection.settings, SystemClock())) as broken:
                broken.left = number
                with suppress(InfluxError):
                    stacks.Stacks(broken, org_id).apply_once(one)
                    ended = True
            applied = stacks.Stacks(connection, org_id).apply_once(one)
            assert applied.changed is not ended
            assert state(empty_org) == whole
            if ended:
                return
    raise AssertionError("it never came to its end")
