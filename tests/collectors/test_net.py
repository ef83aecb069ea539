import pytest

from pipeline.collectors.collector import NoData
from pipeline.collectors.net import Net
from pipeline.point import Point

from .fakes import FakeHost, counters, link, types


def interfaces(net: Net) -> list[str]:
    return [point.tags["interface"] for point in net.collect()]


def test_point(fake: FakeHost) -> None:
    (point,) = Net(fake.host()).collect()
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


def test_unknown_speed(fake: FakeHost) -> None:
    fake.ps.links["eth0"] = link(speed=0)
    (point,) = Net(fake.host()).collect()
    assert point.fields["speed"] == -1


def test_which_interfaces(fake: FakeHost) -> None:
    fake.ps.counters |= {name: counters(0) for name in ("wlan0", "docker0", "down0", "gone0")}
    fake.ps.links |= {
        "wlan0": link(),
        "docker0": link("up,broadcast,multicast"),  # up, though nothing is plugged in
        "down0": link("broadcast,multicast"),
        "new0": link(),
    }
    assert interfaces(Net(fake.host())) == ["docker0", "eth0", "wlan0"]


def test_platform_without_flags(fake: FakeHost) -> None:
    fake.ps.links = {"lo": link(""), "eth0": link("")}
    fake.ps.links["eth0"].isup = True
    assert interfaces(Net(fake.host())) == ["eth0"]


def test_links_are_asked_for_again_after_a_while_or_when_interfaces_change(fake: FakeHost) -> None:
    net = Net(fake.host())
    interfaces(net)
    fake.clock.advance(9.0)
    interfaces(net)
    assert fake.ps.calls.count("net_if_stats") == 1
    fake.clock.advance(1.0)
    interfaces(net)
    assert fake.ps.calls.count("net_if_stats") == 2
    fake.ps.counters = {**fake.ps.counters, "eth1": counters(0)}
    fake.ps.links["eth1"] = link()
    assert interfaces(net) == ["eth0", "eth1"]


def test_without_permission_to_ask_traffic_is_told_all_the_same(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise PermissionError

    monkeypatch.setattr(fake.ps, "net_if_stats", refuse)
    (point,) = Net(fake.host()).collect()
    assert point.tags == {"interface": "eth0"}
    assert point.fields["speed"] == -1


def test_no_interface_is_no_data(fake: FakeHost) -> None:
    fake.ps.counters = {"lo": counters(0)}
    with pytest.raises(NoData):
        interfaces(Net(fake.host()))
