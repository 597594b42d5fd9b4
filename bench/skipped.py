"""What could not be measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Skipped:
    """A part of the table that is missing."""

    reason: str
    """Why, and what would help."""
