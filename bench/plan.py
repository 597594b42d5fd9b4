"""The plan: how long and how often to measure, and where the files may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every section is told."""

    directory: Path
    """An empty folder for databases, on the disk that is to be measured."""
    rounds: int
    """How often each contender is measured; the median counts."""
    load_rounds: int
    """The same for those with many clients."""
    seconds: float
    """How long one measurement of single operations may take."""
    load_seconds: float
    """How long one measurement with many clients takes."""
    rows: int
    """How many records the batches have."""
    large: int
    """How many records the large table has."""
    megabytes: int
    """How large the database is that is exported, imported, backed up and restored."""


def full(directory: Path) -> Plan:
    """What `make bench` does."""
    return Plan(
        directory=directory,
        rounds=5,
        seconds=0.3,
        load_rounds=3,
        load_seconds=2.0,
        rows=10_000,
        large=1_000_000,
        megabytes=200,
    )


def quick(directory: Path) -> Plan:
    """A look in about a minute: fewer rounds, a smaller large table."""
    return Plan(
        directory=directory,
        rounds=2,
        seconds=0.1,
        load_rounds=1,
        load_seconds=0.5,
        rows=2_000,
        large=50_000,
        megabytes=10,
    )
