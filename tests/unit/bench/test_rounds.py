from __future__ import annotations

from functools import partial

from bench.rounds import in_turn
from bench.sample import Sample


def test_every_round_measures_everybody_and_begins_with_another_one() -> None:
    order: list[str] = []

    def measure(name: str) -> Sample:
        order.append(name)
        return Sample(rate=len(order))

    samples = in_turn(3, {name: partial(measure, name) for name in "abc"})

    assert "".join(order) == "abcbcacab"
    assert [sample.rate for sample in samples["a"]] == [1, 6, 8]
