from __future__ import annotations

from bench.sample import clocked, of_times


def test_percentiles_are_in_milliseconds() -> None:
    sample = of_times([number / 1000 for number in range(100, 0, -1)], elapsed=2.0)

    assert (sample.rate, sample.p50, sample.p99) == (50.0, 51.0, 100.0)


def test_no_operation_in_time_is_a_rate_of_zero() -> None:
    assert of_times([], elapsed=1.0, errors=3).rate == 0


def test_clocking_ends_with_the_items() -> None:
    seen: list[int] = []

    clocked(seen.append, range(3), seconds=60)

    assert seen == [0, 1, 2]


def test_clocking_ends_with_the_time() -> None:
    seen: list[int] = []

    clocked(seen.append, range(1000), seconds=0)

    assert seen == [0]
