"""The driver alone, writing the same two rows in one transaction: the limit of what Python can reach."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.part import Part
from storage.dialects.sqlite_driver import DRIVER

_INSERT = "INSERT INTO part (name, supplier, quantity, deleted_at) VALUES (?, ?, ?, ?)"
_INSERT_WITH_KEY = "INSERT INTO part (id, name, supplier, quantity, deleted_at) VALUES (?, ?, ?, ?, ?)"
_SELECT = "SELECT id, name, supplier, quantity, deleted_at FROM part"
_AUDIT = """INSERT INTO auditlog
    (timestamp, component, record_id, record_key, operation, actor, before, after) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

Row = tuple[Any, ...]


class RawDriver:
    """One connection, with the pragmas of the product.

    Args:
        path: The file; it has its tables.
        synchronous: How durable a commit is.
    """

    def __init__(self, path: Path, synchronous: str = "FULL") -> None:
        self.path = path
        self._connection: Any = DRIVER.connect(str(path), isolation_level=None, check_same_thread=False)
        for pragma in (
            "journal_mode = WAL",
            f"synchronous = {synchronous}",
            "foreign_keys = ON",
            "busy_timeout = 5000",
        ):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()

    def insert(self, part: Part) -> int:
        """Insert a record."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        values = (part.name, part.supplier, part.quantity, None)
        key: int = execute(_INSERT, values).lastrowid
        execute(_AUDIT, _entry(key, "create", None, (key, *values)))
        execute("COMMIT")
        return key

    def insert_many(self, parts: Sequence[Part]) -> None:
        """Insert records, all or none."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        first = (connection.execute("SELECT max(id) FROM part").fetchone()[0] or 0) + 1
        rows = [(first + index, part.name, part.supplier, part.quantity, None) for index, part in enumerate(parts)]
        connection.executemany(_INSERT_WITH_KEY, rows)
        connection.executemany(_AUDIT, [_entry(row[0], "create", None, row) for row in rows])
        connection.execute("COMMIT")

    def get(self, key: int) -> Row | None:
        """Read a record."""
        row: Row | None = self._connection.execute(f"{_SELECT} WHERE id = ?", (key,)).fetchone()
        return row

    def all(self) -> list[Row]:
        """Read every record."""
        rows: list[Row] = self._connection.execute(f"{_SELECT} WHERE deleted_at IS NULL ORDER BY id").fetchall()
        return rows

    def edits(self, keys: Sequence[int]) -> list[tuple[int, int]]:
        """Keys with new quantities."""
        return [(key, key + 1) for key in keys]

    def save(self, edit: tuple[int, int]) -> None:
        """Write the quantity of a record."""
        key, quantity = edit
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        before = execute(f"{_SELECT} WHERE id = ?", (key,)).fetchone()
        execute("UPDATE part SET quantity = ? WHERE id = ?", (quantity, key))
        execute(_AUDIT, _entry(key, "update", before, (*before[:3], quantity, before[4])))
        execute("COMMIT")

    def delete(self, key: int) -> None:
        """Delete a record softly."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        before = execute(f"{_SELECT} WHERE id = ?", (key,)).fetchone()
        now = _now()
        execute("UPDATE part SET deleted_at = ? WHERE id = ?", (now, key))
        execute(_AUDIT, _entry(key, "soft_delete", before, (*before[:4], now)))
        execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _entry(key: int, operation: str, before: Row | None, after: Row | None) -> Row:
    return (_now(), "parts", key, str(key), operation, "bench", _snapshot(before), _snapshot(after))


def _snapshot(row: Row | None) -> str | None:
    if row is None:
        return None
    return json.dumps({"id": row[0], "name": row[1], "supplier": row[2], "quantity": row[3], "deleted_at": row[4]})


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
