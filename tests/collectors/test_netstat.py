from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline.collectors import Omission, Silence
from pipeline.collectors.netstat import Netstat
from pipeline.point import Point

from .captured_services import TCP
from .fakes import DEFAULTS, FakeHost, read, types

STATES = (
    *("established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close"),
    *("close_wait", "last_ack", "listen", "closing", "none"),
)


def fields(**counted: int) -> dict[str, int]:
    """Those of a reading in which all others are 0."""
    none = {f"tcp_{state}": 0 for state in STATES} | {"udp_socket": 0}
    return none | counted


def test_sockets_of_both_families_by_state(fake: FakeHost) -> None:
    (point,) = read(Netstat(fake.host(), DEFAULTS))
    counted = fields(tcp_listen=3, tcp_established=1, tcp_time_wait=1, udp_socket=1)
    assert point == Point("netstat", counted)
    assert {*types(point).values()} == {int}


@pytest.mark.parametrize("number", range(1, 14))
def test_each_state_of_the_kernel_has_a_field(fake: FakeHost, number: int) -> None:
    fake.files["/proc/net/tcp"] = TCP.replace(b" 06 ", b" %02X " % number)
    (point,) = read(Netstat(fake.host(), DEFAULTS))
    names = dict(enumerate(STATES[:-1], start=1))
    before = fields(tcp_listen=3, tcp_established=1, udp_socket=1)
    name = f"tcp_{names.get(number, 'none')}"
    assert point.fields == before | {name: before[name] + 1}


def test_a_machine_without_ipv6_and_a_file_that_cannot_be_read(fake: FakeHost) -> None:
    del fake.files["/proc/net/tcp6"]
    (point,) = read(Netstat(fake.host(), DEFAULTS))
    assert point.fields == fields(tcp_listen=2, tcp_established=1, tcp_time_wait=1, udp_socket=1)
    fake.errors["/proc/net/udp"] = PermissionError(13, "Permission denied")
    omitted, counted = Netstat(fake.host(), DEFAULTS).collect()
    assert isinstance(omitted, Omission)
    assert omitted.what == "UDP"
    assert isinstance(counted, Point)
    assert counted.fields.keys() == {f"tcp_{state}" for state in STATES}
    fake.errors["/proc/net/tcp"] = PermissionError(13, "Permission denied")
    with pytest.raises(PermissionError):
        list(Netstat(fake.host(), DEFAULTS).collect())


def test_a_list_that_takes_too_long_is_given_up_and_neither_held_nor_read_to_its_end(
    fake: FakeHost,
) -> None:
    host, given = fake.host(), 0

    def read_blocks(path: str) -> Iterator[bytes]:
        nonlocal given
        if path != "/proc/net/tcp":
            yield from host.read_blocks(path)
            return
        while True:  # a list without an end
            given += 1
            yield TCP
            fake.clock.advance(0.1)

    slow = replace(host, read_blocks=read_blocks)
    silent, point = Netstat(slow, DEFAULTS).collect()
    assert silent == Silence("TCP", "no answer within 1000 ms")
    assert point == Point("netstat", {"udp_socket": 1})
    assert given < 15
