"""`nstat`: counters are found by their names, whatever else a kernel has beside them."""

import pytest

from pipeline.collectors import NoData
from pipeline.collectors.nstat import Nstat
from pipeline.settings import CollectorOptions

from .fakes import DEFAULTS, FakeHost, guarded, read, types

SNMP, NETSTAT, SNMP6 = "/proc/net/snmp", "/proc/net/netstat", "/proc/net/snmp6"
EVERY = CollectorOptions(exclude=())


def counted(nstat: Nstat) -> dict[str, object]:
    """All counters of a reading in which nothing is left out."""
    return {name: value for point in read(nstat) for name, value in point.fields.items()}


def test_points(fake: FakeHost) -> None:
    snmp, netstat = read(Nstat(fake.host(), DEFAULTS))
    assert (snmp.tags, netstat.tags) == ({"name": "snmp"}, {"name": "netstat"})
    counters = {"TcpEstabResets": 66, "TcpCurrEstab": 7, "TcpRetransSegs": 285, "UdpInErrors": 12}
    assert counters.items() <= snmp.fields.items()
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
    assert counted(chosen) == every
    fake.clock.advance(3599.0)
    assert counted(chosen) == always
    fake.clock.advance(1.0)
    assert counted(chosen) == counted(asked) == counted(asked) == every
    fake.files[SNMP] = b"Tcp: OutRsts\nTcp: 0\n"
    assert [*chosen.collect()] == []
    fake.files[SNMP] = b"Tcp: OutRsts\nTcp: 1\n"
    assert counted(chosen) == {"TcpOutRsts": 1}


def test_the_user_chooses_by_the_names_of_counters(fake: FakeHost) -> None:
    options = CollectorOptions(include=("Icmp*", "*OFO*"), exclude=("Icmp6*",))
    assert counted(Nstat(fake.host(), options)) == {
        "IcmpInMsgs": 33,
        "IcmpInErrors": 0,
        "IcmpInCsumErrors": 0,
        "IcmpInDestUnreachs": 30,
        "IcmpOutMsgs": 31,
        "IcmpMsgInType3": 30,
        "TcpExtTCPOFOQueue": 6400,
        "TcpExtTCPOFODrop": 0,
    }
    every = counted(Nstat(fake.host(), EVERY))
    assert len(every) == 14 + 5 + 1 + 15 + 7 + 7 + 23 + 4 + 3
    assert (every["Icmp6InMsgs"], every["IpExtInOctets"]) == (8, 15407799591)
    assert every["TcpMaxConn"] == -1
    with pytest.raises(NoData):
        read(Nstat(fake.host(), CollectorOptions(include=("nothing",))))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("PAWSActive PAWSEstab DelayedACKs", "TCPZeroWindowDrop TCPRcvQDrop"),  # Linux 4.19
        ("PAWSEstab BeyondWindow TSEcrRejected PAWSOldAck", "TCPPLBRehash"),  # 6.12
        ("", ""),
    ],
)
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


def test_a_table_that_a_kernel_does_not_have_is_left_out(fake: FakeHost) -> None:
    every = counted(Nstat(fake.host(), EVERY))
    del fake.files[SNMP6]
    assert counted(Nstat(fake.host(), EVERY)).keys() == {name for name in every if "6" not in name}
    fake.errors[SNMP] = PermissionError("no")
    outcome = guarded(Nstat(fake.host(), DEFAULTS))
    assert (len(outcome.lines), [*outcome.problems]) == (1, ["leaves out snmp"])
    del fake.files[NETSTAT], fake.errors[SNMP], fake.files[SNMP]
    with pytest.raises(NoData):
        read(Nstat(fake.host(), DEFAULTS))


def test_a_long_name_leaves_no_blank_before_its_counter(fake: FakeHost) -> None:
    fake.files[SNMP6] = b"Ip6AVeryLongNameOfACounterIndeed32\t5\n"
    options = CollectorOptions(include=("Ip6*",))
    assert counted(Nstat(fake.host(), options)) == {"Ip6AVeryLongNameOfACounterIndeed32": 5}
