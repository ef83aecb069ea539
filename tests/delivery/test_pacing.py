import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.pacing import LONGEST_WAIT_S, SPACING_S, Size, rest_s, retry_s


def least(low: float, _: float) -> float:
    return low


def most(_: float, high: float) -> float:
    return high


@pytest.mark.parametrize(
    ("took_s", "shortest", "longest"),
    [(0.001, SPACING_S - 0.001, SPACING_S - 0.001), (0.1, 0, 0.002), (3, 0, 18)],
)
def test_a_rest_is_nothing_to_speak_of_after_a_quick_answer_and_long_after_a_slow_one(
    took_s: float, shortest: float, longest: float
) -> None:
    assert (rest_s(least, took_s), rest_s(most, took_s)) == pytest.approx((shortest, longest))


@given(st.floats(0, 1e6), st.floats(0, 1))
def test_no_rest_is_longer_than_the_longest_wait_nor_shorter_than_the_spacing(
    took_s: float, chance: float
) -> None:
    rest = rest_s(lambda low, high: low + chance * (high - low), took_s)
    assert rest <= LONGEST_WAIT_S
    assert took_s + rest >= SPACING_S * 0.999


def test_the_wait_after_a_failure_is_random_and_at_most_doubles_up_to_a_bound() -> None:
    waits = [retry_s(most, failures, 0.0) for failures in range(10)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, LONGEST_WAIT_S]
    assert retry_s(most, 10**6, 5.0) == 5 + LONGEST_WAIT_S
    assert retry_s(least, 3, 5.0) == 5  # not before the server asked for


def test_a_size_grows_with_what_passes_and_halves_with_what_fails() -> None:
    size = Size(5000)

    def then(*outcomes: str) -> list[int]:
        points = []
        for outcome in outcomes:
            if outcome == "passed":
                size.passed()
            else:
                size.failed(probed=outcome == "probed")
            assert type(size.points) is int
            points.append(size.points)
        return points

    assert size.points == 313
    assert then("passed", "passed", "passed") == [1252, 5000, 5000]
    assert then("failed", "passed", "passed") == [313, 1252, 2500]
    assert then("failed", "failed", "passed", "passed") == [313, 313, 1250, 1250]
    # Where a single reading passed, the size itself is refused, however small.
    assert then("probed", "passed", "probed") == [313, 625, 312]
    assert then(*["probed"] * 9) == [156, 78, 39, 19, 9, 4, 2, 1, 1]
