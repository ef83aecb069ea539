import os
from dataclasses import replace

import pytest

from pipeline.collectors.process import Process
from pipeline.point import Point

from .captured import pid_stat
from .fakes import DEFAULTS, FakeHost, types

PAGE = os.sysconf("SC_PAGE_SIZE")
KERNEL = 0x208040


def start(fake: FakeHost, pid: int, name: str, uid: int = 0, **stat: int) -> None:
    fake.files[f"/proc/{pid}/stat"] = pid_stat(pid, name, "S", **stat)
    fake.files[f"/proc/{pid}/status"] = f"Name:\t{name}\nUid:\t{uid}\t7\t7\t7\n".encode()


def read(fake: FakeHost, process: Process, seconds: float = 1.0) -> dict[str, Point]:
    fake.clock.advance(seconds)
    return {point.tags["process_name"]: point for point in process.collect()}


@pytest.fixture
def fake() -> FakeHost:
    fake = FakeHost()
    fake.without("/proc/1/", "/proc/2/", "/proc/80/")
    return fake


def test_processes_of_one_name_and_user_are_one(fake: FakeHost) -> None:
    start(fake, 10, "nginx", 33, ticks=100, threads=2, pages=50)
    start(fake, 11, "nginx", 33, ticks=200, threads=3, pages=70)
    start(fake, 12, "nginx", 0, ticks=300, pages=10)
    process = Process(fake.host(), DEFAULTS)
    start(fake, 10, "nginx", 33, ticks=110, threads=2, pages=50)
    start(fake, 11, "nginx", 33, ticks=240, threads=3, pages=70)
    fake.clock.advance(1.0)
    points = list(process.collect())
    assert points == [
        Point(
            "process",
            {"cpu_usage": 50.0, "memory_rss": 120 * PAGE, "num_threads": 5, "pid_count": 2},
            {"process_name": "nginx", "user": "www-data"},
        ),
        Point(
            "process",
            {"cpu_usage": 0.0, "memory_rss": 10 * PAGE, "num_threads": 1, "pid_count": 1},
            {"process_name": "nginx", "user": "root"},
        ),
    ]
    assert types(points[1]) == {
        "cpu_usage": float,
        **dict.fromkeys(("memory_rss", "num_threads", "pid_count"), int),
    }


def test_the_busiest_then_the_largest(fake: FakeHost) -> None:
    for pid in range(1, 10):
        start(fake, pid, f"p{pid}", pages=pid)
    process = Process(fake.host(), replace(DEFAULTS, top=2))
    for pid, ticks in ((1, 5), (2, 50), (3, 20), (9, 10)):
        start(fake, pid, f"p{pid}", pages=pid, ticks=ticks)
    assert list(read(fake, process)) == ["p2", "p3", "p9", "p8"]


def test_what_the_user_leaves_out_takes_no_place_and_the_idle_are_not_busy(fake: FakeHost) -> None:
    for pid in range(1, 10):
        start(fake, pid, f"p{pid}", pages=pid)
    options = replace(DEFAULTS, top=2, include=("p[1-7]",), exclude=("p7",))
    assert list(read(fake, Process(fake.host(), options))) == ["p6", "p5"]


def test_process_that_began_meanwhile_counts_with_all_it_did(fake: FakeHost) -> None:
    start(fake, 5, "old", ticks=900, start=1)
    process = Process(fake.host(), DEFAULTS)
    start(fake, 5, "new", ticks=30, start=2)  # the number is used again
    points = read(fake, process)
    assert list(points) == ["new"]
    assert points["new"].fields["cpu_usage"] == 30.0


def test_usage_is_absent_over_less_than_a_tenth_of_a_second(fake: FakeHost) -> None:
    start(fake, 5, "a", pages=1)
    process = Process(fake.host(), DEFAULTS)
    fake.clock.wall_ns -= 3600 * 10**9  # which changes nothing
    start(fake, 5, "a", pages=1, ticks=5)
    assert "cpu_usage" not in read(fake, process, 0.05)["a"].fields
    assert read(fake, process, 0.05)["a"].fields["cpu_usage"] == pytest.approx(50.0)


def test_kernel_threads_go_by_what_they_are_not_by_what_they_do(fake: FakeHost) -> None:
    process = Process(fake.host(), DEFAULTS)
    for pid, name in enumerate(("kworker/0:1-events", "kworker/1:0H-kblockd", "jbd2/vda1-8")):
        fake.files[f"/proc/{pid}/stat"] = pid_stat(pid, name, flags=KERNEL, ticks=9 - pid)
    start(fake, 50, "a/b", pages=1)
    points = read(fake, process)
    assert list(points) == ["kworker", "jbd2", "a/b"]
    assert points["kworker"].fields["pid_count"] == 2
    assert points["kworker"].tags["user"] == "root"


def test_users(fake: FakeHost) -> None:
    start(fake, 5, "known", 33, pages=9)
    start(fake, 6, "number", 1234, pages=8)
    start(fake, 7, "unknown", pages=7)
    fake.files["/proc/7/status"] = b"Name:\tunknown\n"
    points = read(fake, Process(fake.host(), DEFAULTS))
    users = [point.tags["user"] for point in points.values()]
    assert users == ["www-data", "1234", "unknown"]
    fake.files["/etc/passwd"] = b"root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n"
    start(fake, 8, "two names", 0, pages=6)
    assert read(fake, Process(fake.host(), DEFAULTS))["two names"].tags["user"] == "root"
    fake.errors["/etc/passwd"] = PermissionError()
    assert read(fake, Process(fake.host(), DEFAULTS))["known"].tags["user"] == "33"


def test_new_process_may_yet_become_another_users(fake: FakeHost) -> None:
    process = Process(fake.host(), DEFAULTS)
    start(fake, 5, "a", 0, pages=1)
    assert read(fake, process)["a"].tags["user"] == "root"
    start(fake, 5, "a", 33, pages=1)
    assert read(fake, process)["a"].tags["user"] == "www-data"
    del fake.files["/proc/5/status"]  # it is not asked for again
    assert read(fake, process)["a"].tags["user"] == "www-data"


def test_process_that_ended_meanwhile_or_is_hidden_is_left_out(fake: FakeHost) -> None:
    for pid, name in ((5, "ended"), (6, "hidden"), (7, "broken"), (8, "here")):
        start(fake, pid, name, pages=1)
    del fake.files["/proc/5/status"]
    fake.errors["/proc/6/stat"] = PermissionError()
    fake.files["/proc/7/stat"] = b"7 (broken) S 1"
    assert list(read(fake, Process(fake.host(), DEFAULTS))) == ["here"]


@pytest.mark.parametrize("name", ["a b", "(sd-pam)", ") R 1", "a,b=c", "größe", 'q"\\'])
def test_names_that_need_care(fake: FakeHost, name: str) -> None:
    start(fake, 5, name, pages=1)
    assert list(read(fake, Process(fake.host(), DEFAULTS))) == [name]


def test_list_that_cannot_be_read_is_a_failure_until_it_can(fake: FakeHost) -> None:
    start(fake, 5, "a", pages=1, ticks=9)
    fake.errors["/proc"] = PermissionError()
    process = Process(fake.host(), DEFAULTS)
    with pytest.raises(PermissionError):
        read(fake, process)
    fake.errors.clear()
    assert "cpu_usage" not in read(fake, process)["a"].fields
    assert read(fake, process)["a"].fields["cpu_usage"] == 0.0
