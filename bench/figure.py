"""One line of the table: a ratio, and what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.sample import Sample


@dataclass(frozen=True, kw_only=True)
class Figure:
    """How something of ours compares with an alternative, measured side by side."""

    section: str
    """The part of the table."""
    name: str
    """What was measured."""
    against: str
    """The alternative."""
    unit: str
    """What the two values count."""
    ours: Sample
    """Ours, the median of the rounds."""
    theirs: Sample
    """The alternative's, the median of the rounds."""
    ratio: float
    """The median of each round's ratio."""
    lowest: float
    """The lowest ratio of a round."""
    highest: float
    """The highest ratio of a round."""
    target: float | None = None
    """What the ratio must reach, None where nothing is asked."""
    at_most: bool = False
    """Whether the ratio must not exceed its target, since it is one of costs."""
    note: str = ""
    """What else there is to know, such as payload and durability."""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached, None where there is none."""
        if self.target is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target


def compare(
    section: str,
    name: str,
    ours: Sequence[Sample],
    theirs: Sequence[Sample],
    *,
    against: str,
    unit: str = "/s",
    target: float | None = None,
    note: str = "",
) -> Figure:
    """Compare rates, round by round."""
    ratios = [mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True) if other.rate]
    return Figure(
        section=section,
        name=name,
        against=against,
        unit=unit,
        ours=_middle(ours),
        theirs=_middle(theirs),
        ratio=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        target=target,
        note=note,
    )


def growth(
    section: str, name: str, large: Sequence[Sample], small: Sequence[Sample], *, target: float | None
) -> Figure:
    """Compare what an operation costs in a large and in a small table, round by round."""
    ratios = [before.rate / after.rate for after, before in zip(large, small, strict=True)]
    return Figure(
        section=section,
        name=name,
        against="the small table",
        unit="/s",
        ours=_middle(large),
        theirs=_middle(small),
        ratio=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        target=target,
        at_most=True,
    )


def _middle(samples: Sequence[Sample]) -> Sample:
    p50 = [sample.p50 for sample in samples if sample.p50 is not None]
    p99 = [sample.p99 for sample in samples if sample.p99 is not None]
    return Sample(
        rate=median(sample.rate for sample in samples),
        p50=median(p50) if p50 else None,
        p99=median(p99) if p99 else None,
        errors=sum(sample.errors for sample in samples),
    )
