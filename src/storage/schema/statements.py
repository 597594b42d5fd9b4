"""Statements that both databases understand alike."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Dialect, Index, Table
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from storage.schema.fillers import filler


def create_table(table: Table, dialect: Dialect) -> str:
    """The CREATE TABLE statement of a model."""
    return str(CreateTable(table).compile(dialect=dialect)).strip()


def create_index(index: Index, dialect: Dialect) -> str:
    """The CREATE INDEX statement of a model's index."""
    return str(CreateIndex(index).compile(dialect=dialect)).strip()


def create_indexes(table: Table, dialect: Dialect) -> list[str]:
    """The CREATE INDEX statements of a model."""
    return [create_index(index, dialect) for index in sorted(table.indexes, key=lambda index: str(index.name))]


def add_column(column: Column[Any], dialect: Dialect) -> str:
    """The ALTER TABLE that adds a column, filled in the rows that are there where it may not be NULL."""
    table = dialect.identifier_preparer.format_table(column.table)
    statement = f"ALTER TABLE {table} ADD COLUMN {CreateColumn(column).compile(dialect=dialect)}"
    if column.nullable or column.server_default is not None:
        return statement
    return f"{statement} DEFAULT {filler(column, dialect)}"
