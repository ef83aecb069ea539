from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings import HOUR_NS, Age, Ages

HOURS = st.integers(0, 876_000)
NAMES = st.sampled_from(["cpu", "mem", "di sk", "näme"])


def test_a_measurement_without_an_age_of_its_own_has_that_of_the_rest() -> None:
    kept = Ages.from_hours(168, {"process": 6, "mem": 168, "cpu": 24}).each
    assert kept == (Age(24, "cpu"), Age(6, "process"), Age(168, None, ("cpu", "process")))
    assert not any(age.everything for age in kept)
    assert Age(168).everything


@given(HOURS, st.dictionaries(NAMES, HOURS), NAMES, st.integers(0, 2**62))
def test_each_measurement_has_its_age(
    hours: int, overrides: dict[str, int], name: str, now_ns: int
) -> None:
    ages = Ages.from_hours(hours, overrides)
    (age,) = (age for age in ages.each if age.covers(name))
    assert ages.of(name) == age
    assert age.hours == overrides.get(name, hours)
    assert age.cutoff_ns(now_ns) == (max(0, now_ns - age.hours * HOUR_NS) if age.hours else 0)
    most = ages.longest
    assert most == 0 or 0 < age.hours <= most
    least = ages.shortest
    assert age.hours == 0 or 0 < least <= age.hours
    assert least == 0 or least in (hours, *overrides.values())
