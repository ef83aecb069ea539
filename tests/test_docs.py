"""The documents say what the code does."""

import csv
import io
import re
import shlex
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import pipeline
from pipeline import collectors
from pipeline.agent import Agent
from pipeline.cli import main
from pipeline.endpoint import routes
from pipeline.influx.dashboards.checks import CHECKS
from pipeline.influx.dashboards.template import DASHBOARDS
from pipeline.settings import NAMES, CollectorOptions, Files, Settings
from pipeline.spool import Spool
from tests.agents import environment, running
from tests.cli.commands import every
from tests.influxd import api
from tests.influxd.api import Bucket
from tests.settings.loading import INFLUXDB
from tests.spool.stores import sql

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
# In the documents the bucket and the host have these names.
BUCKET, HOST = "metrics", "web-1"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)


def section(document: str, title: str) -> str:
    match = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", document, re.DOTALL | re.M)
    assert match, f"there is no section {title}"
    return match[1]


def anchors(document: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", document, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_exists(document: Path) -> None:
    said = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", said):
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), target
    targets = re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)`", said)) <= set(targets)
    known = {*NAMES, *(option.name for option in fields(CollectorOptions)), "config_dir"}
    variables = re.findall(r"\bMETRICS_([A-Z0-9_]+)\b", said)
    assert {name.lower().partition("__")[0] for name in variables} <= known
    if document.name == "README.md":
        assert set(re.findall(r"^(\w+) =", "".join(blocks(said, "toml")), re.MULTILINE)) <= known
        assert [path for path in DOCS.glob("*.md") if f"(docs/{path.name}" not in said] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_table_is_one(document: Path) -> None:
    """Without the line below its head, a table is shown as a run of text."""
    tables = re.findall(r"(?:^\|.*\n)+", document.read_text(encoding="utf-8"), re.MULTILINE)
    for head, below, *_ in (table.splitlines() for table in tables if table.count("\n") > 1):
        assert re.fullmatch(r"\|(?: :?---:? \|)+", below), head
        assert below.count("|") == head.count("|")


def test_the_changelog_has_this_version() -> None:
    assert re.search(rf"^## \[?{re.escape(pipeline.__version__)}\b", text("CHANGELOG.md"), re.M)


def test_every_make_target_is_listed() -> None:
    targets = set(re.findall(r"^([a-z-]+):.* ## ", text("Makefile"), re.MULTILINE))
    listed = re.findall(r"`make ([a-z-]+)`", section(text("docs/testing.md"), "Targets"))
    assert targets - set(listed) == {"help", "run"}, "docs/testing.md lists the others"


# ---- architecture.md -----------------------------------------------------------------------------


def test_the_architecture_lists_the_tables_of_the_spool(tmp_path: Path) -> None:
    listed = re.findall(r"^\| `(\w+)`", section(text("docs/architecture.md"), "The spool"), re.M)
    Spool(tmp_path, 2**20).close()
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    assert [(name,) for name in listed] == sql(tmp_path, query)


def test_the_architecture_lists_the_threads(tmp_path: Path) -> None:
    listed = re.findall(r"^\| `(\w+)`", section(text("docs/architecture.md"), "Threads"), re.M)
    environ = INFLUXDB | {
        "METRICS_DATA_DIR": str(tmp_path / "data"),
        "METRICS_HTTP_PORT": "0",
        "METRICS_INFLUXDB_URL": "http://127.0.0.1:1",
    }
    files = Files(tmp_path, environ, collectors.names())
    before = set(threading.enumerate())
    agent = Agent(files.load().settings, files)
    agent.start()
    started = {thread.name for thread in set(threading.enumerate()) - before}
    agent.close()
    # Those of the endpoint, mirrors, a backlog, a salvage and a clean-up on request, and one that
    # comes and goes: others test them.
    others = {"batches", "cleanup", "http", "queues", "salvage", "timeout"}
    assert others < {*listed}
    assert started - others == {*listed} - others


# ---- collectors.md -------------------------------------------------------------------------------


def test_collectors_md_lists_every_collector() -> None:
    table = text("docs/collectors.md").partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)`( \(off by default\))? \| (?:`(\w+)`)?.* \|$", table, re.M)
    listed = {name: (tag, not off) for name, off, tag in rows}
    for each in collectors.ALL:
        assert each.name in listed, f"the table has no row for {each.name}"
        tag, enabled = listed[each.name]
        assert (each.series_tag or tag, each.default_enabled) == (tag, enabled), each.name


# ---- faults.md -----------------------------------------------------------------------------------


@cache
def named_tests(path: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.slow
def test_every_test_that_faults_md_names_exists_and_no_row_is_there_twice() -> None:
    document = text("docs/faults.md")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", document)
    assert [name for file, name in named if name not in named_tests(ROOT / file)] == []
    rows = re.findall(r"^\| (?!fault|---).*$", document, re.MULTILINE)
    for row in rows:
        assert re.search(r"`tests/.*::test_\w+` \|$", row), f"no test shows it: {row}"
    faults = [row.split(" | ")[0] for row in rows]
    assert sorted(set(faults)) == sorted(faults)


# ---- commands.md, embedding.md -------------------------------------------------------------------


def test_every_command_and_option_is_in_commands_md_and_no_other() -> None:
    document = text("docs/commands.md")
    real = dict(every())
    listed = re.findall(r"^## `(.*)`$", document, re.MULTILINE)
    assert set(listed) == set(real), "each command has a section of its name, and no other is there"
    for name, command in real.items():
        options = {
            flag for parameter in command.params for flag in parameter.opts if flag[0] == "-"
        }
        part = section(document, f"`{name}`")
        prose = re.sub(r"^```.*?^```$", "", part, flags=re.DOTALL | re.MULTILINE)
        assert set(re.findall(r"`(--[\w-]+)", prose)) == options, (
            f"the options in the section of {name}"
        )
        assert blocks(part, "sh"), f"{name} has no example"
    before = document.partition("\n## ")[0]
    own = {flag for parameter in main.params for flag in parameter.opts}
    assert set(re.findall(r"^\| `(--[\w-]+)", before, re.MULTILINE)) == own


def examples_of_commands() -> Iterator[list[str]]:
    for document in DOCUMENTS:
        for block in blocks(document.read_text(encoding="utf-8"), "sh"):
            for line in block.replace("\\\n", "").splitlines():
                words = shlex.split(line.partition(" | ")[0], comments=True)
                while words and (words[0] == "sudo" or words[0].startswith("METRICS_")):
                    del words[0]
                if words and words[0].rpartition("/")[2] == "metrics-pipeline":
                    yield words[1:]


def test_every_example_of_a_command_is_understood() -> None:
    examples = list(examples_of_commands())
    assert len(examples) > len(dict(every()))
    for words in examples:
        # Asked for help at its end, a command reads its options and does nothing.
        done = CliRunner().invoke(main, [*words, "--help"])
        assert done.exit_code == 0, (words, done.output)


def test_embedding_md_lists_functions_types_figures_and_paths() -> None:
    document = text("docs/embedding.md")
    metrics = section(document, "The metrics")
    functions = set(re.findall(r"^\| `(\w+)` \|", document, re.MULTILINE))
    types = set(re.findall(r"`(\w+Metrics)`", metrics))
    assert (functions | types, functions & types) == (set(pipeline.__all__), set())
    assert set(re.findall(r"pipeline\.(\w+)\(", document)) <= functions
    space = pipeline.SpaceMetrics
    parts = {"cpu": pipeline.CpuMetrics, "memory": space, "disk": space}
    wanted = [f"{name}.{one.name}" for name, part in parts.items() for one in fields(part)]
    others = [one.name for one in fields(pipeline.SystemMetrics) if one.name not in parts]
    assert sorted(re.findall(r"`\.([\w.]+)`", metrics)) == sorted(wanted + others)
    paths = set(re.findall(r"^\| `GET (/\S*)`", document, re.MULTILINE))
    assert paths == set(routes(Agent(Settings())))


def test_dashboards_md_lists_the_dashboards_and_checks_with_their_thresholds() -> None:
    document = text("docs/dashboards.md")
    listed = re.findall(r"^\| (Metrics: [\w ]+) \|", document, re.MULTILINE)
    assert listed == [board.name for board in DASHBOARDS]
    for check in CHECKS:
        (row,) = re.findall(rf"^\| {check.name} \|.*$", document, re.MULTILINE)
        # Of losses, any is too much.
        limits = [f"above {value:g} %" for value in check.above.values() if value >= 1]
        assert all(limit in row for limit in limits), check.name
        every = "every minute" if check.every == "1m" else f"every {check.every[:-1]} minutes"
        assert every in row


# ---- Flux ----------------------------------------------------------------------------------------


def examples() -> list[tuple[str, str]]:
    """Each query of the documents, and the columns of the answer that is printed below it."""
    return [
        (query, answer)
        for name in ("README.md", "docs/flux.md")
        for query, answer in re.findall(
            r"^```flux\n(.*?)^```$.*?^```(?:text|csv)\n(.*?)^```$", text(name), re.DOTALL | re.M
        )
    ]


def test_every_query_has_an_answer_that_draws_a_graph_where_it_says_so() -> None:
    both = [text(name) for name in ("README.md", "docs/flux.md")]
    queries = [len(blocks(document, "flux")) for document in both]
    assert all(queries)
    assert len(examples()) == sum(queries)
    for part in re.split(r"^## ", both[1], flags=re.MULTILINE)[1:]:
        (mark,) = re.findall(r"^\*(Graph|Raw data)\.\*", part, re.MULTILINE)
        columns = set(blocks(part, "csv")[0].splitlines()[0].split(","))
        assert ({"_time", "_value"} <= columns) is (mark == "Graph"), part


def rare_lines() -> Iterator[str]:
    """What the agent does not write within seconds: a disk that fills, and a gap."""
    now = time.time_ns()
    disk = f"disk,host={HOST},path=/data,device=sdb1,fstype=ext4,mode=rw"
    for hours in range(48):
        stamp = now - hours * 3600 * 10**9
        yield f"{disk} used={100 - hours}i,total=1000i {stamp}"
    for ago in (0, 20):  # in whichever hour the agent took its readings
        stamp = now - ago * 10**9
        yield f"metrics_gap,host={HOST},cause=agent_down readings=37i,seconds=37.0 {stamp}"


def test_every_query_answers_with_the_columns_shown(bucket: Bucket, tmp_path: Path) -> None:
    env = environment(tmp_path / "data", bucket, host=HOST, collection_interval_ms=200)
    with running(env, tmp_path) as agent:
        agent.until(lambda status: status["delivered_points"] > 50, "points are delivered")
        assert agent.stop() == 0
    assert api.write(bucket.server, bucket.name, "\n".join(rare_lines()).encode())[0] == 204
    for query, answer in examples():
        assert f'from(bucket: "{BUCKET}")' in query
        rows = api.query(bucket.server, query.replace(f'"{BUCKET}"', f'"{bucket.name}"'))
        assert rows, query
        shown = {name for name in next(csv.reader(io.StringIO(answer))) if name}
        assert set(rows[0]) == shown, query
        assert {row["host"] for row in rows} == {HOST}, query


def test_the_figures_of_the_queries_are_right(bucket: Bucket) -> None:
    now = time.time_ns() // 60_000_000_000 * 60
    counted = [100, 700, 1300, 60, 660]  # the host restarted before the fourth
    lines = [
        f"net,host={HOST},interface=eth0 bytes_recv={value}i {now - 60 * ago}000000000"
        for ago, value in zip(range(len(counted), 0, -1), counted, strict=True)
    ]
    text_of = "\n".join([*lines, *rare_lines()])
    assert api.write(bucket.server, bucket.name, text_of.encode())[0] == 204

    def found(title: str) -> list[dict[str, Any]]:
        (query,) = blocks(section(text("docs/flux.md"), title), "flux")
        return api.query(bucket.server, query.replace(f'"{BUCKET}"', f'"{bucket.name}"'))

    rates = found("How many bytes per second go over the network?")
    # One of the minutes has no rate.
    assert sorted((row["_value"] for row in rates), key=str) == [10.0, 10.0, 10.0, None]
    (row,) = found("How many bytes went over the network, restarts included?")
    assert row["_value"] == 1860
    (row,) = found("In how many days will a disk be full?")
    assert (row["host"], row["path"]) == (HOST, "/data")
    # It grows by 1 an hour, and has 900 to go.
    assert row["days"] == pytest.approx(900 / 24, rel=0.01)
