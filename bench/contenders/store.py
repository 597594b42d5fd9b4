"""What each contender can do, in the terms of the accessor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.part import Part


class Store(Protocol):
    """Audited records in a SQLite file."""

    path: Path
    """The file."""

    def insert(self, part: Part) -> object:
        """Insert a record."""

    def insert_many(self, parts: Sequence[Part]) -> object:
        """Insert records, all or none."""

    def get(self, key: int) -> object:
        """Read a record."""

    def all(self) -> Sequence[object]:
        """Read every record."""

    def edits(self, keys: Sequence[int]) -> Sequence[Any]:
        """Prepare records with another quantity, for `save`; not part of what is measured."""

    def save(self, edit: Any) -> object:
        """Write what was edited."""

    def delete(self, key: int) -> object:
        """Delete a record softly."""

    def close(self) -> None:
        """Let go of the file."""
