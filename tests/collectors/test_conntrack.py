"""`conntrack`: the table of connections, with and without the processors' counters."""

import pytest

from pipeline.collectors import NoData, Omission
from pipeline.collectors.conntrack import Conntrack
from pipeline.point import Point
from pipeline.settings import CollectorOptions

from .fakes import DEFAULTS, FakeHost, figures, guarded, read, types, written

PER_CPU = CollectorOptions(per_cpu=True)
COUNT, LIMIT = (f"/proc/sys/net/netfilter/nf_conntrack_{end}" for end in ("count", "max"))
STAT = "/proc/net/stat/nf_conntrack"
TABLE = Point("conntrack", {"ip_conntrack_count": 464.0, "ip_conntrack_max": 262144.0})


def test_the_counters_of_all_processors_and_of_each(fake: FakeHost) -> None:
    table, every, *each = read(Conntrack(fake.host(), PER_CPU))
    assert table == TABLE
    assert {*types(table).values()} == {float}
    assert every.tags == {"cpu": "all"}
    assert [point.tags for point in each] == [{"cpu": "cpu0"}, {"cpu": "cpu1"}]
    assert {name: every.fields[name] for name in ("entries", "searched", "invalid", "drop")} == {
        "entries": 464,  # of the one table, not of each processor's
        "searched": 0x11,
        "invalid": 0xD0 + 0x60,
        "drop": 0x99,
    }
    assert each[1].fields["search_restart"] == 0xF0
    assert len(every.fields) == len(each[0].fields) == 17


def test_newer_kernels_have_other_columns_in_the_same_places(fake: FakeHost) -> None:
    fake.change(STAT, b"searched", b"clashres")
    fake.change(STAT, b"delete_list", b"chainlength")
    _, every, *_ = read(Conntrack(fake.host(), PER_CPU))
    assert len(every.fields) == 15
    assert not {"searched", "clashres", "delete_list", "chainlength"} & every.fields.keys()
    assert every.fields["drop"] == 0x99


def test_where_the_use_of_a_containers_host_is_not_told_the_containers_is_no_stand_in(
    fake: FakeHost,
) -> None:
    fake.files[COUNT] = b"3\n"  # of the container's network
    fake.contain()
    assert read(Conntrack(fake.host(), DEFAULTS)) == [TABLE]
    del fake.files[STAT]
    (point,) = read(Conntrack(fake.host(), DEFAULTS))
    assert point.fields == {"ip_conntrack_max": 262144.0}


def test_a_host_that_tracks_nothing_is_no_complaint(fake: FakeHost) -> None:
    for path in (COUNT, LIMIT, STAT):
        del fake.files[path]
    with pytest.raises(NoData):
        read(Conntrack(fake.host(), CollectorOptions(enabled=True, per_cpu=True)))
    fake.errors[COUNT] = PermissionError("no")
    with pytest.raises(PermissionError):
        read(Conntrack(fake.host(), DEFAULTS))


def test_a_file_that_cannot_be_read_costs_what_is_in_it(fake: FakeHost) -> None:
    fake.errors[STAT] = PermissionError(13, "Permission denied")
    point, omitted = Conntrack(fake.host(), PER_CPU).collect()
    assert point == TABLE
    assert isinstance(omitted, Omission)
    fake.contain()  # where the use is in that file
    omitted, point = Conntrack(fake.host(), DEFAULTS).collect()
    assert isinstance(omitted, Omission)
    assert point == Point("conntrack", {"ip_conntrack_max": 262144.0})


@pytest.mark.parametrize(
    ("path", "text", "fields", "lost"),
    [
        (LIMIT, b"18446744073709551615\n", {"all drop": 0x99}, 0),  # a float has room for it
        (COUNT, b"many", {"all drop": 0x99}, 1),
        (STAT, b"", {}, 0),
        (STAT, b"entries drop\n", {}, 0),
        (STAT, b"drop new\n2\n3 4 5\n", {"all drop": 5, "all new": 4, "cpu0 drop": 2}, 0),
        (STAT, b"drop\n-1\n", {}, 2),
        (STAT, b"drop entries\n0x1 1\n2 1", {"all entries": 1, "cpu1 drop": 2}, 2),
        (STAT, b"drop\nffffffffffffffff\n", {}, 2),
        (STAT, b"drop \xff \xfe\n7fffffffffffffff 1 2\n", {"all drop": 2**63 - 1}, 0),
        (STAT, b"drop\n1\n\n", {"all drop": 1, "cpu0 drop": 1}, 0),
    ],
)
def test_a_figure_that_cannot_be_costs_itself_only(
    fake: FakeHost, path: str, text: bytes, fields: dict[str, int], lost: int
) -> None:
    fake.files[path] = text
    outcome = guarded(Conntrack(fake.host(), PER_CPU))
    assert fields.items() <= figures(written(outcome)).items()
    assert outcome.lost_points == lost
