from pipeline.delivery.pacing import LONGEST_WAIT_S, Size, retry_s


def test_the_wait_after_a_failure_is_random_and_at_most_doubles_up_to_a_bound() -> None:
    def least(low: float, high: float) -> float:
        return low

    def most(low: float, high: float) -> float:
        return high

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
