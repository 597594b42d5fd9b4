"""One measurement of one contender."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one contender did in one round."""

    rate: float
    """Operations, or rows, per second."""
    p50: float | None = None
    """Half of the operations took no longer than this; milliseconds."""
    p99: float | None = None
    """99 of 100 operations took no longer than this; milliseconds."""
    errors: int = 0
    """Operations that failed."""


def clocked(operation: Callable[[Any], object], items: Iterable[Any], seconds: float) -> Sample:
    """Call an operation with one item after the other until there are no more, or the time is over."""
    times: list[float] = []
    now = started = time.perf_counter()
    for item in items:
        operation(item)
        before, now = now, time.perf_counter()
        times.append(now - before)
        if now - started > seconds:
            break
    return of_times(times, now - started)


def clocked_once(operation: Callable[[], object], rows: int) -> Sample:
    """Call an operation once; its rate is that of the rows it handles."""
    started = time.perf_counter()
    operation()
    return Sample(rate=rows / (time.perf_counter() - started))


def of_times(times: Sequence[float], elapsed: float, errors: int = 0) -> Sample:
    """Make a sample from the time that each operation took; seconds."""
    ordered = sorted(times)
    if not ordered:
        return Sample(rate=0.0, errors=errors)
    return Sample(
        rate=len(ordered) / elapsed, p50=_percentile(ordered, 0.50), p99=_percentile(ordered, 0.99), errors=errors
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000
