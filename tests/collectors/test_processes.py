import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collectors.processes import Processes

from .captured import pid_stat
from .fakes import DEFAULTS, FakeHost, types

STATES = dict(
    zip(
        "RSDZTtXxWI",
        (
            *("running", "sleeping", "blocked", "zombies", "stopped", "stopped", "dead", "dead"),
            *("paging", "idle"),
        ),
        strict=True,
    )
)


def read(fake: FakeHost) -> dict[str, object]:
    (point,) = Processes(fake.host(), DEFAULTS).collect()
    assert (point.measurement, dict(point.tags)) == ("processes", {})
    assert set(types(point).values()) == {int}
    return dict(point.fields)


def test_point(fake: FakeHost) -> None:
    fake.files["/proc/90/stat"] = pid_stat(90, "dd", "D", threads=4)
    counted = {"total": 4, "total_threads": 9, "blocked": 1, "sleeping": 3, "unknown": 0}
    assert read(fake) == dict.fromkeys(STATES.values(), 0) | counted


@given(
    states=st.lists(st.sampled_from([*STATES, "P", "K"]), min_size=1),
    name=st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=15),
)
def test_every_process_is_counted_once_whatever_its_name(states: list[str], name: str) -> None:
    fake = FakeHost()
    fake.files = {
        f"/proc/{number}/stat": pid_stat(number, name, state, threads=2)
        for number, state in enumerate(states, start=1)
    }
    counted = read(fake)
    assert counted.pop("total") == len(states)
    assert counted.pop("total_threads") == 2 * len(states)
    expected = dict.fromkeys([*STATES.values(), "unknown"], 0)
    for state in states:
        expected[STATES.get(state, "unknown")] += 1
    assert counted == expected


@pytest.mark.parametrize("error", [FileNotFoundError(), ProcessLookupError(errno.ESRCH, "")])
def test_process_that_ended_meanwhile_is_left_out(fake: FakeHost, error: OSError) -> None:
    fake.errors["/proc/80/stat"] = error
    assert read(fake)["total"] == 2


def test_processes_that_one_may_not_look_at_are_unknown(fake: FakeHost) -> None:
    fake.errors["/proc/80/stat"] = PermissionError()
    fake.files["/proc/2/stat"] = b""
    counted = read(fake)
    assert (counted["total"], counted["unknown"], counted["total_threads"]) == (3, 2, 1)
