"""One line of the second table: what a transfer of a whole database costs, and whom it keeps waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one run cost, or several of them: the median of the seconds, the worst of everything else."""

    section: str
    """The part of the table."""
    name: str
    """What was done."""
    seconds: float
    """How long it took."""
    peak: float
    """The most memory that the process had at once, in MB; what Python and the libraries need included."""
    stall_here: float
    """The longest that a writer of the same process waited for a write, in seconds."""
    stall_there: float
    """The longest that a writer of another process waited."""
    refused: int
    """How many of their writes were answered "busy" meanwhile, and tried again."""


def worst_of(runs: Sequence[Cost]) -> Cost:
    """Several runs of one transfer as one line."""
    return Cost(
        section=runs[0].section,
        name=runs[0].name,
        seconds=median(run.seconds for run in runs),
        peak=max(run.peak for run in runs),
        stall_here=max(run.stall_here for run in runs),
        stall_there=max(run.stall_there for run in runs),
        refused=max(run.refused for run in runs),
    )
