import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from pipeline.collectors import Guard, Omission, Silence
from pipeline.collectors.base import NoData
from pipeline.collectors.net import Net
from pipeline.point import Point, decode
from tests.agents import eventually

from .captured import NET_DEV
from .fakes import DEFAULTS, FakeHost, types

HEAD = b"".join(NET_DEV.splitlines(keepends=True)[:2])
UP, DOWN, LOOPBACK = b"0x1003\n", b"0x1002\n", b"0x9\n"


class Own:
    """The host that the agent runs on."""

    sys = "/sys/class/net"
    dev = "/proc/net/dev"

    def __init__(self, fake: FakeHost) -> None:
        self.fake = fake

    def plug_in(self, name: str, flags: bytes = UP) -> None:
        row = f"{name}: " + " ".join(str(number) for number in range(16)) + "\n"
        self.fake.files[self.dev] += row.encode(errors="surrogateescape")
        self.fake.files[f"{self.sys}/{name}/flags"] = flags

    def set_speed(self, speed: int) -> None:
        self.fake.files[f"{self.sys}/eth0/speed"] = f"{speed}\n".encode()

    def begin_anew(self) -> None:
        self.fake.files[self.dev] = HEAD + b"eth0: 4 6 7 9 0 0 0 0 3 5 8 10 0 0 0 0\n"

    def unplug_all(self) -> None:
        self.fake.files[self.dev] = HEAD


class Around(Own):
    """The host of the container that the agent runs in."""

    sys = "/host/sys/class/net"
    dev = "/host/proc/1/net/dev"

    def __init__(self, fake: FakeHost) -> None:
        fake.contain()
        super().__init__(fake)


@pytest.fixture(params=[Own, Around], ids=["own", "around"])
def source(request: pytest.FixtureRequest, fake: FakeHost) -> Own:
    make: Callable[[FakeHost], Own] = request.param
    return make(fake)


def open_net(source: Own) -> Net:
    return Net(source.fake.host(), DEFAULTS)


def read(items: Net | Iterable[Point | Omission]) -> list[Point]:
    every = items.collect() if isinstance(items, Net) else items
    return [item for item in every if isinstance(item, Point)]


def interfaces(net: Net) -> list[str]:
    return [point.tags["interface"] for point in read(net)]


def test_point(source: Own) -> None:
    (point,) = read(open_net(source))
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


def test_which_interfaces(source: Own) -> None:
    source.plug_in("wlan0")
    source.plug_in("docker0", UP)  # nothing is plugged in
    source.plug_in("down0", DOWN)
    source.plug_in("dummy1", LOOPBACK)
    assert interfaces(open_net(source)) == ["docker0", "eth0", "wlan0"]


def test_speed_that_is_not_told_is_unknown(source: Own) -> None:
    source.plug_in("wlan0")
    assert [point.fields.get("speed") for point in read(open_net(source))] == [1000, None]


def test_names_that_need_care(source: Own) -> None:
    names = ["a,b=c", "größe", "eth0:1", 'q"\\', os.fsdecode(b"\xff0")]
    for name in names:
        source.plug_in(name)
    read = interfaces(open_net(source))
    assert sorted(read) == sorted([*names[:4], r"\xff0", "eth0"])


def test_counter_that_began_anew_is_told_as_it_is(source: Own) -> None:
    net = open_net(source)
    list(net.collect())
    source.begin_anew()
    (point,) = read(net)
    assert (point.fields["bytes_sent"], point.fields["bytes_recv"]) == (3, 4)


def test_links_are_asked_for_again_in_a_while_or_after_a_change(source: Own) -> None:
    def speed() -> object:
        return read(net)[0].fields["speed"]

    net = open_net(source)
    assert speed() == 1000
    source.set_speed(100)
    source.fake.clock.advance(9.0)
    assert speed() == 1000
    source.fake.clock.advance(1.0)
    assert speed() == 100
    source.set_speed(10)
    source.plug_in("eth1")
    assert speed() == 10


def test_no_interface_is_no_data(source: Own) -> None:
    source.unplug_all()
    with pytest.raises(NoData):
        interfaces(open_net(source))


@pytest.mark.parametrize(
    "speed", [b"-1\n", b"0\n", b"4294967295\n", b"", b"nonsense\n", b"9" * 5000]
)
def test_unknown_speed_is_not_written(fake: FakeHost, speed: bytes) -> None:
    fake.files["/sys/class/net/eth0/speed"] = speed
    (point,) = read(Net(fake.host(), DEFAULTS))
    assert (point.fields["bytes_sent"], "speed" in point.fields) == (100, False)


def test_refused_speed_is_unknown(fake: FakeHost) -> None:
    fake.errors["/sys/class/net/eth0/speed"] = OSError(22, "Invalid argument")
    (point,) = read(Net(fake.host(), DEFAULTS))
    assert "speed" not in point.fields


def test_a_driver_that_does_not_tell_the_speed_costs_the_speed_only(fake: FakeHost) -> None:
    answers = threading.Event()
    host, read_file = fake.host(), fake.host().read_file

    def hang(path: str) -> bytes:
        assert not path.endswith("eth0/speed") or answers.wait(60)
        return read_file(path)

    Own(fake).plug_in("eth1")
    fake.files["/sys/class/net/eth1/speed"] = b"10\n"
    net = Net(replace(host, read_file=hang), replace(DEFAULTS, timeout_ms=50))
    silence = Silence("speed of eth0", "no answer within 50 ms")

    def eth0_alone_has_none() -> bool:
        told, *others = net.collect()
        assert told == silence
        points = [one for one in others if isinstance(one, Point)]  # a busy machine delays eth1's
        return [point.fields.get("speed") for point in read(points)] == [None, 10]

    for _ in range(2):
        eventually(eth0_alone_has_none, "that the speed of eth1 is told")
        fake.clock.advance(10.0)
    answers.set()


def test_without_a_thread_to_ask_for_it_the_speed_is_missing_and_told(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    net = Net(fake.host(), DEFAULTS)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        silence, point = net.collect()
    assert silence == Silence("speed of eth0", "can't start new thread")
    assert "speed" not in read([point])[0].fields
    (point,) = net.collect()
    assert "speed" in read([point])[0].fields


@pytest.mark.parametrize("row", ["18446744073709551615", "-7", "x", "9" * 5000])
def test_a_figure_that_cannot_be_costs_itself_only(source: Own, row: str) -> None:
    source.plug_in("eth1")
    before = source.fake.files[source.dev]
    source.fake.files[source.dev] = before.replace(b" 101 ", f" {row} ".encode())
    outcome = Guard(open_net(source), DEFAULTS, source.fake.clock).run(1, {})
    eth0, eth1 = (line.point.fields for line in decode("\n".join(outcome.lines)))
    assert (len(eth0), len(eth1), outcome.lost_points) == (8, 8, 1)
    assert "bytes_recv" not in eth0
    assert eth1["bytes_recv"] == 0


@pytest.mark.parametrize("line", ["", "nonsense", "eth9: 1 2", ": 1", "eth9:"])
def test_a_line_of_another_shape_costs_itself_only(source: Own, line: str) -> None:
    source.fake.files[source.dev] += f"{line}\n".encode()
    first = read(open_net(source))[0]
    assert first.fields["bytes_recv"] == 101


def test_without_sight_of_the_links_traffic_is_told_all_the_same(fake: FakeHost) -> None:
    fake.errors["/sys/class/net/eth0/flags"] = PermissionError()
    del fake.files["/sys/class/net/lo/flags"], fake.files["/sys/class/net/eth0/speed"]
    (point,) = read(Net(fake.host(), DEFAULTS))
    assert point.tags == {"interface": "eth0"}
    assert "speed" not in point.fields


def test_unreadable_file_is_a_failure(source: Own) -> None:
    source.fake.errors[source.dev] = IsADirectoryError()
    with pytest.raises(IsADirectoryError):
        interfaces(open_net(source))


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
