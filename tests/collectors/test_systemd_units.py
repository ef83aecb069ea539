import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pipeline.collectors import Guard
from pipeline.collectors.systemd_units import SystemdUnits
from pipeline.point import Point, decode
from pipeline.settings import CollectorOptions

from .captured_services import SYSTEMCTL
from .fakes import DEFAULTS, FakeHost, read, types


def unit(name: str, load: str, active: str, sub: str, *codes: int) -> Point:
    names = ("load_code", "active_code", "sub_code")
    tags = {"name": name, "load": load, "active": active, "sub": sub}
    return Point("systemd_units", dict(zip(names, codes, strict=False)), tags)


SERVICES = [
    unit("auditd.service", "not-found", "inactive", "dead", 2, 2, 1),
    unit("broken.service", "loaded", "failed", "failed", 0, 3, 12),
    unit("getty@tty1.service", "loaded", "active", "running", 0, 0, 0),
    unit("hungry.service", "loaded", "activating", "auto-restart", 0, 4, 13),
]


def test_services_and_how_many_of_all_units_have_failed(fake: FakeHost) -> None:
    points = read(SystemdUnits(fake.host(), DEFAULTS))
    assert points == [Point("systemd_units", {"failed": 1, "total": 10}), *SERVICES]
    assert {kind for point in points for kind in types(point).values()} == {int}


def test_others_by_globs_and_the_failed_ones_all_the_same(fake: FakeHost) -> None:
    options = CollectorOptions(include=("*.mount", "dbus.*", "apt-*"), exclude=("-.mount",))
    guard = Guard(SystemdUnits(fake.host(), options), options, fake.clock)
    points = [line.point for line in decode("\n".join(guard.run(1, {}).lines))]
    assert points == [
        Point("systemd_units", {"failed": 1, "total": 10}),
        unit("apt-daily.timer", "loaded", "active", "waiting", 0, 0, 16),
        unit("dbus.socket", "loaded", "active", "running", 0, 0, 0),
        unit(
            r"run-credentials-systemd\x2dsysctl.service.mount",
            *("loaded", "active", "mounted", 0, 0, 0x32),
        ),
    ]


@pytest.mark.parametrize(
    "listed",
    [
        # With a mark, as systemctl sets it for a person; in ASCII; with a column for jobs.
        "● broken.service loaded failed failed Always fails\n",
        "* broken.service loaded failed failed Always fails\n",
        "  broken.service loaded failed failed start Always fails\n",
        "broken.service loaded failed failed\n\nnonsense\n",
    ],
)
def test_lists_of_other_versions(fake: FakeHost, listed: str) -> None:
    fake.files[SYSTEMCTL] = listed.encode()
    counted = Point("systemd_units", {"failed": 1, "total": 1})
    assert read(SystemdUnits(fake.host(), DEFAULTS)) == [counted, SERVICES[1]]


def test_a_state_without_a_number_is_told_by_its_tag_alone(fake: FakeHost) -> None:
    fake.files[SYSTEMCTL] = b"a.service loaded refreshing refresh-extensions A\n"
    expected = unit("a.service", "loaded", "refreshing", "refresh-extensions", 0)
    assert read(SystemdUnits(fake.host(), DEFAULTS))[1:] == [expected]


def test_of_thousands_the_same_ones_are_written(fake: FakeHost) -> None:
    rows = [b"u%04d.service loaded active running U\n" % number for number in range(5000)]
    options = CollectorOptions(max_series=100)
    guard = Guard(SystemdUnits(fake.host(), options), options, fake.clock)
    names = []
    for order in (1, -1):
        fake.files[SYSTEMCTL] = b"".join(rows[::order])
        fake.clock.advance(60.0)
        outcome = guard.run(order, {})
        assert outcome.lost_points == 4901
        names.append([line.point.tags.get("name") for line in decode("\n".join(outcome.lines))])
    assert names == 2 * [[None, *(f"u{number:04}.service" for number in range(99))]]


def test_systemd_is_asked_by_each_reading_of_every_10_s_and_no_more_often(fake: FakeHost) -> None:
    collector = SystemdUnits(fake.host(), DEFAULTS)
    before = read(collector)
    fake.files[SYSTEMCTL] = b"a.service loaded failed failed A\n"
    fake.clock.advance(9.0)
    assert read(collector) == before
    fake.clock.advance(0.99)  # readings are not to the millisecond
    assert read(collector)[0] == Point("systemd_units", {"failed": 1, "total": 1})


def test_a_systemctl_that_fails_is_run_no_more_often(fake: FakeHost) -> None:
    runs: list[Sequence[str]] = []

    def fail(command: Sequence[str], timeout_s: float) -> bytes:
        runs.append(command)
        raise OSError("Failed to connect to bus")

    collector = SystemdUnits(replace(fake.host(), run=fail), DEFAULTS)
    guard = Guard(collector, DEFAULTS, fake.clock)
    for tick in range(1000):
        assert guard.run(tick, {}).error == "OSError: Failed to connect to bus"
        fake.clock.advance(0.01)
    assert len(runs) == 2


def test_a_machine_without_systemd_says_so(fake: FakeHost) -> None:
    del fake.files[SYSTEMCTL]
    guard = Guard(SystemdUnits(fake.host(), DEFAULTS), DEFAULTS, fake.clock)
    why = "OSError: systemd does not run this host: there is no /run/systemd/system"
    assert [guard.run(tick, {}).problems for tick in (1, 2)] == 2 * [{"fails": why}]
    fake.files[SYSTEMCTL] = b"a.service loaded active running A\n"
    fake.clock.advance(10.0)
    assert guard.run(3, {}).problems == {}


def test_in_a_container_the_hosts_own_systemctl_is_run(fake: FakeHost) -> None:
    fake.contain()  # the fake host takes no other command then
    assert read(SystemdUnits(fake.host(), DEFAULTS))[1:] == SERVICES
    fake.errors[f"/host{SYSTEMCTL}"] = OSError("chroot: cannot change root directory to '/host'")
    guard = Guard(SystemdUnits(fake.host(), DEFAULTS), DEFAULTS, fake.clock)
    assert str(guard.run(1, {}).error) == (
        "OSError: the host's systemctl does not run in the container (chroot: cannot change root"
        " directory to '/host'): give it root and the capability SYS_CHROOT, and the host's /run"
    )


def test_a_systemctl_that_hangs_or_fails_costs_itself_alone(fake: FakeHost) -> None:
    released = threading.Event()

    def hang(command: Sequence[str], timeout_s: float) -> bytes:
        released.wait()
        return b""

    options = CollectorOptions(timeout_ms=20)
    host = replace(fake.host(), run=hang)
    guard = Guard(SystemdUnits(host, options), options, fake.clock, host.runner.begin)
    assert guard.run(1, {}).error == "TimeoutError: no answer within 20 ms from systemctl"
    released.set()
    fake.errors[SYSTEMCTL] = OSError("Failed to connect to bus: No such file or directory")
    guard = Guard(SystemdUnits(fake.host(), DEFAULTS), DEFAULTS, fake.clock)
    assert guard.run(2, {}).error == "OSError: Failed to connect to bus: No such file or directory"
