"""Whatever the kernel writes, nothing raises, and no number comes out that was not in.

`make fuzz` tries 10,000 texts, `make test` few.
"""

import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.collectors import ALL, Guard, Host, Outcome
from pipeline.settings import CollectorOptions

from .captured import LINUX, proc_stat
from .captured_services import SYSTEMCTL
from .fakes import FakeHost, statvfs, written

pytestmark = pytest.mark.slow

MOUNTS = b"""\
20 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard
21 1 254:2 / /srv rw,relatime - ext4 /dev/root rw
22 1 0:30 / /run rw - tmpfs tmpfs rw
"""
FILES = {
    **LINUX,
    "/proc/stat": proc_stat(cpu0={"user": 10.0, "idle": 100.0}, cpu1={"user": 2.0, "idle": 20.0}),
    "/proc/self/mountinfo": MOUNTS,
    "/proc/1/mountinfo": MOUNTS,
    "/sys/dev/block/254:2/uevent": b"MAJOR=254\nDEVNAME=vdb\n",
    "/sys/class/net/lo/speed": b"10\n",
}
# All that there is, also what a collector leaves out by itself.
OPTIONS = CollectorOptions(exclude=(), times=True, per_cpu=True)


# Made once for all examples, since they keep files. A container reads other files.
own, inside = FakeHost(), FakeHost()
inside.contain()
fakes = st.sampled_from([own, inside])

paths = st.sampled_from(sorted(FILES))
FIGURES = [b"", b"-", b"-1", b"x", b"0x1f", b"1.5", b"18446744073709551615", b"9" * 25, b"9" * 5000]
LINES = [b"", b" ", b":", b"cpu", b"cpu0", b"cpu9 1 2", b"a b c", b"x: 1", b"\xff\xfe"]
figures = st.sampled_from(FIGURES) | st.integers(0, 2**65).map(lambda number: b"%d" % number)
lines = st.sampled_from(LINES) | st.binary(max_size=40)


@st.composite
def bent(draw: st.DrawFn, text: bytes) -> bytes:
    """A text of the kernel's in which a figure or a line is another one, or which is cut off."""
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(["figure", "figure", "figure", "line", "cut", "double"]))
        if way == "figure":
            found = list(re.finditer(rb"-?\d+", text))
            if found:
                one = draw(st.sampled_from(found))
                text = text[: one.start()] + draw(figures) + text[one.end() :]
            continue
        rows = text.split(b"\n")
        at = draw(st.integers(0, len(rows) - 1))
        if way == "line":
            rows.insert(at, draw(lines))
        elif way == "double":
            rows.insert(at, rows[at])
        text = text[: draw(st.integers(0, len(text)))] if way == "cut" else b"\n".join(rows)
    return text


def made(host: Host) -> list[Guard]:
    return [Guard(each(host, OPTIONS), OPTIONS, host.clock) for each in ALL]


def read(fake: FakeHost, files: dict[str, bytes], later: dict[str, bytes]) -> list[Outcome]:
    """Take two readings a second apart, in which the files hold what is given."""
    fake.files = files
    fake.clock.advance(100.0)  # nothing is known from before
    outcomes = []
    guards = made(fake.host())
    for fake.files in (files, later):
        fake.clock.advance(1.0)
        outcomes += [guard.run(1, {}) for guard in guards]
    return outcomes


def numbers(outcomes: list[Outcome]) -> Iterator[tuple[str, str, float]]:
    for outcome in outcomes:
        for point in written(outcome):
            for field, value in point.fields.items():
                if not isinstance(value, str):
                    yield point.measurement, field, value


def failures(outcomes: list[Outcome]) -> list[str]:
    return [f"{one.collector}: {one.error}" for one in outcomes if one.error]


STATVFS = ["f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree"]


@given(fakes, paths, st.binary(max_size=300), st.booleans())
@example(own, "/proc/stat", b"", True)
@example(own, "/proc/meminfo", b"MemTotal: 1 kB\n", True)
@example(own, "/proc/uptime", b"nan inf", True)
@example(own, "/proc/stat", b"cpu nan inf 1e5 -1 0 0 0 0 0 0\n", False)
@example(inside, "/proc/loadavg", b"nan 1e5\n", True)
@example(inside, "/proc/net/dev", b"\n\n:\n", True)
@example(own, "/proc/stat", b"btime inf\nctxt 1e5\nintr\nprocesses\n", True)
@example(own, "/proc/net/snmp", b"Tcp: a\nTcp:\n: :\nTcp: \xff\xff\nTcp: 1 2", True)
@example(inside, "/proc/net/stat/nf_conntrack", b"\n\n entries\n", True)
@example(own, "/proc/pressure/io", b"some = ==\nfull", False)
@example(own, "/proc/net/tcp", b"0: 1 2\n 1: 2 3 \xff 4\n: : : : :", True)
@example(own, "/proc/interrupts", b"CPU0\n:\n: \nERR:\n", True)
@example(inside, SYSTEMCTL, b". . . .\n\xff.\xff \xff 1 2\n\x00", True)
@example(own, "/sys/fs/cgroup/system.slice/busy.service/io.stat", b"a =\n: = ==\n8:0 rbytes=", True)
def test_no_text_raises(fake: FakeHost, path: str, text: bytes, always: bool) -> None:
    before = FILES | {path: text} if always else FILES
    assert failures(read(fake, before, FILES | {path: text})) == []


MADE_OF_OTHERS = re.compile(
    # differences, sums, shares and numbers of things
    "mem (used|cached|shared|inactive|available)|swap used|system_metrics .*|disk .*"
    "|processes .*|process .*|system n_.*|.* (.*_percent|usage_.*|io_util|time_active)"
    "|conntrack .*"  # sums, of numbers with letters
    "|netstat .*|(soft_)?interrupts total|systemd_units .*|cgroup io.*|sensors .*_discharging"
)
UNITS = ((1, 1), (512, 1), (1024, 1), (4096, 1), (1, 100), (1, 1000), (1, 1_000_000))


def same(number: float) -> str:
    """A number as far as a float has digits, whichever way it was divided."""
    return f"{number:.13g}"


def possible_of(text: bytes) -> set[str]:
    """What the figures in a text are, in each unit that there is."""
    found = [float(one) for each in (rb"\d+", rb"\d+\.\d+") for one in re.findall(each, text)]
    return {same(one * times / by) for one in found for times, by in UNITS}


KNOWN = {"0"}.union(*map(possible_of, FILES.values()))


@example(own, ("/proc/stat", b"cpu  " + 25 * b"9"))
@example(inside, ("/proc/1/mountinfo", b""))
@given(fakes, paths.flatmap(lambda path: st.tuples(st.just(path), bent(FILES[path]))))
def test_no_number_comes_out_that_was_not_in(fake: FakeHost, changed: tuple[str, bytes]) -> None:
    path, text = changed
    outcomes = read(fake, FILES, FILES | {path: text})
    assert failures(outcomes) == []
    possible = KNOWN | possible_of(text)
    for measurement, field, value in numbers(outcomes):
        may_be_below_0 = measurement in ("temp", "system_metrics", "sensors")
        assert may_be_below_0 or field == "TcpMaxConn" or value >= 0
        if field.endswith("_percent") or field.startswith("usage_") or field == "io_util":
            assert value <= 100.0
        elif not MADE_OF_OTHERS.fullmatch(f"{measurement} {field}"):
            assert same(abs(value)) in possible, (measurement, field, value)


@given(st.dictionaries(st.sampled_from(STATVFS), st.integers(-(2**63), 2**64 - 1)))
def test_no_file_system_tells_what_cannot_be(stat: dict[str, int]) -> None:
    own.files = FILES
    own.clock.advance(100.0)
    guards = made(own.host(lambda _: statvfs(**stat)))
    outcomes = [guard.run(1, {}) for guard in guards if guard.name in ("disk", "system_metrics")]
    assert failures(outcomes) == []
    for measurement, field, value in numbers(outcomes):
        assert value >= 0, (measurement, field)
        assert value <= 100.0 or not field.endswith("percent"), (measurement, field)
