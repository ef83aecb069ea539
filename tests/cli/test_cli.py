"""The commands: each as a process of its own, what more there is to ask of it within this one."""

import json
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pipeline
from pipeline.cli import main
from pipeline.clock import SystemClock
from pipeline.collectors import catalogue
from pipeline.health import human
from pipeline.point import FieldValue, Point, decode, encode
from pipeline.settings import NAMES
from pipeline.spool import Spool, SpoolReader
from tests.agents import SELDOM_MS, AgentProcess, environment, eventually, running, ticks, times
from tests.cli import test_streams, test_token
from tests.cli.commands import Cli, Done, Inside, every
from tests.histories import ODD_VALUES, fill

pytestmark = pytest.mark.slow

MINUTE_NS = 60 * 10**9
COMMANDS = [tuple(name.split()) for name, _ in every()]
# Whether the program loaded urllib3 is told at its end.
PROBE = """
import sys
from pipeline.cli import main
main(sys.argv[1:])
print("urllib3" in sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A store of four readings: 90, 30, 20 and 10 minutes ago."""
    one = Cli(tmp_path_factory.mktemp("filled"))
    one.data_dir.mkdir()
    now = SystemClock().now_ns()
    with Spool(one.data_dir, 2**24) as spool:
        for age, used in ((90, 5), (30, 25_276_514_304), (20, 7), (10, 8)):
            time = now - age * MINUTE_NS
            points = [
                Point("disk", {"used": used, "free": 1.5}, {"path": "/", "host": "h1"}),
                Point("disk", {"used": used + 1}, {"path": "/a b,c", "host": "h1"}),
                Point("system", {"uptime_format": "3 days"}, {"host": "h1"}),
            ]
            spool.append([encode(point, time) for point in points], time)
    return one


@pytest.fixture
def agent(cli: Cli) -> Iterator[AgentProcess]:
    with running(cli.env(collection_interval_ms=SELDOM_MS), cli.folder) as one:
        eventually(lambda: ticks(cli.data_dir) == 1, "the first reading")
        yield one


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(
    cli: Cli, inside: Inside, words: tuple[str, ...]
) -> None:
    done = inside(cli, *words, "--help")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"Usage: metrics-pipeline {' '.join(words)} ")
    example = done.out.partition("\n  Example:\n    ")[2]
    assert f"metrics-pipeline {'--config-dir ' if words[-1] == 'check' else ''}" in example
    assert words[-1] in example
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(
    "tried",
    [test_streams.EVERY, test_token.COMMANDS],
    ids=["EVERY in test_streams.py", "COMMANDS in test_token.py"],
)
def test_what_is_tried_of_every_command_is_tried_of_a_new_one(tried: Sequence[str]) -> None:
    text = "".join(f"\n{one} " for one in tried)
    left_out = {name for name, _ in every() if f"\n{name} " not in text}
    assert left_out == {"run"}, "add a way in which it ends soon"


def test_the_command_alone_says_what_there_is(cli: Cli, inside: Inside) -> None:
    asked, bare = inside(cli, "-h"), inside(cli)
    for name in {words[0] for words in COMMANDS}:
        assert f"\n  {name} " in asked.out
    assert (asked.status, bare) == (0, Done(2, "", asked.out))


def test_the_command_is_known_by_its_version_and_as_a_module(cli: Cli) -> None:
    done = cli("--version")
    assert done == Done(0, f"metrics-pipeline, version {pipeline.__version__}\n", "")


def test_run_takes_a_reading_at_once_and_says_how_often(
    cli: Cli, agent: AgentProcess, inside: Inside
) -> None:
    line = agent.log.splitlines()[0]
    assert line.endswith(f" INFO    Starting metrics collection (interval: {SELDOM_MS}ms)")
    up = cli("status", "--json").json()
    assert up["running"] is True
    assert up["pid"] == agent.process.pid
    assert up["collection_interval_ms"] == SELDOM_MS
    assert up["ticks"] == 1
    assert agent.stop() == 0
    human = cli("status")
    down = inside(cli, "status", "--json", collection_interval_ms=SELDOM_MS)
    assert down.json() == {**up, "running": False, "pid": None}
    assert human.out.startswith("The agent is not running.\nrunning       no\nlast reading  ")
    assert f"\nreadings      1 ({up['points']} points)\n" in human.out


@pytest.mark.parametrize(
    "signals", ["SIGTERM", "SIGINT", "SIGINT SIGTERM SIGHUP SIGINT SIGTERM SIGHUP SIGINT"]
)
def test_a_signal_or_an_impatient_hand_ends_the_agent_well_and_no_reading_is_lost(
    cli: Cli, signals: str
) -> None:
    env = cli.env(collection_interval_ms=20, log_format="json")
    with running(env, cli.folder, program=(sys.executable, "-c", PROBE)) as agent:
        eventually(lambda: ticks(cli.data_dir) >= 3, "three readings")
        for name in signals.split():
            agent.process.send_signal(signal.Signals[name])
        assert agent.ended() == 0
    *events, loaded = agent.log.splitlines()
    assert loaded == "False"  # without a server, its client is not loaded
    told = [json.loads(line)["message"] for line in events]
    # By a SIGHUP that was seen before the SIGINT.
    assert [text for text in told if not text.startswith("The settings have not changed")] == [
        "Starting metrics collection (interval: 20ms)",
        f"Readings are kept in {cli.data_dir}",
        "Metrics collection stopped",
    ]
    assert not (cli.data_dir / "spool.db-wal").exists()  # it was closed, not left
    with SpoolReader(cli.data_dir) as reader:
        contents = reader.contents()
    assert contents.ticks == len(times(cli.data_dir))
    assert set(contents.lost) <= {"tick_missed"}


def test_started_by_nohup_in_the_background_it_reloads_by_sighup_and_ends_by_sigterm(
    cli: Cli,
) -> None:
    # As a shell does for `nohup ... &`.
    ignoring = ("env", "--ignore-signal=INT", "nohup")
    env = cli.env(collection_interval_ms=20)
    with running(env, cli.folder, before=ignoring) as agent:
        eventually(lambda: ticks(cli.data_dir) >= 1, "a reading")
        agent.process.send_signal(signal.SIGINT)  # which is for the program in the foreground
        agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: "The settings have not changed" in agent.log, "that they were read")
        then = ticks(cli.data_dir) + 5
        eventually(lambda: ticks(cli.data_dir) >= then, "readings after it")
        assert agent.stop() == 0


@pytest.mark.parametrize("words", ["--config-dir DIR settings check", "status", "show"])
def test_a_folder_that_cannot_be_is_told_in_a_sentence(
    cli: Cli, inside: Inside, words: str
) -> None:
    name = str(cli.folder / (300 * "x"))  # longer than any file system allows
    done = inside(cli, *words.replace("DIR", name).split(), data_dir=name)
    assert done.error.endswith(": File name too long")


def test_an_agent_that_crashes_leaves_no_core_dump(cli: Cli) -> None:
    unlimited = ("sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh")
    agent = AgentProcess(cli.env(), cli.folder, before=unlimited)
    try:
        agent.until(lambda status: status["ticks"] > 0, "a reading")
        assert psutil.Process(agent.process.pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)
    finally:
        agent.kill()


def test_a_second_run_on_the_same_data_is_refused_and_names_the_first(
    cli: Cli, agent: AgentProcess
) -> None:
    done = cli("run")
    assert done.status == 1
    assert done.error == (
        f"data directory {cli.data_dir} is in use by process {agent.process.pid}; "
        "stop that agent, or set another data_dir"
    )
    assert agent.process.poll() is None


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_data_directory_that_cannot_be_had_is_told_in_a_sentence(
    cli: Cli, inside: Inside, name: str
) -> None:
    (cli.folder / "file").touch()
    below = cli.folder / name
    run = cli("run", data_dir=below)
    status, show = (inside(cli, word, data_dir=below) for word in ("status", "show"))
    assert run.status == 1
    assert run.error == (
        f"data directory {below} cannot be used: "
        "it, or a folder above it, is a file; set another data_dir"
    )
    assert status.status == 0
    assert status.out.startswith("The agent is not running.\nrunning       no\n")
    assert "\nreadings      0 (0 points)" in status.out
    assert show.error == f"no readings yet in {below}; to take some: metrics-pipeline run"
    plan = cli("retention", "plan", data_dir=below)
    assert (plan.status, plan.out) == (0, "There are no points yet.\n")


def test_a_plan_without_old_points_says_so(cli: Cli, inside: Inside) -> None:
    fill(cli.data_dir, hours=2, step_s=600, now_ns=time.time_ns())
    nothing = "Nothing is older than its age."
    assert nothing in inside(cli, "retention", "plan").out
    assert nothing not in inside(cli, "retention", "plan", retention_hours=1).out


def test_once_prints_a_reading_and_writes_nothing_or_fails(cli: Cli, inside: Inside) -> None:
    before = set(cli.folder.rglob("*"))
    text, data = inside(cli, "once"), inside(cli, "once", "--json")
    assert (text.status, text.err) == (0, "")
    lines = list(decode(text.out))
    assert lines[0].point.measurement == "system_metrics"
    assert {line.point.tags["host"] for line in lines} == {"h1"}
    assert len({line.timestamp_ns for line in lines}) == 1
    first = data.json()[0]
    assert first.keys() == {"measurement", "fields", "tags", "timestamp_ns"}
    assert first["fields"]["memory_total"] == psutil.virtual_memory().total
    assert {point["measurement"] for point in data.json()} == {
        line.point.measurement for line in lines
    }
    assert set(cli.folder.rglob("*")) == before
    done = inside(cli, "once", host_root=cli.folder / "nowhere")
    assert (done.status, done.out) == (1, "")
    assert "no collector could read anything; " in done.err.splitlines()[-1]


def test_show_lists_charts_and_exports_the_local_history(filled: Cli, inside: Inside) -> None:
    views = ((), ("disk", "used"), ("--all",), ("disk",))
    overview, chart, listing, table = (inside(filled, "show", *words) for words in views)
    for done in (overview, listing, chart, table):
        assert (done.status, done.err) == (0, "")
    assert overview.out.startswith("The agent is not running.\n\nmeasurement ")
    assert [line.split()[0] for line in overview.out.splitlines()[3:5]] == ["disk", "system"]
    assert [line.split() for line in listing.out.splitlines()[1:]] == [
        ["disk", "free", "1", "1.5", "B"],
        ["disk", "used", "2", "9", "B"],
        ["system", "uptime_format", "1", "3", "days"],
    ]
    assert "disk used" in chart.out.splitlines()[0]
    assert "30 GB┤" in chart.out
    assert "┤" not in table.out
    used = "used path=/ 8 B 7 B 8.426 GB 25.28 GB 3"
    assert table.out.splitlines()[2].split() == used.split()


def test_status_is_watched_until_ctrl_c_which_ends_it_quietly(cli: Cli) -> None:
    with cli.start("status", "--watch") as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "The agent is not running.\n"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")


@settings(max_examples=10)
@given(st.lists(ODD_VALUES, min_size=1, max_size=6), st.booleans())
@example([1.7e308, -1.7e308], False)
@example([1.7e308] * 3, False)
@example([-1.7e308, 1.7e308], True)
@example([5e-324], False)
@example([5e-324, 0.0, -5e-324], False)
@example([1.0, "a text"], False)
@example([True, 3, "a text"], True)
def test_show_takes_whatever_a_file_has_said(
    tmp_path_factory: pytest.TempPathFactory, values: list[FieldValue], rate: bool
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    begin = time.time_ns() - 60 * 10**9
    with Spool(folder, 2**24) as spool:
        for number, value in enumerate(values):
            at = begin + number * 10**9
            spool.append([encode(Point("own", {"f": value}), at)], at)
    numbers = [value for value in values if not isinstance(value, str)]
    options = ["--rate"] if rate else []
    for words in (["own", "f"], ["own", "f", "--json"]):
        done = CliRunner().invoke(main, ["show", *words, *options], env=environment(folder))
        if rate and done.exit_code:  # nothing has grown
            assert done.stderr.startswith("metrics-pipeline: no growth of own f in the last 1h")
            continue
        assert done.exit_code == 0, done.output
        if "--json" in words or not numbers:
            continue
        *chart, _, row = done.stdout.split("\n")[:-1]
        assert all(len(line) <= 120 for line in chart)
        _, least, mean, most, _ = row.rsplit(maxsplit=4)
        assert not re.search("nan|inf", f"{least} {mean} {most}")
        if not rate:
            assert [least, most] == [
                human.quantity(one, "") for one in (min(numbers), max(numbers))
            ]


def test_show_tells_the_growth_per_second_of_what_counts_up(filled: Cli, inside: Inside) -> None:
    data = inside(filled, "show", "disk", "used", "--rate", "--json", "--tag", "path=/").json()
    ((_, value),) = data[0]["samples"]
    assert value == pytest.approx(1 / 600)
    chart = inside(filled, "show", "disk", "used", "--rate")
    assert chart.out.startswith("h1: disk used per second, ")
    assert "B/s┤" in chart.out


def test_show_names_the_option_for_what_counts_up(cli: Cli, inside: Inside) -> None:
    fill(cli.data_dir, hours=0.1, now_ns=time.time_ns())
    counter, gauge = ("net", "bytes_recv"), ("mem", "used_percent")
    said = [inside(cli, "show", *words).err for words in (counter, (*counter, "--rate"), gauge)]
    assert said == ["bytes_recv only counts up; --rate shows its growth per second\n", "", ""]


def test_show_looks_at_some_of_many_readings_and_exports_all(
    cli: Cli, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.cli.show.READINGS", 10)
    cli.data_dir.mkdir()
    now = SystemClock().now_ns()
    with Spool(cli.data_dir, 2**24) as spool:
        for number in range(25):
            time = now - (25 - number) * 10**9
            spool.append([f"m f={number}i {time}"], time)
    done = inside(cli, "show", "m", "f")
    assert done.err == "1 of 3 readings was looked at; --csv and --json have all\n"
    assert done.out.splitlines()[-1].split() == ["f", "24", "0", "12", "24", "9"]
    (series,) = inside(cli, "show", "m", "f", "--json").json()
    assert [value for _, value in series["samples"]] == list(range(25))


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (["--tag", "path=/"], [[25_276_514_304, 7, 8]]),
        (["--tag", "path=/a b,c", "--tag", "host=h1"], [[25_276_514_305, 8, 9]]),
        (["--tag", "path=/", "--since", "25m"], [[7, 8]]),
        (["--since", "2h"], [[5, 25_276_514_304, 7, 8], [6, 25_276_514_305, 8, 9]]),
        (["--since", "99999999999w", "--tag", "path=/"], [[5, 25_276_514_304, 7, 8]]),
    ],
)
def test_show_narrows_by_tag_and_by_time(
    filled: Cli, inside: Inside, options: list[str], values: list[list[int]]
) -> None:
    found = inside(filled, "show", "disk", "used", "--json", *options).json()
    assert [[value for _, value in one["samples"]] for one in found] == values


@pytest.mark.parametrize(
    ("question", "what"),
    [
        (["nosuch"], "readings of nosuch in the last 1h"),
        (["disk", "nosuch"], "readings of disk nosuch in the last 1h"),
        (["disk", "used", "--tag", "a=b"], "readings of disk used a=b in the last 1h"),
        (["no", "f", "--rate"], "growth of no f in the last 1h, which takes two readings"),
    ],
)
def test_show_says_where_to_look_when_it_finds_nothing(
    filled: Cli, inside: Inside, question: list[str], what: str
) -> None:
    done = inside(filled, "show", *question)
    assert done.status == 1
    assert done.error == (
        f"no {what}; look further back with --since, "
        "or see what there is: metrics-pipeline show --all"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("show disk --since soon", "'soon' is not a duration; write one such as 90s, 15m, 1h"),
        ("show disk --tag path", "--tag 'path' is no KEY=VALUE"),
        ("show disk --nosuch", "No such option"),
        ("show disk used free", "Got unexpected extra argument (free)"),
        ("show disk --all", "--all goes without a MEASUREMENT"),
        ("show --rate", "--rate needs a MEASUREMENT"),
        ("status --watch --json", "--watch and --json do not go together"),
        ("completion tcsh", "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        ("completion", "Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish"),
    ],
)
def test_what_is_wrong_with_a_question_is_told(
    filled: Cli, inside: Inside, words: str, sentence: str
) -> None:
    command, *options = words.split()
    done = inside(filled, command, *options)
    assert done.status == 2
    assert sentence in done.error
    assert done.error.endswith(f"; see metrics-pipeline {command} --help")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "--config-dir", "/etc"], "--config-dir goes before the command; see"),
        (["strat"], "No such command 'strat'. Did you mean 'status'? See"),
    ],
)
def test_a_wrong_command_line_is_told_with_the_help_to_see(
    cli: Cli, inside: Inside, words: list[str], sentence: str
) -> None:
    done = inside(cli, *words)
    assert (done.status, done.error) == (2, f"{sentence} metrics-pipeline --help")


def test_settings_that_can_be_used(cli: Cli, inside: Inside) -> None:
    none = inside(cli, "settings", "check")
    assert none.out == f"{cli.config_dir} has no settings files, and needs none.\n"
    (cli.config_dir / "settings.toml").write_text("retention_hours = 48\n")
    check, human = inside(cli, "settings", "check"), inside(cli, "settings", "show")
    data = inside(cli, "settings", "show", "--json")
    assert check == Done(0, f"The settings in {cli.config_dir} can be used.\n", "")
    lines = [line.split() for line in human.out.splitlines()[1:]]
    assert tuple(words[0] for words in lines) == NAMES  # a setting is a line, for grep
    toml = str(cli.config_dir / "settings.toml")
    where = ["environment", "variable", "METRICS_DATA_DIR"]
    assert ["retention_hours", "48", toml, "yes"] in lines
    assert ["data_dir", str(cli.data_dir), *where, "yes"] in lines
    assert ["influxdb_timeout_s", "10", "default"] in lines
    assert ["influxdb_url", "-", "default"] in lines
    rows = {row["name"]: row for row in data.json()}
    assert tuple(rows) == NAMES
    assert (rows["retention_hours"]["value"], rows["retention_hours"]["default"]) == ("48", "168")


def test_settings_that_are_wrong_are_told_one_a_line_by_every_command(
    cli: Cli, inside: Inside
) -> None:
    path = cli.config_dir / "settings.toml"
    path.write_text('retention_hours = "a week"\nnosuch = 1\n[tags]\ntime = "x"\n')
    others = ("settings check", "settings show", "once", "status", "show")
    done = [cli("run"), *(inside(cli, *words.split()) for words in others)]
    assert {one.err for one in done} == {done[0].err}
    assert {(one.status, one.out) for one in done} == {(78, "")}
    lines = done[0].err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"metrics-pipeline: {path}: ") for line in lines)
    assert "retention_hours = 'a week' must be a whole number of hours from 0" in lines[0]
    assert "nosuch is not a setting" in lines[1]
    assert "tags.time" in lines[2]


def test_a_config_dir_that_is_not_there_is_told(cli: Cli, inside: Inside) -> None:
    done = inside(cli, "--config-dir", "nowhere", "settings", "check")
    assert done.error == f"--config-dir: '{cli.folder}/nowhere' must be an existing folder"


def test_metrics_is_the_catalogue(cli: Cli, inside: Inside) -> None:
    page = Path(__file__).parents[2] / "docs/metrics.md"
    written = inside(cli, "metrics", "--markdown").out
    assert page.read_text(encoding="utf-8") == written, "to make it anew: make docs"
    human, data = inside(cli, "metrics"), inside(cli, "metrics", "--json")
    entries = catalogue.load()
    found = [(row["measurement"], row["field"], row["type"], row["unit"]) for row in data.json()]
    assert found == [(e.measurement, e.field, e.type, e.unit) for e in entries]
    lines = human.out.splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [[e.measurement, e.field] for e in entries]
    assert all(line.endswith(e.meaning) for line, e in zip(lines, entries, strict=True))


def test_another_system_is_told_in_a_sentence(
    cli: Cli, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    done = inside(cli, "metrics")
    assert (done.status, done.error) == (1, "this system is not supported, run it on Linux")
