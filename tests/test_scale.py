"""docs/scale.md says what was measured, and nothing that does not follow from it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from benchmarks import scale

NAMES = (
    scale.LINES, scale.SERIES, scale.SENT, scale.STORED, scale.EVEN, scale.AT_ONCE, scale.MINUTE,
)  # fmt: skip
TEXT = scale.DOCUMENT.read_text(encoding="utf-8")


@given(st.fixed_dictionaries({name: st.integers(1, 10**9) for name in NAMES}))
def test_facts_are_read_as_they_are_listed(facts: dict[str, int]) -> None:
    assert scale.read(scale.listed(facts)) == facts


def test_the_figures_of_fleets_follow_from_what_was_measured() -> None:
    facts = scale.read(TEXT)
    assert set(facts) == set(NAMES)
    assert scale.derived(facts) in TEXT


def test_the_most_hosts_that_held_are_those_of_the_tables() -> None:
    facts = scale.read(TEXT)
    for name in (scale.EVEN, scale.AT_ONCE, scale.MINUTE):
        _, _, after = TEXT.partition(f"{name[0].upper()}{name[1:]}:")
        table = after.strip().partition("\n\n")[0]
        held = re.findall(r"^\| ([\d,]+) \|.*\| yes \|$", table, re.MULTILINE)
        assert max(int(hosts.replace(",", "")) for hosts in held) == facts[name]


def test_a_percentile_is_the_sample_that_so_many_do_not_exceed() -> None:
    samples = [float(n) for n in range(100, 0, -1)]
    assert [scale.percentile(samples, p) for p in (50, 95, 100)] == [50, 95, 100]
    assert scale.percentile([7.0], 95) == 7
