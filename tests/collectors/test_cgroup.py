from dataclasses import replace

import pytest

from pipeline.collectors import NoData, Omission
from pipeline.collectors.cgroup import Cgroup
from pipeline.point import Point
from pipeline.settings import CollectorOptions

from .captured_services import DOCKER, PODMAN, cgroup
from .fakes import DEFAULTS, FakeHost, guarded, read, types, written

V2 = "/sys/fs/cgroup"
EVENTS = {f"memory.events.{key}": 0 for key in ("low", "high", "max", "oom", "oom_kill")}
IDLE = {
    "memory.swap.current": 0,
    **EVENTS,
    "cpu.stat.usage_usec": 4593851,
    "cpu.stat.user_usec": 2312658,
    "cpu.stat.system_usec": 2281193,
    "cpu.stat.nr_periods": 0,
    "cpu.stat.nr_throttled": 0,
    "cpu.stat.throttled_usec": 0,
    "pids.current": 1,
    "pids.max": 1155,
}


def by_name(fake: FakeHost, options: CollectorOptions = DEFAULTS) -> dict[str, Point]:
    return {point.tags["name"]: point for point in read(Cgroup(fake.host(), options))}


def test_services_containers_and_a_users_own_services_by_their_names(fake: FakeHost) -> None:
    points = by_name(fake)
    assert {name: point.fields.get("memory.current") for name, point in points.items()} == {
        "busy.service": 184320,
        "cache": 2000,
        "default/web-7d9f/nginx": 3000,
        "hungry.service": 20455424,
        "init.scope": None,
        "shop": 1000,
        "user@1000.service/dbus.service": 5000,
        "web.1": 4000,
    }
    assert list(points) == sorted(points)
    assert {kind for point in points.values() for kind in types(point).values()} == {int}


def test_figures_of_a_group(fake: FakeHost) -> None:
    points = by_name(fake)
    assert points["shop"].fields == IDLE | {"memory.current": 1000}
    assert points["busy.service"].fields == IDLE | {
        "memory.current": 184320,
        "cpu.stat.usage_usec": 3638462,
        "cpu.stat.user_usec": 2422053,
        "cpu.stat.system_usec": 1216409,
        "cpu.stat.nr_periods": 363,
        "cpu.stat.nr_throttled": 358,
        "cpu.stat.throttled_usec": 30316074,
        "io.stat.rbytes": 90112,
        "io.stat.wbytes": 18874368,
        "io.stat.rios": 3,
        "io.stat.wios": 18,
    }
    assert points["hungry.service"].fields == IDLE | {
        "memory.current": 20455424,
        "memory.max": 20971520,
        "memory.events.max": 47,
        "memory.events.oom": 1,
        "memory.events.oom_kill": 1,
    }
    # Without controllers there is the processor's time alone, as in Linux 4.15 and later.
    assert points["init.scope"].fields.keys() == {
        f"cpu.stat.{key}_usec" for key in ("usage", "user", "system")
    }


def test_what_went_to_a_disk_by_way_of_other_devices_counts_once(fake: FakeHost) -> None:
    fake.files[f"{V2}/system.slice/busy.service/io.stat"] = (
        b"7:1 rbytes=1 wbytes=1 rios=1 wios=1\n"  # a loop device
        b"254:0 rbytes=100 wbytes=20 rios=3 wios=4 dbytes=0 dios=0\n"
        b"253:0 rbytes=100 wbytes=20 rios=3 wios=4 dbytes=0 dios=0\n"  # of LVM, on the former
        b"259:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0 cost.usage=5\n"
        b"8:0 \n"  # as for a device that was not used
    )
    fields = by_name(fake)["busy.service"].fields
    sums = [fields[f"io.stat.{key}"] for key in ("rbytes", "wbytes", "rios", "wios")]
    assert sums == [101, 22, 6, 8]


@pytest.mark.parametrize(
    ("lacking", "name"),
    [("/var/lib/docker", DOCKER[:12]), ("/var/lib/containers", PODMAN[:12])],
)
def test_a_container_whose_name_may_not_be_read_goes_by_its_id(
    fake: FakeHost, lacking: str, name: str
) -> None:
    fake.without(lacking)
    assert name in by_name(fake)


def test_names_are_read_again_for_a_new_container_and_each_minute(fake: FakeHost) -> None:
    collector = Cgroup(fake.host(), DEFAULTS)

    def names() -> set[str]:
        return {point.tags["name"] for point in read(collector)}

    assert "shop" in names()
    path = f"/var/lib/docker/containers/{DOCKER}/config.v2.json"
    fake.files[path] = b'{"Name":"/store"}'
    assert "shop" in names()
    fake.clock.advance(60.0)
    assert "store" in names()
    new = 64 * "e"
    fake.files |= cgroup(f"{V2}/docker/{new}", 1)  # as without systemd
    fake.files[f"/var/lib/docker/containers/{new}/config.v2.json"] = b'{"Name":"/new"}'
    assert {"store", "new"} < names()


def test_what_is_made_anew_for_each_login_stays_out_unless_it_is_asked_for(fake: FakeHost) -> None:
    assert "session-4.scope" not in by_name(fake)
    asked = by_name(fake, CollectorOptions(include=("session-*", "user*.slice")))
    assert asked.keys() == {"session-4.scope"}
    fake.files |= cgroup(f"{V2}/user.slice", 9) | cgroup(f"{V2}/user.slice/user-1000.slice", 8)
    assert "user.slice" in by_name(fake)
    assert "user-1000.slice" not in by_name(fake)


@pytest.mark.parametrize("version", ["1", "mixed", "none"])
def test_groups_of_another_version_are_told_and_not_read(fake: FakeHost, version: str) -> None:
    fake.without(V2)
    if version != "none":
        fake.files[f"{V2}/memory/system.slice/a.service/memory.usage_in_bytes"] = b"1\n"
    if version == "mixed":
        fake.files |= {f"{V2}/unified/cgroup.controllers": b"\n"}
        fake.files |= cgroup(f"{V2}/unified/system.slice/a.service", 1)
    why = f"OSError: there are no control groups of version 2 alone at {V2};"
    assert str(guarded(Cgroup(fake.host(), DEFAULTS)).error).startswith(why)


def test_a_system_within_the_system_keeps_its_names_apart(fake: FakeHost) -> None:
    fake.files |= cgroup(f"{V2}/payload/system.slice/busy.service", 7)
    fake.files |= cgroup(f"{V2}/lxc/101/ns/system.slice/busy.service", 8)  # as of Proxmox
    fake.files |= cgroup(f"{V2}/lxc/101", 9)
    memory = {name: point.fields.get("memory.current") for name, point in by_name(fake).items()}
    assert memory["busy.service"] == 184320
    assert memory["payload/busy.service"] == 7
    assert memory["101"] == 9
    assert len(memory) == 10


def test_a_container_that_sees_its_own_group_alone_has_nothing(fake: FakeHost) -> None:
    fake.without(V2)
    fake.files |= cgroup(V2, 1, cgroup__controllers=b"memory\n")
    with pytest.raises(NoData):
        read(Cgroup(fake.host(), DEFAULTS))


def test_a_group_that_goes_and_a_file_that_cannot_be_read_cost_themselves(fake: FakeHost) -> None:
    before = by_name(fake)
    fake.errors[f"{V2}/system.slice/hungry.service/memory.events"] = PermissionError()
    for file in ("memory.current", *IDLE, "io.stat", "memory.max", "memory.events", "cpu.stat"):
        fake.errors[f"{V2}/system.slice/busy.service/{file}"] = OSError(19, "No such device")
    fake.errors[f"{V2}/user.slice/user-1000.slice"] = OSError(19, "No such device")
    after = by_name(fake)
    assert before.keys() - after.keys() == {"busy.service", "user@1000.service/dbus.service"}
    lost = before["hungry.service"].fields.keys() - after["hungry.service"].fields.keys()
    assert lost == EVENTS.keys()


def test_of_thousands_the_same_ones_are_read_and_no_others(fake: FakeHost) -> None:
    for number in range(3000):
        fake.files |= {f"{V2}/system.slice/s{number:04}.service/pids.current": b"1\n"}
    options = CollectorOptions(max_series=50, include=("s*.service",))
    looked: set[str] = set()

    def read_file(path: str) -> bytes:
        looked.add(path)
        return fake.host().read_file(path)

    host = replace(fake.host(), read_file=read_file)
    collector = Cgroup(host, options)
    for _ in range(2):
        outcome = guarded(collector, options)
        names = [point.tags["name"] for point in written(outcome)]
        assert names == [f"s{number:04}.service" for number in range(50)]
        assert outcome.lost_points == 2950
        assert "has too many series" in outcome.problems
    assert {path for path in looked if "/s2" in path} == set()


def test_however_deep_groups_are_the_upper_ones_are_read(fake: FakeHost) -> None:
    below = f"{V2}/a" + 1500 * "/a"
    fake.files[f"{below}/deep.service/pids.current"] = b"1\n"
    assert "busy.service" in by_name(fake)


def test_who_makes_groups_without_end_is_told(fake: FakeHost) -> None:
    listed = [f"g{number}.service" for number in range(10_001)]
    host = replace(fake.host(), list_folder=lambda path: listed if path == V2 else [])
    fake.files[f"{V2}/g7.service/pids.current"] = b"3\n"
    omitted, *points = Cgroup(host, CollectorOptions(include=("g7.*",))).collect()
    assert isinstance(omitted, Omission)
    assert points == [Point("cgroup", {"pids.current": 3}, {"name": "g7.service"})]
