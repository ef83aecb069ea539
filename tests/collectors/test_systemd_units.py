import pytest

from pipeline.collectors.systemd_units import SystemdUnits
from pipeline.point import Point
from pipeline.settings import CollectorOptions

from .captured_services import SYSTEMCTL
from .fakes import DEFAULTS, FakeHost, Hang, guarded, read, types, written


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
    assert written(guarded(SystemdUnits(fake.host(), options), options)) == [
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
    rows = [b"u%04d.service loaded active running U\n" % number for number in range(2000)]
    options = CollectorOptions(max_series=100)
    collector = SystemdUnits(fake.host(), options)
    for order in (1, -1):
        fake.files[SYSTEMCTL] = b"".join(rows[::order])
        fake.clock.advance(60.0)
        outcome = guarded(collector, options)
        assert outcome.lost_points == 1901
        names = [point.tags.get("name") for point in written(outcome)]
        assert names == [None, *(f"u{number:04}.service" for number in range(99))]


def test_systemd_is_asked_by_each_reading_of_every_10_s_and_no_more_often(fake: FakeHost) -> None:
    collector = SystemdUnits(fake.host(), DEFAULTS)
    before = read(collector)
    fake.errors[SYSTEMCTL] = OSError("Failed to connect to bus")
    fake.clock.advance(9.0)
    assert read(collector) == before
    fake.clock.advance(0.99)  # readings are not to the millisecond
    assert guarded(collector).error == "OSError: Failed to connect to bus"
    fake.errors.clear()
    fake.clock.advance(9.0)  # nor is one that fails
    assert guarded(collector).error == "OSError: Failed to connect to bus"
    fake.clock.advance(0.99)
    assert read(collector) == before


def test_a_machine_without_systemd_says_so(fake: FakeHost) -> None:
    del fake.files[SYSTEMCTL]
    collector = SystemdUnits(fake.host(), DEFAULTS)
    why = "OSError: systemd does not run this host: there is no /run/systemd/system"
    assert [guarded(collector).problems for _ in range(2)] == 2 * [{"fails": why}]
    fake.files[SYSTEMCTL] = b"a.service loaded active running A\n"
    fake.clock.advance(10.0)
    assert guarded(collector).problems == {}


def test_a_systemctl_that_does_not_run_in_the_container_says_what_to_do(fake: FakeHost) -> None:
    fake.contain()
    fake.errors[SYSTEMCTL] = OSError("chroot: cannot change root directory to '/host'")
    assert guarded(SystemdUnits(fake.host(), DEFAULTS)).error == (
        "OSError: the host's systemctl does not run in the container (chroot: cannot change root"
        " directory to '/host'): give it root and the capability SYS_CHROOT, and the host's /run"
    )


def test_a_systemctl_that_hangs_or_fails_costs_itself_alone(fake: FakeHost) -> None:
    fake.errors[SYSTEMCTL] = Hang()
    outcome = guarded(SystemdUnits(fake.host(), DEFAULTS))
    assert outcome.error == "TimeoutError: no answer within 1000 ms from systemctl"
    fake.runner.wake()
    fake.errors[SYSTEMCTL] = OSError("Failed to connect to bus: No such file or directory")
    outcome = guarded(SystemdUnits(fake.host(), DEFAULTS))
    assert outcome.error == "OSError: Failed to connect to bus: No such file or directory"
