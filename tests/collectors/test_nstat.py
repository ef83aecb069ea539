"""`nstat`: counters are found by their names, whatever else a kernel has beside them."""

import pytest

from pipeline.collectors import Guard, NoData
from pipeline.collectors.nstat import Nstat
from pipeline.point import FieldValue, decode
from pipeline.settings import CollectorOptions

from .fakes import DEFAULTS, FakeHost, read, types

SNMP, NETSTAT, SNMP6 = "/proc/net/snmp", "/proc/net/netstat", "/proc/net/snmp6"
EVERY = CollectorOptions(exclude=())


def counted(fake: FakeHost, options: CollectorOptions = DEFAULTS) -> dict[str, object]:
    """All counters of a reading in which nothing is left out."""
    points = read(Nstat(fake.host(), options))
    return {name: value for point in points for name, value in point.fields.items()}


def test_points(fake: FakeHost) -> None:
    snmp, netstat = read(Nstat(fake.host(), DEFAULTS))
    assert (snmp.tags, netstat.tags) == ({"name": "snmp"}, {"name": "netstat"})
    assert (
        snmp.fields.items()
        >= {
            "TcpEstabResets": 66,
            "TcpCurrEstab": 7,
            "TcpOutSegs": 64112,
            "TcpRetransSegs": 285,
            "UdpInErrors": 12,
        }.items()
    )
    assert netstat.fields["TcpExtListenDrops"] == 363
    assert {*types(snmp).values(), *types(netstat).values()} == {int}
    assert {*snmp.fields, *netstat.fields} <= {*Nstat.default_include}


def test_what_never_happened_is_written_once_an_hour_unless_it_was_asked_for(
    fake: FakeHost,
) -> None:
    fake.files[SNMP] = b"Tcp: CurrEstab OutRsts RetransSegs InErrs\nTcp: 0 0 0 1\n"
    del fake.files[NETSTAT]
    always = {"TcpCurrEstab": 0, "TcpRetransSegs": 0, "TcpInErrs": 1}
    every = always | {"TcpOutRsts": 0}
    asked = Nstat(fake.host(), CollectorOptions(include=("Tcp*",)))
    chosen = Nstat(fake.host(), DEFAULTS)

    def found(nstat: Nstat) -> dict[str, FieldValue]:
        (point,) = read(nstat)
        return dict(point.fields)

    assert found(chosen) == every
    fake.clock.advance(3599.0)
    assert found(chosen) == always
    fake.clock.advance(1.0)
    assert found(chosen) == found(asked) == found(asked) == every
    fake.files[SNMP] = b"Tcp: OutRsts\nTcp: 0\n"
    assert [*chosen.collect()] == []
    fake.files[SNMP] = b"Tcp: OutRsts\nTcp: 1\n"
    assert found(chosen) == {"TcpOutRsts": 1}


def test_the_user_chooses_by_the_names_of_counters(fake: FakeHost) -> None:
    assert counted(fake, CollectorOptions(include=("Icmp*", "*OFO*"), exclude=("Icmp6*",))) == {
        "IcmpInMsgs": 33,
        "IcmpInErrors": 0,
        "IcmpInCsumErrors": 0,
        "IcmpInDestUnreachs": 30,
        "IcmpOutMsgs": 31,
        "IcmpMsgInType3": 30,
        "TcpExtTCPOFOQueue": 6400,
        "TcpExtTCPOFODrop": 0,
    }
    every = counted(fake, EVERY)
    assert len(every) == 14 + 5 + 1 + 15 + 7 + 7 + 23 + 4 + 3
    assert (every["Icmp6InMsgs"], every["IpExtInOctets"]) == (8, 15407799591)
    assert every["TcpMaxConn"] == -1
    with pytest.raises(NoData):
        read(Nstat(fake.host(), CollectorOptions(include=("nothing",))))


# Linux 4.19, 5.10, 6.1 and 6.12 have these before or after what is wanted.
KERNELS = {
    "4.19": ("PAWSActive PAWSEstab DelayedACKs", "TCPAckCompressed TCPZeroWindowDrop TCPRcvQDrop"),
    "5.10": ("PAWSActive PAWSEstab DelayedACKs", "TcpTimeoutRehash TCPDSACKIgnoredDubious"),
    "6.1": ("PAWSActive PAWSEstab DelayedACKs", "TCPMigrateReqSuccess TCPMigrateReqFailure"),
    "6.12": ("PAWSEstab BeyondWindow TSEcrRejected PAWSOldAck", "TCPPLBRehash TCPAORequired"),
    "none besides": ("", ""),
}


@pytest.mark.parametrize(("before", "after"), KERNELS.values(), ids=KERNELS)
def test_columns_of_other_kernels_change_nothing(fake: FakeHost, before: str, after: str) -> None:
    wanted = "ListenOverflows ListenDrops TCPTimeouts"
    head = f"TcpExt: {before} {wanted} {after}"
    row = " ".join(
        ["TcpExt:", *("7" for _ in before.split()), "1 2 3", *("8" for _ in after.split())]
    )
    fake.files[NETSTAT] = f"{head}\n{row}\nMPTcpExt: ListenDrops\nMPTcpExt: 9\n".encode()
    (netstat,) = read(Nstat(fake.host(), CollectorOptions(include=("TcpExt*",))))
    found = {name: netstat.fields[f"TcpExt{name}"] for name in wanted.split()}
    assert found == {"ListenOverflows": 1, "ListenDrops": 2, "TCPTimeouts": 3}


@pytest.mark.parametrize(
    ("table", "lacking", "lost"),
    [
        (b"Udp: InErrors RcvbufErrors\nUdp: 9223372036854775807 18446744073709551615\n", "R", 1),
        (b"Udp: InErrors RcvbufErrors\nUdp: 1\n", "R", 1),
        (b"Udp: InErrors\nUdp: 1 2 3\n", "R", 0),
        (b"Udp: InErrors RcvbufErrors\nUdp: -1 x\n", "IR", 2),
        (b"Udp: InErrors RcvbufErrors\n", "IR", 0),
        (b"Udp: InErrors RcvbufErrors\nIp: 1 2\n", "IR", 0),
        (b"Udp: Lost\nUdp: InErrors RcvbufErrors\nUdp: 1 2\nUdp: 1 2", "IR", 0),
        (b"\n:\n: 1\nUdp\n\xff\xfe: \xff\n\xff\xfe: 1\nUdp: InErrors\nUdp: 1\n", "R", 0),
        (b"", "IR", 0),
    ],
)
def test_a_figure_that_cannot_be_costs_itself_only(
    fake: FakeHost, table: bytes, lacking: str, lost: int
) -> None:
    fake.files[SNMP] = table
    options = CollectorOptions(include=("UdpInErrors", "UdpRcvbufErrors", "*Drops"))
    outcome = Guard(Nstat(fake.host(), options), options, fake.clock).run(1, {})
    read_back = {name for line in decode("\n".join(outcome.lines)) for name in line.point.fields}
    told = {name for name in read_back if name.startswith("Udp")}
    assert told == {"UdpInErrors", "UdpRcvbufErrors"} - {
        {"I": "UdpInErrors", "R": "UdpRcvbufErrors"}[each] for each in lacking
    }
    assert outcome.lost_points == lost
    assert "TcpExtListenDrops" in read_back


def test_a_table_that_a_kernel_does_not_have_is_left_out(fake: FakeHost) -> None:
    every = counted(fake, EVERY)
    del fake.files[SNMP6]
    assert counted(fake, EVERY).keys() == {name for name in every if "6" not in name}
    fake.errors[SNMP] = PermissionError("no")
    outcome = Guard(Nstat(fake.host(), DEFAULTS), DEFAULTS, fake.clock).run(1, {})
    assert (len(outcome.lines), [*outcome.problems]) == (1, ["leaves out snmp"])
    del fake.files[NETSTAT], fake.errors[SNMP], fake.files[SNMP]
    with pytest.raises(NoData):
        read(Nstat(fake.host(), DEFAULTS))


def test_a_long_name_leaves_no_blank_before_its_counter(fake: FakeHost) -> None:
    fake.files[SNMP6] = b"Ip6AVeryLongNameOfACounterIndeed32\t5\n"
    assert counted(fake, CollectorOptions(include=("Ip6*",))) == {
        "Ip6AVeryLongNameOfACounterIndeed32": 5
    }
