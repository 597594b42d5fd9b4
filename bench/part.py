"""The record that everything here is measured with, and a database full of them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlmodel import Field, SQLModel

from storage.dialects.sqlite_driver import DRIVER

CONTENT: dict[str, Any] = {"name": "gripper finger, left", "supplier": "Precision Parts Ltd.", "quantity": 42}
"""The three fields that a user gives."""

_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
_FILL_PARTS = f"{_NUMBERS} INSERT INTO part (id, name, supplier, quantity) SELECT i, 'part ' || i, 'supplier', i FROM n"
_FILL_TRAIL = f"""{_NUMBERS} INSERT INTO auditlog (timestamp, component, record_id, record_key, operation, actor, after)
    SELECT datetime('2026-01-01', i || ' seconds') || '.000000', 'parts', i, CAST(i AS TEXT), 'create', 'filler',
        json_object('id', i, 'name', 'part ' || i, 'supplier', 'supplier', 'quantity', i, 'deleted_at', NULL) FROM n"""


class Part(SQLModel, table=True):
    """A record of three fields, deleted softly."""

    id: int | None = Field(default=None, primary_key=True)
    name: str
    supplier: str
    quantity: int
    deleted_at: datetime | None = Field(default=None, index=True)


def new_part() -> Part:
    """Make a record that no database knows yet."""
    return Part(**CONTENT)


def new_parts(count: int) -> list[Part]:
    """Make records that no database knows yet."""
    return [new_part() for _ in range(count)]


def fill(path: Path, count: int, *, audited: bool = False) -> range:
    """Add records to a database behind everybody's back.

    Args:
        path: The file; it has its tables.
        count: How many.
        audited: Whether the trail tells of them.

    Returns:
        Their keys.
    """
    connection = DRIVER.connect(str(path), isolation_level=None)
    try:
        first = (connection.execute("SELECT max(id) FROM part").fetchone()[0] or 0) + 1
        keys = {"first": first, "last": first + count - 1}
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_FILL_PARTS, keys)
        if audited:
            connection.execute(_FILL_TRAIL, keys)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.close()
    return range(first, first + count)
