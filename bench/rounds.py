"""Rounds: contenders measured in turn, so that whatever else the machine does meets all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.sample import Sample

Samples = Mapping[str, list[Sample]]


def in_turn(count: int, contenders: Mapping[str, Callable[[], Sample]]) -> Samples:
    """Measure every contender once a round, each round beginning with another one."""
    names = list(contenders)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    for number in range(count):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            samples[name].append(contenders[name]())
    return samples
