import json
import os
import subprocess
import sys

import pytest

from pipeline.collectors import NoData, Silence
from pipeline.collectors.net import Net
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, Hang, read, types

DEV, LINKS = "/proc/net/dev", "/sys/class/net"
UP, DOWN, LOOPBACK = b"0x1003\n", b"0x1002\n", b"0x9\n"


def plug_in(fake: FakeHost, *names: str, flags: bytes = UP) -> None:
    for name in names:
        row = f"{name}: " + " ".join(str(number) for number in range(16)) + "\n"
        fake.files[DEV] += row.encode(errors="surrogateescape")
        fake.files[f"{LINKS}/{name}/flags"] = flags


def interfaces(fake: FakeHost) -> list[str]:
    return [point.tags["interface"] for point in read(Net(fake.host(), DEFAULTS))]


def test_point(either: FakeHost) -> None:
    (point,) = read(Net(either.host(), DEFAULTS))
    assert point == Point(
        "net",
        {
            "bytes_sent": 100,
            "bytes_recv": 101,
            "packets_sent": 102,
            "packets_recv": 103,
            "err_in": 104,
            "err_out": 105,
            "drop_in": 106,
            "drop_out": 107,
            "speed": 1000,
        },
        {"interface": "eth0"},
    )
    assert set(types(point).values()) == {int}


def test_which_interfaces(either: FakeHost) -> None:
    plug_in(either, "wlan0", "docker0", "br-lan")
    plug_in(either, "br-0123456789ab", "veth1a2b3c4")  # of containers
    plug_in(either, "down0", flags=DOWN)
    plug_in(either, "dummy1", flags=LOOPBACK)
    assert interfaces(either) == ["br-lan", "docker0", "eth0", "wlan0"]
    either.change(DEV, rb"^ *(eth|wlan|docker|br-lan).*\n", b"")
    with pytest.raises(NoData):
        interfaces(either)


def test_names_that_need_care(either: FakeHost) -> None:
    names = ["a,b=c", "größe", "eth0:1", 'q"\\']
    plug_in(either, *names, os.fsdecode(b"\xff0"))
    assert sorted(interfaces(either)) == sorted([*names, r"\xff0", "eth0"])


def test_counter_that_began_anew_is_told_as_it_is(either: FakeHost) -> None:
    net = Net(either.host(), DEFAULTS)
    read(net)
    either.change(DEV, b"eth0:.*", b"eth0: 4 6 7 9 0 0 0 0 3 5 8 10 0 0 0 0")
    (point,) = read(net)
    assert (point.fields["bytes_sent"], point.fields["bytes_recv"]) == (3, 4)


def test_links_are_asked_for_again_in_a_while_or_after_a_change(fake: FakeHost) -> None:
    net, path = Net(fake.host(), DEFAULTS), f"{LINKS}/eth0/speed"

    def speed() -> object:
        return read(net)[0].fields["speed"]

    assert speed() == 1000
    fake.files[path] = b"100\n"
    fake.clock.advance(9.0)
    assert speed() == 1000
    fake.clock.advance(1.0)
    assert speed() == 100
    fake.files[path] = b"10\n"
    plug_in(fake, "eth1")
    assert speed() == 10


REFUSED = OSError(22, "Invalid argument")


@pytest.mark.parametrize(
    "speed", [b"-1\n", b"0\n", b"4294967295\n", b"", b"nonsense\n", b"9" * 5000, REFUSED]
)
def test_unknown_speed_is_not_written(fake: FakeHost, speed: bytes | OSError) -> None:
    path = f"{LINKS}/eth0/speed"
    if isinstance(speed, OSError):
        fake.errors[path] = speed
    else:
        fake.files[path] = speed
    (point,) = read(Net(fake.host(), DEFAULTS))
    assert (point.fields["bytes_sent"], "speed" in point.fields) == (100, False)


def test_a_driver_that_does_not_tell_the_speed_costs_the_speed_only(fake: FakeHost) -> None:
    plug_in(fake, "eth1")
    fake.files[f"{LINKS}/eth1/speed"] = b"10\n"
    fake.errors[f"{LINKS}/eth0/speed"] = Hang()
    net = Net(fake.host(), DEFAULTS)
    for _ in range(2):
        silence, *points = net.collect()
        assert silence == Silence("speed of eth0", "no answer within 1000 ms")
        speeds = [point.fields.get("speed") for point in points if isinstance(point, Point)]
        assert speeds == [None, 10]
        fake.clock.advance(10.0)


def test_without_a_thread_to_ask_for_it_the_speed_is_missing_and_told(fake: FakeHost) -> None:
    net = Net(fake.host(), DEFAULTS)
    fake.runner.refusal = RuntimeError("can't start new thread")
    silence, point = net.collect()
    assert silence == Silence("speed of eth0", "can't start new thread")
    assert isinstance(point, Point)
    assert "speed" not in point.fields
    fake.runner.refusal = None
    (point,) = read(net)
    assert "speed" in point.fields


def test_without_sight_of_the_links_traffic_is_told_all_the_same(fake: FakeHost) -> None:
    fake.errors[f"{LINKS}/eth0/flags"] = PermissionError()
    fake.without("/lo/flags", "/eth0/speed")
    assert interfaces(fake) == ["eth0"]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="making interfaces takes root")
def test_real_interfaces_with_names_that_need_care() -> None:
    names = ["a,b=c", "größe", 'x"\\y', os.fsdecode(b"caf\xe9")]
    code = (
        "import subprocess, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for words in (['add', name, 'type', 'bridge'], ['set', name, 'up']):\n"
        "        subprocess.run(['ip', 'link', *words], check=True)\n"
        "sys.exit(subprocess.run([sys.executable, '-m', 'pipeline', 'once', '--json']).returncode)"
    )
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", code, *names],
        capture_output=True,
        check=True,
        timeout=60,
    )
    read = [p["tags"]["interface"] for p in json.loads(done.stdout) if p["measurement"] == "net"]
    assert sorted(read) == sorted([*names[:3], r"caf\xe9"])
    assert done.stderr == b""
