from __future__ import annotations

from bench.figure import compare, growth
from bench.sample import Sample


def rates(*values: float) -> list[Sample]:
    return [Sample(rate=value) for value in values]


def test_the_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    figure = compare("Part", "insert", rates(10, 90, 30), rates(100, 100, 100), against="raw")

    assert (figure.ratio, figure.lowest, figure.highest) == (0.3, 0.1, 0.9)
    assert (figure.ours.rate, figure.theirs.rate) == (30, 100)


def test_a_round_in_which_the_other_did_nothing_has_no_ratio() -> None:
    assert compare("Part", "insert", rates(10, 20), rates(0, 10), against="raw").ratio == 2


def test_a_rate_must_reach_its_target() -> None:
    assert compare("Part", "insert", rates(60), rates(100), against="raw", target=0.6).met is True
    assert compare("Part", "insert", rates(59), rates(100), against="raw", target=0.6).met is False
    assert compare("Part", "insert", rates(59), rates(100), against="raw").met is None


def test_a_cost_must_not_exceed_its_target() -> None:
    assert growth("Part", "get", rates(100), rates(150), target=1.5).met is True
    assert growth("Part", "get", rates(100), rates(151), target=1.5).met is False


def test_failures_of_all_rounds_are_told() -> None:
    ours = [Sample(rate=1, errors=2), Sample(rate=1, errors=3)]

    assert compare("Part", "insert", ours, rates(1, 1), against="raw").ours.errors == 5
