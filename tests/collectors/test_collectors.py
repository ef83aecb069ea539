"""The collectors as a set: which there are, which run, and what comes of it."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.collectors import ALL, NoData, build, catalogue, names
from pipeline.collectors._host.served import find_served
from pipeline.collectors._host.timeouts import TimeoutRunner
from pipeline.point import decode
from pipeline.settings import CollectorOptions

from .fakes import DEFAULTS, FakeHost


def test_names_are_those_of_the_measurements() -> None:
    assert {entry.measurement for entry in catalogue.load()} <= {
        *names(),
        *("metrics_delivery", "metrics_gap", "soft_interrupts"),
    }


def test_collectors_run_by_default_or_as_told(fake: FakeHost) -> None:
    def running(**options: CollectorOptions) -> list[str]:
        return [guard.name for guard in build(fake.host(), options)]

    off, on = CollectorOptions(enabled=False), CollectorOptions(enabled=True)
    default = [collector.name for collector in ALL if collector.default_enabled]
    assert running() == default
    assert running(cpu=off, mem=on) == [name for name in default if name != "cpu"]
    everyone = [collector.name for collector in ALL]
    assert running(**dict.fromkeys(everyone, on)) == everyone


def test_options_reach_their_collector(fake: FakeHost) -> None:
    guards = build(fake.host(), {"net": CollectorOptions(exclude=("eth0",))})
    (net,) = (guard for guard in guards if guard.name == "net")
    assert net.run(1, {}).lines == ()


def test_lines_bear_the_common_tags_and_the_time(fake: FakeHost) -> None:
    lines = [line for guard in build(fake.host(), {}) for line in guard.run(7, {"host": "h"}).lines]
    read_back = list(decode("\n".join(lines)))
    assert read_back
    assert {line.timestamp_ns for line in read_back} == {7}
    assert {line.point.tags["host"] for line in read_back} == {"h"}


def test_each_file_of_proc_that_is_read_is_one_that_another_program_may_serve(
    fake: FakeHost, tmp_path: Path
) -> None:
    read: set[str] = set()

    def note(path: str) -> bytes:
        read.add(path)
        return fake.host().read_file(path)

    host = replace(fake.host(), read_file=note)
    for collector in ALL:
        made = collector(host, replace(DEFAULTS, exclude=(), per_cpu=True))
        with suppress(NoData, OSError):
            list(made.collect())
    # Of networks and of single processes nobody serves any.
    files = {path for path in read if re.match(r"/proc/(?!net/|\d|self/)", path)}
    for path in files:
        served = Path(f"{tmp_path}{path}")
        served.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(served)
    found = find_served(f"{tmp_path}/proc", TimeoutRunner(SystemClock()))
    unknown = {path for path in files if f"{tmp_path}{path}" not in found}
    assert unknown == set(), "add them to the files of pipeline/collectors/_host/served.py"


@pytest.mark.slow
def test_psutil_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, pipeline.collectors; print('psutil' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *(("swap", "/proc/meminfo"), ("mem", "/proc/meminfo"), ("cpu", "/proc/stat")),
        *(("processes", "/proc"), ("net", "/proc/net/dev"), ("diskio", "/proc/diskstats")),
    ],
)
def test_a_file_that_cannot_be_read_is_a_failure(either: FakeHost, name: str, path: str) -> None:
    either.errors[path] = IsADirectoryError()
    (collector,) = (one for one in ALL if one.name == name)
    with pytest.raises(IsADirectoryError):
        list(collector(either.host(), DEFAULTS).collect())
