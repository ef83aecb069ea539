import pytest

from pipeline.collectors import Guard, Omission
from pipeline.collectors.interrupts import Interrupts
from pipeline.point import Point, decode
from pipeline.settings import CollectorOptions

from .fakes import DEFAULTS, FakeHost, read

SOFT = [
    Point(
        "soft_interrupts",
        {"total": 2495124, "CPU0": 1410086, "CPU1": 1085038},
        {"irq": "TIMER"},
    ),
    Point(
        "soft_interrupts",
        {"total": 4711284, "CPU0": 2514147, "CPU1": 2197137},
        {"irq": "NET_RX"},
    ),
]


def test_those_that_came_by_core(fake: FakeHost) -> None:
    assert read(Interrupts(fake.host(), DEFAULTS)) == [
        *SOFT,
        Point(
            "interrupts",
            {"total": 1, "CPU0": 1, "CPU1": 0},
            {"irq": "24", "type": "IO-APIC", "device": "5-edge ACPI:Ged"},
        ),
        Point(
            "interrupts",
            {"total": 14859093, "CPU0": 5, "CPU1": 14859088},
            {"irq": "36", "type": "PCI-MSIX-0000:00:02.0", "device": "1-edge virtio1-req.0"},
        ),
        Point(
            "interrupts",
            {"total": 25457654, "CPU0": 13607703, "CPU1": 11849951},
            {"irq": "LOC", "type": "Local timer interrupts"},
        ),
        Point("interrupts", {"total": 3}, {"irq": "ERR"}),
    ]


@pytest.mark.parametrize(
    ("table", "point"),
    [
        (  # the second core is switched off
            b"           CPU0       CPU2\nLOC:  7  5   Local timer interrupts\n",
            Point(
                "interrupts",
                {"total": 12, "CPU0": 7, "CPU2": 5},
                {"irq": "LOC", "type": "Local timer interrupts"},
            ),
        ),
        (  # ARM
            b"           CPU0       CPU1\n 11:  8  9     GICv3  27 Level     arch_timer\n",
            Point(
                "interrupts",
                {"total": 17, "CPU0": 8, "CPU1": 9},
                {"irq": "11", "type": "GICv3", "device": "27 Level arch_timer"},
            ),
        ),
        (  # one core, and no words
            b"           CPU0\nNMI:  4\n",
            Point("interrupts", {"total": 4, "CPU0": 4}, {"irq": "NMI"}),
        ),
        (  # of the characters that line protocol escapes, and of none
            b"           CPU0\n24: 1 PCI-MSI a,b=\\ \xff\xc3\xb6\n",
            Point(
                "interrupts",
                {"total": 1, "CPU0": 1},
                {"irq": "24", "type": "PCI-MSI", "device": r"a,b=\ \xffö"},
            ),
        ),
        (b"           CPU0       CPU1\n 24:  1  2   IO-API\n 25:  1\n 26", None),  # cut off
    ],
    ids=["a-core-off", "arm", "one-core", "odd-names", "cut-off"],
)
def test_other_machines(fake: FakeHost, table: bytes, point: Point | None) -> None:
    fake.files["/proc/interrupts"] = table
    found = [one for one in read(Interrupts(fake.host(), DEFAULTS)) if one not in SOFT]
    if point:
        assert found == [point]
    else:
        assert [one.tags["irq"] for one in found] == ["24"]


@pytest.mark.parametrize("text", [None, b"", b"\xff\n 24: 1 2 IO-APIC\n"])
def test_a_file_that_cannot_be_read_costs_itself(fake: FakeHost, text: bytes | None) -> None:
    if text is None:
        fake.errors["/proc/interrupts"] = PermissionError(13, "Permission denied")
    else:
        fake.files["/proc/interrupts"] = text
    *points, omitted = Interrupts(fake.host(), DEFAULTS).collect()
    assert points == SOFT
    assert isinstance(omitted, Omission)
    assert omitted.what == "/proc/interrupts"


def test_of_thousands_the_same_ones_are_written(fake: FakeHost) -> None:
    rows = b"".join(b"%d: %d 0 PCI-MSI nvme0q%d\n" % (n, 1 + n % 7, n) for n in range(3000))
    fake.files["/proc/interrupts"] = b"  CPU0  CPU1\n" + rows
    options = CollectorOptions(max_series=50)
    guard = Guard(Interrupts(fake.host(), options), options, fake.clock)
    read_twice = [guard.run(tick, {}) for tick in (1, 2)]
    irqs = [[line.point.tags["irq"] for line in decode("\n".join(one.lines))] for one in read_twice]
    assert irqs == 2 * [["TIMER", "NET_RX", *map(str, range(48))]]
    assert [one.lost_points for one in read_twice] == 2 * [2952]
