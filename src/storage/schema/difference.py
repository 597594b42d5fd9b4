"""What a table in the database has otherwise than its model."""

from __future__ import annotations

from dataclasses import dataclass

from alembic.operations.ops import MigrateOperation
from sqlalchemy import Table


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference between a table in the database and the model."""

    table: str
    """The table."""
    column: str | None
    """The column, where the difference is about a single one."""
    what: str
    """What is different, to be read after the name: "is missing"."""
    sql: str
    """SQL for this database that mends it. Where a table must be made anew, each of its differences has the same."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A difference whose cure is not written yet."""

    table: Table
    """The table as the model has it."""
    column: str | None
    """The column, where the finding is about a single one."""
    what: str
    """What is different."""
    operation: MigrateOperation | None
    """What alembic would do about it; None for the key, which alembic does not compare."""
