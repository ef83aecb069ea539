import pytest

from pipeline.collectors import Omission
from pipeline.collectors.interrupts import Interrupts
from pipeline.point import Point

from .fakes import DEFAULTS, FakeHost, read


def hard(irq: str, cores: dict[str, int], **words: str) -> Point:
    return Point("interrupts", {"total": sum(cores.values()), **cores}, {"irq": irq, **words})


def soft(irq: str, **cores: int) -> Point:
    return Point("soft_interrupts", {"total": sum(cores.values()), **cores}, {"irq": irq})


SOFT = [
    soft("TIMER", CPU0=1410086, CPU1=1085038),
    soft("NET_RX", CPU0=2514147, CPU1=2197137),
]


def test_those_that_came_by_core(fake: FakeHost) -> None:
    assert read(Interrupts(fake.host(), DEFAULTS)) == [
        *SOFT,
        hard("24", {"CPU0": 1, "CPU1": 0}, type="IO-APIC", device="5-edge ACPI:Ged"),
        hard(
            "36",
            {"CPU0": 5, "CPU1": 14859088},
            type="PCI-MSIX-0000:00:02.0",
            device="1-edge virtio1-req.0",
        ),
        hard("LOC", {"CPU0": 13607703, "CPU1": 11849951}, type="Local timer interrupts"),
        Point("interrupts", {"total": 3}, {"irq": "ERR"}),
    ]


@pytest.mark.parametrize(
    ("table", "points"),
    [
        (  # the second core is switched off
            b"           CPU0       CPU2\nLOC:  7  5   Local timer interrupts\n",
            [hard("LOC", {"CPU0": 7, "CPU2": 5}, type="Local timer interrupts")],
        ),
        (  # ARM
            b"           CPU0       CPU1\n 11:  8  9     GICv3  27 Level     arch_timer\n",
            [hard("11", {"CPU0": 8, "CPU1": 9}, type="GICv3", device="27 Level arch_timer")],
        ),
        # One core, and no words.
        (b"           CPU0\nNMI:  4\n", [hard("NMI", {"CPU0": 4})]),
        (  # of the characters that line protocol escapes, and of none
            b"           CPU0\n24: 1 PCI-MSI a,b=\\ \xff\xc3\xb6\n",
            [hard("24", {"CPU0": 1}, type="PCI-MSI", device=r"a,b=\ \xffö")],
        ),
        (  # cut off
            b"           CPU0       CPU1\n 24:  1  2   IO-API\n 25:  1\n 26",
            [hard("24", {"CPU0": 1, "CPU1": 2}, type="IO-API")],
        ),
    ],
    ids=["a-core-off", "arm", "one-core", "odd-names", "cut-off"],
)
def test_other_machines(fake: FakeHost, table: bytes, points: list[Point]) -> None:
    fake.files["/proc/interrupts"] = table
    assert read(Interrupts(fake.host(), DEFAULTS)) == [*SOFT, *points]


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
